"""Fidelity and cost: how large a run was, and what it took.

Parameters and tokens are looked for by name, then by the unit of their cells, then
computed from a model's settings; steps, epochs and shares of the data come in where
tokens are unknown. Invariant: what is computed shows its formula, and what is guessed is
marked as a guess.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from autollm.logs.proposals.columns import Column
from autollm.logs.proposals.formulas import Formulas, Naming, Params
from autollm.logs.proposals.names import read_name
from autollm.logs.proposals.roles import Roles, listed
from autollm.logs.proposals.size_columns import Sizes
from autollm.logs.proposals.sizes import (
    Levels,
    TextSizes,
    level_column,
    levels_of,
    octaves_of,
    on_levels,
    positive_numbers,
    size_of,
    sizes_of,
    stated_sizes,
)
from autollm.logs.readers.words import TOKEN_METRICS

RANK = "size_rank"
"""The coordinate of sizes that are only named: small is 1, medium 2; no number of
parameters can be asked for beside it."""
COMPUTE_SPREAD = 0.15
"""Octaves that compute may differ from parameters times tokens: it is printed rounded."""
CONSTANT_SIZES = ("params", "tokens", "steps", "epochs")
"""What says how large all runs were where none differs: the same number of samples
(`rollouts` of a step) says nothing of it.
"""
REACHED = {"last_step": "steps", "last_epoch": "epochs"}
"""Columns that say how far a curve goes."""
MOST_SIZE = 1e16
"""Of parameters or tokens; what a unit in the name makes larger is no unit."""
LENGTHS = ("steps", "samples", "data_fraction", "epochs")
"""Coordinates that stand in where tokens are unknown, the finest first; how often the data
are seen is a choice where their amount varies."""


@dataclass
class Coordinate:
    """One coordinate of the ladder. `column` is the table's own; `formula` is what the
    mapping computes instead, where it does, and `texts` what it looks up. `levels`: the
    level of each row.
    """

    name: str
    levels: Column
    column: str = ""
    formula: str = ""
    comment: str = ""
    texts: TextSizes | None = None

    @property
    def n_levels(self) -> int:
        """How many sizes there are."""
        return max(1, self.levels.n_distinct)


@dataclass
class Ladder:
    """The coordinates, and what is known of sizes beside them: `known` is params and
    tokens as expressions can spell them.
    """

    coordinates: list[Coordinate] = field(default_factory=list)
    known: dict[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """The table's columns that are coordinates."""
        return [c.column for c in self.coordinates if c.column]

    @property
    def levels(self) -> list[Column]:
        """The level of each row, of the coordinates that have several."""
        return [c.levels for c in self.coordinates if c.n_levels > 1]


def find_ladder(
    roles: Roles, naming: Naming, are_curves: bool = False
) -> Ladder:
    """The coordinates of a table; their columns get the role `fidelity`. `are_curves`:
    the runs are known by their curves alone, so that how far they came says their size.
    """
    search = _Search(roles, naming)
    ladder = search.ladder
    if roles.said.fidelity:
        search.take_said()
    else:
        search.take_params()
        search.take_tokens()
        search.leave_compute()
        if not ladder.known:
            search.take_width()
        if not any(c.name == "tokens" for c in ladder.coordinates):
            search.take_lengths()
        search.take_compute()
        search.take_beside()
        if not ladder.coordinates:
            search.take_constants()
        if not ladder.coordinates:
            search.take_reached(are_curves)
    if not ladder.coordinates:
        roles.say(
            "no-fidelity",
            "no column looks like a fidelity (parameters, tokens, steps ...): all rows "
            "are one experiment. Correct [[fidelity]].",
        )
    return ladder


