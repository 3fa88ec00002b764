"""Outcome tables in memory, and the published snapshots that they are opened from."""
