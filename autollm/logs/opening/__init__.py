"""What is there: files and run folders that are found, opened and unpacked.

Invariant: nothing here knows a mapping.
"""
