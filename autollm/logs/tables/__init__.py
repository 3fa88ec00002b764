"""Readers of tables and raw run logs: CSV, JSON lines, Parquet, `autollm.run/1`.

Each reads its file in blocks of whole lines. A block that is plain is parsed as a whole
(columnar); one that is not is halved until the odd lines stand alone, and these are cut
one by one in Python, where each gets its reason. Invariant: lines read plus lines set
aside are the lines of the file.
"""
