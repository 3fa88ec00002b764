"""From marts to a snapshot that the gym plays: spaces, smoothed tables, learning curves,
arrays, and the pointer to the published one. The gym opens snapshots and makes none.
"""
