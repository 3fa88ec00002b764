"""What the columns of a table are for, guessed from their names and values: the first
half of a proposal.

Every column gets one role and the reason for it, so that a person can correct the
guess. What does not belong here: writing the mapping (`proposal.py`). Invariant: a
column has exactly one role.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from autollm.core.errors import MappingError
from autollm.logs.retiring.columns import Column, determines, simplex_groups
from autollm.logs.retiring.landing_checks import HIGHER, LOWER

SEED = re.compile(r"^(random_|data_|train_)?(seed|replica|repeat|replicate)s?$")
PARAMS = re.compile(
    r"^(n|(n|num|non_?emb\w*)?_?(total_?)?param(eter)?s?(_count|_total|_m|_b)?|model_?size|size|model|model_name|base_model|scale)$"
)
TOKENS = re.compile(
    r"^(d|(n|num|train|training|total)?_?tokens?(_seen|_b|_m)?|data_?size)$"
)
LENGTH = re.compile(
    r"^((n|num|max|total|train|training)_?)?(steps?|epochs?|iterations?|updates?|fidelity|budget|compute|examples|samples)$"
)
COST = re.compile(
    r"flop|(gpu|device|tpu|cpu)_?hours?|wall|(train|run|elapsed)\w*_?time|duration|runtime|_seconds$|_minutes$|"
    r"latency|memory|_mem_|^mem_|cost|price|dollar|usd"
)
ID = re.compile(
    r"(^|_)(id|uuid|run|run_?name|exp_?name|experiment|name|hash|index|idx|arch_id|trial)$"
)
METRIC = re.compile(
    rf"{LOWER.pattern}|{HIGHER.pattern}|(^|[_/ ])(metric|score|eval|val|test)([_/ "
    r":]|$)|_pred$",
    re.IGNORECASE,
)
RATE = re.compile(
    r"(^|_)(lr|learning_?rate|wd|weight_?decay|kl|kl_coef|beta\d?|temperature|eps(ilon)?|dropout)($|_)"
)
SIZE = re.compile(
    r"(^|_)(bs|batch|batch_?size|rank|width|depth|layers?|n_?layer|heads?|hidden|embed|d_?model|group_?size)($|_)"
)
MERITS = (
    r"(^|_)(val|valid|validation|test|eval|held_?out)(_|$)",
    "smooth",
    "avg|mean|average",
    "loss|nll|ppl|perplexity|(^|_)acc",
)
"""Words of a name that speak for the objective."""
SUMMARY = re.compile(r"_(mean|avg|average|std|sum|total)$")
NOTHING = re.compile(
    r"(path|dir|host|user|created|updated|timestamp|date|commit|version|tags?|notes?|url|state)s?$"
)


Give = Callable[[str, str, str], None]


@dataclass(frozen=True)
class Role:
    """What a column is for, and why: constant, seed, simplex, objective, metric, cost,
    key, fidelity, knob, fixed, ignored.
    """

    role: str
    why: str


@dataclass
class Roles:
    """The roles of all columns."""

    of: dict[str, Role] = field(default_factory=dict)
    groups: list[tuple[str, list[Column], float]] = field(default_factory=list)
    direction: str = "min"

    def named(self, role: str) -> list[str]:
        """Columns of a role, in the order of the table."""
        return [name for name, found in self.of.items() if found.role == role]


def plain(name: str) -> str:
    """A column's name in lower case, with underscores: `Test NLL` -> `test_nll`."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "column"


def assign_roles(columns: dict[str, Column], objective: str | None) -> Roles:
    """Guess the role of every column. `objective` (a column, with :min or :max)
    overrides the guess of it.

    Raises:
        MappingError: no column looks like an outcome.
    """
    roles, order = Roles(), list(columns)
    free = dict(columns)

    def give(name: str, role: str, why: str) -> None:
        roles.of[name] = Role(role, why)
        free.pop(name)

    roles.groups = simplex_groups(columns)
    for prefix, group, worst in roles.groups:
        for column in group:
            give(
                column.name,
                "simplex",
                f"{len(group)} columns {prefix}* sum to 1 within {worst:.2g}",
            )
    for name, column in list(free.items()):
        if column.kind == "empty":
            give(name, "ignored", "every cell is empty")
        elif column.is_constant:
            give(name, "constant", f"{column.present[0]!r:.60} in every row")
    _take_objective(free, objective, roles, give)
    for name, column in list(free.items()):
        _by_name(name, column, give)
    _fidelity(free, give)
    fidelity = [columns[n] for n in roles.named("fidelity")]
    candidates = dict(free)
    for name, column in list(free.items()):
        _rest(
            name,
            column,
            fidelity,
            [c for n, c in candidates.items() if n != name],
            give,
        )
    _seldom_constant(columns, roles)
    roles.of = {name: roles.of[name] for name in order}
    return roles


def _take_objective(
    free: dict[str, Column], asked: str | None, roles: Roles, give: Give
) -> None:
    if asked is not None:
        name, _, direction = (
            asked.partition(":") if asked not in free else (asked, "", "")
        )
        if name not in free or direction not in ("", "min", "max"):
            raise MappingError(
                f"--objective {asked!r}: expected a column that varies, with :min or "
                f":max. Columns: {', '.join(free)}."
            )
        roles.direction = direction or _direction(free[name])[0]
        give(name, "objective", "named by you")
        return
    outcomes = [
        c
        for c in free.values()
        if c.kind in ("number", "integer", "mixed") and c.finite and _is_outcome(c)
    ]
    if not outcomes:
        raise MappingError(
            "no column looks like an outcome (loss, accuracy ...). Columns that vary: "
            f"{', '.join(free) or 'none'}. "
            "Fix: --objective COLUMN:min (or :max); where outcomes stand in another "
            "file, write [[tables]] with `join` (docs/mapping-files.md)."
        )
    best = max(outcomes, key=_merit)
    roles.direction, why = _direction(best)
    give(best.name, "objective", why)


