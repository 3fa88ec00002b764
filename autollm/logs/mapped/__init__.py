"""Relations to canonical rows: the mapping as SQL over the relation, in an in-memory
DuckDB.

    relation + mapping -> sheet (Arrow: numbers, spelled texts, look-ups)
                       -> query (SQL: expressions, steps, states, JSON, ids, reasons)
                       -> rows that fit and rows that do not, each with its reason

Invariant: the same cells and mapping give the same row, to the byte; a cell that does not
fit is a reason, it is never repaired but by the mapping's own rounding rule.
"""
