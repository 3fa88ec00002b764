"""An advice kept in a home: the answer, its page and the question, frozen before the
outcome is known.

Invariant: what was kept before is not computed again, and never changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autollm.advisor.answer import Advice
from autollm.advisor.deciding.study import Study
from autollm.advisor.kept import ledger
from autollm.advisor.showing.page import advice_page


def keep(
    home: str, found: Study, advice: Advice, asked: Mapping[str, Any]
) -> str:
    """Keep an advice with its page; returns its id. `asked`: what asks it again."""
    if advice.advice_id in ledger.advice_ids(home):
        return advice.advice_id
    earlier = list(map(ledger.summary, ledger.entries(home)))
    page = advice_page(found, advice, earlier)
    return ledger.save(home, advice, asked, page)