def _is_outcome(column: Column) -> bool:
    name = plain(column.name)
    return (
        bool(METRIC.search(column.name))
        and not any(r.search(name) for r in (COST, SEED))
        and not PARAMS.match(name)
    )


def _merit(column: Column) -> float:
    name = plain(column.name)
    return sum(bool(re.search(words, name)) for words in MERITS) - 2 * bool(
        re.search("train|raw|noisy|std|_sd$|_se$|stderr", name)
    )


def _direction(column: Column) -> tuple[str, str]:
    if LOWER.search(column.name):
        return "min", "by its name, lower is better"
    if HIGHER.search(column.name):
        return "max", "by its name, higher is better"
    share = column.finite and min(column.finite) >= 0 and max(column.finite) <= 1
    return (
        ("max", "guessed: a share between 0 and 1, higher is better")
        if share
        else ("min", "guessed: lower is better")
    )


def _by_name(name: str, column: Column, give: Give) -> None:
    word = plain(name)
    numeric = column.kind in ("number", "integer", "mixed")
    if SEED.match(word) and column.kind == "integer":
        give(name, "seed", "by its name")
    elif ID.search(word) and column.is_unique and column.kind in ("text", "integer"):
        give(name, "key", "names a row: no value occurs twice")
    elif numeric and COST.search(word):
        give(name, "cost", "by its name")
    elif numeric and _is_outcome(column):
        give(name, "metric", _direction(column)[1])
    elif numeric and SUMMARY.search(word):
        give(name, "ignored", "by its name, a summary of other columns")
    elif NOTHING.search(word):
        give(name, "ignored", "by its name, no choice of a researcher")


def _fidelity(free: dict[str, Column], give: Give) -> None:
    has_tokens = any(
        TOKENS.match(plain(n)) and c.kind in ("number", "integer")
        for n, c in free.items()
    )
    for name, column in list(free.items()):
        word = plain(name)
        known = next((r for r in (PARAMS, TOKENS, LENGTH) if r.match(word)), None)
        if known is LENGTH and has_tokens:  # steps follow from tokens and batch size
            continue
        if known is None or not 2 <= column.n_distinct <= len(column.cells) / 2:
            continue
        if column.kind in ("number", "integer") and column.levels[0] > 0:
            give(name, "fidelity", f"by its name; {column.n_distinct} levels")
        elif column.kind == "text" and known is PARAMS:
            give(name, "fidelity", f"by its name; {column.n_distinct} levels, as text")


def _rest(
    name: str, column: Column, fidelity: list[Column], others: list[Column], give: Give
) -> None:
    word = plain(name)
    if fidelity and determines(fidelity, column):
        give(
            name,
            "fixed",
            f"one value for each {' and '.join(c.name for c in fidelity)}",
        )
        return
    named = RATE.search(word) or SIZE.search(word)
    if column.kind in ("text", "bool", "list"):
        many = column.kind == "text" and column.n_distinct > max(
            20, len(column.cells) / 10
        )
        if column.is_unique and column.kind == "text":
            give(name, "key", "names a row: no value occurs twice")
        else:
            give(
                name,
                *(
                    ("ignored", f"text of {column.n_distinct} values")
                    if many
                    else ("knob", f"{column.n_distinct} values")
                ),
            )
        return
    cause = None if named else _cause(column, [*fidelity, *others])
    if cause:
        give(name, "fixed", f"one value for each {' and '.join(cause)}")
    elif named or column.n_distinct <= max(12, len(column.cells) ** 0.5):
        give(name, "knob", f"{column.n_distinct} levels")
    else:
        give(
            name,
            "metric",
            f"{column.n_distinct} different numbers: measured rather than chosen",
        )


def _cause(column: Column, others: list[Column]) -> list[str] | None:
    """One or two columns that determine this one."""
    few = [
        c
        for c in others
        if c.n_distinct > 1 and c.n_distinct <= len(c.cells) / 4 and c.n_distinct >= 2
    ]
    for i, a in enumerate(few[:12]):
        if a.n_distinct > column.n_distinct and determines([a], column):
            return [a.name]
        for b in few[i + 1 : 12]:
            if determines([a, b], column, most_groups=0.5) and column.n_distinct > max(
                a.n_distinct, b.n_distinct
            ):
                return [a.name, b.name]
    return None


def _seldom_constant(columns: dict[str, Column], roles: Roles) -> None:
    """Without a fidelity that varies, one that does not is better than none."""
    if roles.named("fidelity"):
        return
    for name, role in roles.of.items():
        column = columns[name]
        known = any(r.match(plain(name)) for r in (PARAMS, TOKENS))
        if (
            role.role == "constant"
            and known
            and column.kind in ("number", "integer")
            and column.levels[0] > 0
        ):
            roles.of[name] = Role(
                "fidelity",
                f"by its name, though it is {column.levels[0]:g} in every row",
            )
