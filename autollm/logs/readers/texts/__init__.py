"""Readers of what scripts print, and of tables within a text."""
