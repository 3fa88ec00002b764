"""What a leaderboard says, typed: the one form that report, Markdown, promotion and
terminal read, and that `leaderboard.json` holds (contracts.md).

Invariant: frozen; a field that this version does not know is an error.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from autollm.core.ids import player_name

SCHEMA = 2
"""2: a policy's identity and whether plays were live stand in fields of their own; 1
said them within `policy_version` and `table_id`.
"""
GROUP = ("suite", "setting", "target_rows", "masked")
"""What results must share to be compared."""


class Frozen(BaseModel):
    """Unknown fields are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Posed(Frozen):
    """How tasks were posed: what may be compared with what."""

    setting: str
    target_rows: str
    masked: bool


class OfSuite(Posed):
    """Something about one suite."""

    suite: str

    @property
    def group(self) -> str:
        """`lab-pretraining-v3, declared, redraw`."""
        parts = [self.suite, self.setting, self.target_rows]
        if self.masked:
            parts.append("masked")
        return ", ".join(parts)


class Bounds(Frozen):
    """A 95 % interval, and what was resampled for it: experiments or seeds. No `low`
    with one seed.
    """

    low: float | None
    high: float | None
    over: str


class Score(OfSuite):
    """A policy after k trials of a suite's tasks. Regret: 0 is the best recorded row, 1
    the median. `malformed`, `repeated`, `off_table`: shares of calls. `training`:
    which of several trainings of one agent, 0 where there is one.
    """

    suite_version: int
    table_id: str
    policy: str
    policy_version: str
    policy_identity: str
    live: bool
    stage: str
    decoding: str
    k: int
    regret_mean: float
    regret_low: float | None
    regret_high: float | None
    regret_seed_low: float | None
    regret_seed_high: float | None
    latent_regret_mean: float
    raw_gap: float
    diverged_first: float
    inference_regret: float
    rank_mean: float
    oracle_regret: float
    n_tasks: int
    n_seeds: int
    n_calls: int
    malformed: float
    repeated: float
    off_table: float
    cost_device_hours: float | None
    training: int = 0

    @property
    def player(self) -> str:
        """The policy as tables name it, see core.ids.player_name."""
        return player_name(self.policy, self.training)

    @property
    def bounds(self) -> Bounds:
        """The interval to show: over experiments where there is one."""
        if self.regret_low is not None:
            return Bounds(
                low=self.regret_low, high=self.regret_high, over="experiments"
            )
        return Bounds(
            low=self.regret_seed_low, high=self.regret_seed_high, over="seeds"
        )


class Compared(OfSuite):
    """Something about regret with both intervals."""

    policy: str
    baseline: str
    k: int
    n_pairs: int
    low: float | None
    high: float | None
    seed_low: float | None
    seed_high: float | None
    includes_zero: bool

    @property
    def bounds(self) -> Bounds:
        """The interval to show: over experiments where there is one."""
        if self.low is not None:
            return Bounds(low=self.low, high=self.high, over="experiments")
        return Bounds(low=self.seed_low, high=self.seed_high, over="seeds")


class Pair(Compared):
    """A policy's `measure` minus a baseline's, on the same tasks and seeds."""

    measure: str
    difference: float


class Trainings(Compared):
    """All trainings of one agent together: their mean regret, or what it differs by
    from `baseline` where that is not empty.
    """

    n_trainings: int
    mean: float


class Ranked(Frozen):
    """A policy in a standing."""

    policy: str
    rank: float
    regret_mean: float
    regret_low: float | None
    regret_high: float | None


class Standing(Posed):
    """Policies by mean rank after k trials, best first, see standings.standing."""

    k: int
    n_targets: int
    n_seeds: int
    over: str
    cd: float | None
    rows: tuple[Ranked, ...]
    cliques: tuple[tuple[str, ...], ...]


class SuiteStanding(Standing, OfSuite):
    """On one suite."""


class OverallStanding(Standing):
    """Over several suites; `left_out` did not play all of them."""

    suites: tuple[str, ...]
    left_out: tuple[str, ...]


class Leaderboard(Frozen):
    """All of one evaluation, on one snapshot."""

    schema_version: int = SCHEMA
    evaluation_id: str
    command: str
    commit: str
    table_id: str
    rows: tuple[Score, ...]
    pairs: tuple[Pair, ...] = ()
    trainings: tuple[Trainings, ...] = ()
    standings: tuple[SuiteStanding, ...] = ()
    overall: tuple[OverallStanding, ...] = ()

    @property
    def groups(self) -> dict[str, list[Score]]:
        """Rows by what is compared with what, in order."""
        out: dict[str, list[Score]] = {}
        for row in self.rows:
            out.setdefault(row.group, []).append(row)
        return out

    def on_table(self, table_id: str) -> Leaderboard:
        """The same scores on another snapshot that shows the same rows."""
        rows = [
            row.model_copy(update={"table_id": table_id}) for row in self.rows
        ]
        return self.model_copy(
            update={"table_id": table_id, "rows": tuple(rows)}
        )

    def as_json(self) -> dict[str, Any]:
        """As `leaderboard.json` holds it."""
        fields = self.model_dump(mode="json")
        return {"schema": fields.pop("schema_version"), **fields}

    @classmethod
    def of_json(cls, fields: dict[str, Any]) -> Leaderboard:
        """From the fields of `leaderboard.json`, of this schema or an older one.

        Raises:
            pydantic.ValidationError: they are not a leaderboard's.
        """
        named = {key: value for key, value in fields.items() if key != "schema"}
        if fields.get("schema") == 1:
            named = _of_schema_1(named)
        return cls.model_validate(named)


def _of_schema_1(fields: dict[str, Any]) -> dict[str, Any]:
    """Schema 1 held the code's digest within a policy's version, and `live` within the
    table's id.
    """
    live = fields.get("table_id", "").endswith("-live")
    table_id = fields.get("table_id", "").removesuffix("-live")
    rows = []
    for row in fields.get("rows", ()):
        version, _, code = row["policy_version"].partition("-")
        facts = {
            "policy_version": version,
            "policy_identity": code,
            "live": live,
        }
        rows.append({**row, **facts, "table_id": table_id})
    return {**fields, "table_id": table_id, "rows": rows}
