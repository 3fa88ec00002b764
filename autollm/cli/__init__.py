"""The command line: one small file per command. Results go to stdout, progress and
complaints to stderr.
"""
