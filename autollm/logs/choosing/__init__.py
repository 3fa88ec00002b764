"""Who reads a file: its reader by name and first bytes, its mapping by name, the guess of
one where nobody wrote it.
"""
