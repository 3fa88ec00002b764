"""Proposals: what `autollm sources inspect` and an ingest without a mapping say of a log.

said, looking     what a person said; a path as relations
names, columns    what names and cells say (names.toml holds the words)
structure, sizes  how columns hang together; sizes and levels
states, sentinels how runs ended, and what crashes leave where an outcome should stand
roles             one role for every column, and its reason
outcomes          what was optimized; first_roles: what names and facts decide
ladder, formulas  fidelity, computed where it was not logged; size_columns: its columns
choices, knobs    what was chosen, and how it is read; measured: what was not
run_names         settings that stand in the names of runs alone
costs, draft      the mapping; toml_text writes it
summary, proposal what the mapping makes of the rows, in words and numbers
"""

from autollm.logs.proposals.notes import Note, Question
from autollm.logs.proposals.proposal import Proposal, propose
from autollm.logs.proposals.said import Said

__all__ = ["Note", "Proposal", "Question", "Said", "propose"]
