"""Readers of trackers' and trainers' own files and servers."""