class _Search:
    """Looks for coordinates, the surest first."""

    def __init__(self, roles: Roles, naming: Naming):
        self._roles, self._naming = roles, naming
        self._sizes = Sizes(roles)
        self._formulas = Formulas(roles, naming)
        self.ladder = Ladder()

    def take_said(self) -> None:
        """What a person named, as it stands."""
        for name, column in self._roles.said.fidelity.items():
            self._take(name, self._roles.table.columns[column], "named by you")

    def take_params(self) -> None:
        """Parameters: of several columns the one that goes with the compute."""
        found = self._sizes.named("params")
        found = found or self._sizes.written_as_sizes()[:1]
        if not found:
            is_taken = self._take_texts()
            is_taken = is_taken or (self._says_width() and self.take_width())
            if not is_taken:
                self._take_computed("params")
            return
        ladders = [c for c in found if self._sizes.is_ladder(c)]
        ladders = [c for c in ladders if not self._sizes.is_made_of_shapes(c)]
        if ladders:
            self._take("params", self._sizes.best(ladders), "by its name")
            self._leave(found, "another count of the same parameters")
        else:
            self._take_near_constant(found)
        if "params" not in self.ladder.known:
            self.ladder.known["params"] = self._expression(found[0])

    def take_tokens(self) -> None:
        """Tokens, logged or computed."""
        found = self._sizes.named("tokens")
        if "params" in self.ladder.known:
            found = found or self._sizes.written_as_sizes()[:1]
        if not found:
            self._take_computed("tokens")
            return
        ladders = [c for c in found if self._sizes.is_ladder(c)]
        if ladders:
            self._take("tokens", ladders[0], "by its name")
            self._leave(found, "another count of the same tokens")
        else:
            self.ladder.known.setdefault("tokens", self._expression(found[0]))

    def _leave(self, columns: list[Column], why: str) -> None:
        """Columns that have no role yet follow from what was taken."""
        for column in columns:
            if column.raw not in self._roles.of:
                self._roles.give(column.raw, "fixed", why)

    def _says_width(self) -> bool:
        """Whether the table speaks of a parametrization by width, as of muP: then a run
        is asked for by its width.
        """
        columns = self._roles.table.columns.values()
        return any(c.is_a("base_width", "parametrization") for c in columns)

    def take_width(self) -> bool:
        """The width of a model, where it is all of its shape that varies and the same
        rates were tried at each; without depth there is no count of parameters.
        """
        widths = [c for c in self._sizes.varying("width") if c.n_distinct > 2]
        rates = self._sizes.varying("rate")
        is_grid = any(c.n_distinct <= len(c.cells) / 2 for c in rates)
        is_all = self._sizes.varying("shape") == widths
        if len(widths) != 1 or not is_all or not is_grid:
            return False
        computed = self._formulas.params()
        self._take("width", widths[0], "all that varies of the model's shape")
        if computed is not None:
            self.ladder.known["params"] = f"({computed.formula})"
        return True

    def leave_compute(self) -> None:
        """What is parameters times tokens was no choice beside them."""
        finished = self._roles.finished
        sizes = [finished.get(c.column) for c in self.ladder.coordinates]
        names = {c.name for c in self.ladder.coordinates}
        if names != {"params", "tokens"} or None in sizes:
            return
        products = sum(map(octaves_of, sizes))
        for column in self._roles.open():
            spread = np.ptp(octaves_of(column) - products)
            if column.spans > 1 and spread < COMPUTE_SPREAD:
                why = "goes with parameters times tokens"
                self._roles.give(column.raw, "cost", why)

    def take_lengths(self) -> None:
        """Steps, epochs, samples or a share of the data."""
        for name in LENGTHS:
            for column in self._sizes.named(name):
                is_open = column.raw not in self._roles.of
                if is_open and self._sizes.is_ladder(column):
                    self._take(name, column, "by its name")
                    return

    def take_compute(self) -> None:
        """A budget of FLOPs beside parameters that nothing else decides on, where no
        column says how long runs were.
        """
        if [c.name for c in self.ladder.coordinates] != ["params"]:
            return
        for column in self._roles.columns("cost"):
            is_budget = column.is_numeric and column.is_a("flops")
            if not is_budget or not self._sizes.is_ladder(column):
                continue
            if not self._sizes.is_decided(column, self.ladder.levels):
                self._take("flops", column, "by its name, beside parameters")
                return

    def take_beside(self) -> None:
        """Parameters that are the same everywhere beside tokens that vary, and the other
        way round: the run that is asked about may have others.
        """
        taken = [c.name for c in self.ladder.coordinates]
        for name, other in (("params", "tokens"), ("tokens", "params")):
            if other in taken and name not in taken:
                why = "by its name, the same in every row"
                self._take_constant(name, why)
                if name == "params" and not self._sizes.named(name):
                    self._take_computed("params", least_levels=1)

    def take_constants(self) -> None:
        """Without a coordinate that varies, those that do not are better than none."""
        for name in CONSTANT_SIZES:
            self._take_constant(
                name, "by its name, though it is {:g} in every row"
            )
            if name == "tokens" and self.ladder.coordinates:
                return
            is_open = name == "params" and not self.ladder.coordinates
            if is_open and not self._take_constant_text():
                self._take_computed("params", least_levels=1)

    def _take_constant(self, name: str, why: str) -> None:
        for column in self._sizes.named(name)[:1]:
            if column.raw in self._roles.named("constant"):
                self._take(name, column, why.format(column.levels[0]))

    def take_reached(self, are_curves: bool) -> None:
        """Tokens or steps that curves came to: all runs the same where settings vary."""
        columns = self._roles.table.columns
        names = dict.fromkeys(TOKEN_METRICS, "tokens")
        names |= {f"metrics.{name}": "tokens" for name in TOKEN_METRICS}
        found = {raw: names[raw] for raw in columns if raw in names}
        for raw, name in (found | REACHED).items():
            column = columns.get(raw)
            if column is None or positive_numbers(column) is None:
                continue
            if are_curves or column.is_constant:
                self._take(name, column, "how far its curve goes")
                return

    def _take_constant_text(self) -> bool:
        """The one model that all runs are of, where its name states its size."""
        for column in self._roles.columns("constant"):
            size = None
            if column.kind == "text" and column.is_a("size_word"):
                size = size_of(column.levels[0])
            if size is not None:
                sizes = TextSizes({column.levels[0]: size})
                why = f"by its name, though it is {size:g} in every row"
                self._take_looked_up("params", column, sizes, why)
                return True
        return False

    def _take(self, name: str, column: Column, why: str) -> None:
        raw, factor = column.raw, 1.0
        if name in ("params", "tokens"):
            factor = column.name.factor
        if max(column.finite, default=0.0) * factor >= MOST_SIZE:
            factor = 1.0
        levels = self._sizes.levels(column)
        own = formula = ""
        if factor != 1.0 or levels.step:
            own = self._naming.alias(raw, avoid=name)
        if factor != 1.0:
            own = formula = f"{own} * {factor:g}"
        if levels.step and why != "named by you":
            formula = on_levels(own, levels, factor)
            self._say_near(raw, column, levels)
        found = Coordinate(name, level_column(column, levels), raw, formula)
        self.ladder.coordinates.append(found)
        self._roles.give(raw, "fidelity", f"{why}; {levels.n_levels} levels")
        reserved = self._naming.reserve(raw, name)
        # the cost of a run is that of its own size, not of its level
        self.ladder.known[name] = own if levels.step else reserved

    def _take_near_constant(self, columns: list[Column]) -> None:
        """A size that hardly moves is a consequence: all runs are of one size."""
        varying = [c for c in columns if not c.is_constant]
        for column in varying[:1]:
            values = positive_numbers(column)
            if values is not None and levels_of(values).n_levels == 1:
                self._take("params", column, "moves too little to be a ladder")
                return
        self._leave(varying, "a consequence of other settings")

    def _say_near(self, raw: str, column: Column, levels: Levels) -> None:
        share = 100 * (column.levels[-1] / column.levels[0] - 1)
        what = (
            f"moves by {share:.2g} % only"
            if levels.n_levels == 1
            else "varies a little"
        )
        self._roles.say(
            "near-constant-ladder",
            f"{raw} {what} ({column.levels[0]:g} to {column.levels[-1]:g}): runs of "
            f"about the same size are one experiment, {levels.n_levels} in all. If each "
            "value is a size of its own, correct [[derived]].",
            raw,
        )

    def _expression(self, column: Column) -> str:
        alias, factor = self._naming.alias(column.raw), column.name.factor
        return f"{alias} * {factor:g}" if factor != 1.0 else alias

    def _take_texts(self) -> bool:
        """Sizes as texts, where no number says them: by the column's name, else where
        each of its texts states a size.
        """
        columns = [c for c in self._roles.open() if c.kind == "text"]
        columns = [c for c in columns if not (c.is_partial or c.is_a("data"))]
        columns.sort(key=lambda c: not c.is_a("size_word"))
        for column in columns:
            if not column.is_a("size_word") and not stated_sizes(column.levels):
                continue
            n_most = max(2, len(column.cells) / 2)
            is_few = 2 <= column.n_distinct <= n_most
            sizes = sizes_of(column.levels) if is_few else None
            if sizes is None:
                continue
            are_ranks = len(sizes.guessed) == len(sizes.sizes)
            name = RANK if are_ranks else "params"
            why = f"by its name; {column.n_distinct} levels, as text"
            self._take_looked_up(name, column, sizes, why)
            if sizes.guessed:
                self._roles.say(
                    "size-words",
                    f"{column.raw}: no size stands in the name of "
                    f"{listed(sizes.guessed)}. Fix: write it under [lookup.rows]; rows "
                    "without one are set aside.",
                    column.raw,
                )
            return True
        return False

    def _take_looked_up(
        self, name: str, column: Column, sizes: TextSizes, why: str
    ) -> None:
        found = Coordinate(name, column, column.raw, texts=sizes)
        self.ladder.coordinates.append(found)
        self._roles.give(column.raw, "fidelity", why)
        if name == "params":
            self.ladder.known["params"] = "params"

    def _known_params(self) -> Params | None:
        """The parameters of every run, None where some are unknown."""
        known = self.ladder.known.get("params")
        found = self._sizes.named("params")
        for coordinate in self.ladder.coordinates if known else ():
            column = self._roles.finished.get(coordinate.column)
            if coordinate.name == "params" and coordinate.texts is not None:
                sizes = [
                    coordinate.texts.sizes.get(str(c)) for c in column.cells
                ]
                return None if None in sizes else ("params", np.array(sizes))
            if coordinate.name == "params" and column is not None:
                found.append(column)
        for column in found if known else ():
            if column.is_full:
                return known, column.array * column.name.factor
        return None

    def _take_computed(self, name: str, least_levels: int = 2) -> None:
        """Parameters or tokens from other settings; the formula is shown."""
        if name == "params":
            computed = self._formulas.params()
        else:
            computed = self._formulas.tokens(self._known_params())
        if computed is None:
            return
        self.ladder.known.setdefault(name, f"({computed.formula})")
        levels = levels_of(computed.values)
        is_ladder = computed.is_ladder or levels.n_levels == 1
        if not is_ladder or levels.n_levels < least_levels:
            return
        shown = computed.formula
        if levels.step:
            shown = on_levels(shown, levels)
        rows = Column(read_name(name), levels.of)
        comment = f"computed: {computed.words}"
        found = Coordinate(name, rows, "", shown, comment)
        self.ladder.coordinates.append(found)
        self.ladder.known[name] = name
        self._roles.say(
            "computed",
            f"{name} = {computed.formula} ({computed.words}), since no column holds it. "
            "Correct [[derived]] where that is wrong.",
            *computed.columns,
        )
