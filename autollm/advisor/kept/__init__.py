"""Saved advice, what came of it, and what that says of intervals."""
