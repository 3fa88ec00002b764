"""Proposals: what `autollm sources inspect` and an ingest without a mapping say of a log.

In the order in which `proposal.propose` walks:

looking           paths to tables of logs, and a table to its relations; sweeps (which run
                  folders are one), table_names (what a table is called)
columns           a sample of the rows: what cells say; names (what names say)
run_names         settings that stand in the names of runs alone
first_roles       roles that a person (said), tools, states and outcomes decide, with
                  states (how runs ended), structure (how columns hang together)
ladder            fidelity: size_columns and sizes (levels), formulas (what is computed)
choices           contexts, knobs, and what only looks like one; measured (what was not
                  chosen)
draft             the mapping, section by section: knobs, costs, sentinels; toml_text
summary           the mapping tried on the rows, in words and numbers

Words and units are data: names.toml, states.toml, costs.toml. Every column gets one role
with its reason (roles); what a person should know is said in notes.
"""

from autollm.logs.proposals.notes import Note, Question
from autollm.logs.proposals.options import TableOptions
from autollm.logs.proposals.proposal import Proposal, propose

__all__ = ["Note", "Proposal", "Question", "TableOptions", "propose"]
