"""What everybody speaks of: names, records, errors, places, files, locks.

Invariant: it imports nothing else of autollm.
"""
