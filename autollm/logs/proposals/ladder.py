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
from autollm.logs.proposals.size_columns import Sizes, logs
from autollm.logs.proposals.sizes import (
    Levels,
    TextSizes,
    level_column,
    levels_of,
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
LENGTHS = ("steps", "samples", "data_fraction", "epochs")
"""Coordinates that stand in where tokens are unknown, the finest first; how often the data
are seen is a choice where their amount varies."""


@dataclass
class Coordinate:
    """One coordinate of the ladder. `column` is the table's own; `formula` is what the
    mapping computes instead, where it does.
    """

    name: str
    column: str = ""
    formula: str = ""
    comment: str = ""
    texts: TextSizes | None = None
    n_levels: int = 1
    levels: Column | None = None


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
        several = [c for c in self.coordinates if c.n_levels > 1]
        return [c.levels for c in several if c.levels is not None]


def find_ladder(
    roles: Roles, naming: Naming, are_curves: bool = False
) -> Ladder:
    """The coordinates of a table; their columns get the role `fidelity`. `are_curves`:
    the runs are known by their curves alone, so that how far they came says their size.
    """
    search = _Search(roles, naming, Formulas(roles, naming))
    if roles.said.fidelity:
        search.take_said()
    else:
        search.take_params()
        search.take_tokens()
        search.leave_compute()
        if not search.ladder.known:
            search.take_width()
        if not any(c.name == "tokens" for c in search.ladder.coordinates):
            search.take_lengths()
        search.take_compute()
        search.take_beside()
        if not search.ladder.coordinates:
            search.take_constants()
        if not search.ladder.coordinates:
            search.take_reached(are_curves)
    if not search.ladder.coordinates:
        roles.book.say(
            "no-fidelity",
            "no column looks like a fidelity (parameters, tokens, steps ...): all rows "
            "are one experiment. Correct [[fidelity]].",
        )
    return search.ladder


class _Search:
    """Looks for coordinates, the surest first."""

    def __init__(self, roles: Roles, naming: Naming, formulas: Formulas):
        self._roles = roles
        self._sizes = Sizes(roles)
        self._naming = naming
        self._formulas = formulas
        self.ladder = Ladder()

    def take_said(self) -> None:
        """What a person named, as it stands."""
        for name, column in self._roles.said.fidelity.items():
            self._take(name, self._roles.table.columns[column], "named by you")

    def take_params(self) -> None:
        """Parameters: of several columns the one that goes with the compute."""
        found = self._sizes.named("params")
        found = found or self._sizes.written_as_sizes()[:1]
        ladders = []
        for column in found:
            is_free = not self._sizes.is_made_of_shapes(column)
            if is_free and self._sizes.is_ladder(column):
                ladders.append(column)
        if ladders:
            self._take("params", self._sizes.best(ladders), "by its name")
        elif not found and (
            self._take_texts()
            or (self._says_width() and self.take_width())
            or self._take_computed("params")
        ):
            return
        elif found:
            self._take_near_constant(found)
        for column in found:
            name = column.name.raw
            if name in self._roles.free and ladders:
                self._roles.give(
                    name, "fixed", "another count of the same parameters"
                )
        if found and "params" not in self.ladder.known:
            self.ladder.known["params"] = self._expression(found[0])

    def _says_width(self) -> bool:
        """Whether the table speaks of a parametrization by width, as of muP: then a run
        is asked for by its width.
        """
        names = [c.name for c in self._roles.table.columns.values()]
        return any(
            n.is_a("base_width") or n.is_a("parametrization", "contexts")
            for n in names
        )

    def take_width(self) -> bool:
        """The width of a model, where it is all of its shape that varies and the same
        rates were tried at each; without depth there is no count of parameters.
        """
        widths = [c for c in self._sizes.varying("width") if c.n_distinct > 2]
        rates = self._sizes.varying("rate", "knobs")
        is_grid = any(c.n_distinct <= len(c.cells) / 2 for c in rates)
        if (
            len(widths) == 1
            and self._sizes.varying("shape") == widths
            and is_grid
        ):
            computed = self._formulas.computed("params", None)
            self._take(
                "width", widths[0], "all that varies of the model's shape"
            )
            if computed is not None:
                self.ladder.known["params"] = f"({computed.formula})"
            return True
        return False

    def leave_compute(self) -> None:
        """What is parameters times tokens was no choice beside them."""
        sizes = [c for c in self.ladder.coordinates if c.levels is not None]
        if {c.name for c in sizes} != {"params", "tokens"}:
            return
        params, tokens = (self._roles.finished.get(c.column) for c in sizes)
        if params is None or tokens is None:
            return
        products = logs(params) + logs(tokens)
        for name in list(self._roles.free):
            column = self._roles.finished[name]
            if column.is_numeric and column.spans > 1:
                spread = np.ptp(logs(column) - products)
                if spread < COMPUTE_SPREAD:
                    why = "goes with parameters times tokens"
                    self._roles.give(name, "cost", why)

    def take_tokens(self) -> None:
        """Tokens, logged or computed."""
        found = self._sizes.named("tokens")
        if "params" in self.ladder.known:
            found = found or self._sizes.written_as_sizes()[:1]
        ladders = [c for c in found if self._sizes.is_ladder(c)]
        if ladders:
            self._take("tokens", ladders[0], "by its name")
            for column in found:
                if column.name.raw in self._roles.free:
                    why = "another count of the same tokens"
                    self._roles.give(column.name.raw, "fixed", why)
        elif not found:
            self._take_computed("tokens")
        else:
            self.ladder.known.setdefault("tokens", self._expression(found[0]))

    def take_lengths(self) -> None:
        """Steps, epochs, samples or a share of the data."""
        for name in LENGTHS:
            for column in self._sizes.named(name):
                if (
                    column.name.raw in self._roles.free
                    and self._sizes.is_ladder(column)
                ):
                    self._take(name, column, "by its name")
                    return

    def take_compute(self) -> None:
        """A budget of FLOPs beside parameters that nothing else decides on, where no
        column says how long runs were.
        """
        if [c.name for c in self.ladder.coordinates] != ["params"]:
            return
        params = self.ladder.levels
        for raw in self._roles.named("cost"):
            column = self._roles.finished[raw]
            is_budget = column.name.is_a("flops") and column.is_numeric
            is_budget = is_budget and self._sizes.is_ladder(column)
            if is_budget and not self._sizes.is_decided(column, params):
                self._take("flops", column, "by its name, beside parameters")
                return

    def take_beside(self) -> None:
        """Parameters that are the same everywhere beside tokens that vary, and the other
        way round: the run that is asked about may have others.
        """
        taken = [c.name for c in self.ladder.coordinates]
        for name, other in (("params", "tokens"), ("tokens", "params")):
            if name in taken or other not in taken:
                continue
            for column in self._sizes.named(name)[:1]:
                if column.is_constant:
                    self._take(
                        name, column, "by its name, the same in every row"
                    )

    def take_constants(self) -> None:
        """Without a coordinate that varies, those that do not are better than none."""
        for name in CONSTANT_SIZES:
            for column in self._sizes.named(name)[:1]:
                raw = column.name.raw
                is_constant = self._roles.of.get(raw) is not None
                if is_constant and self._roles.of[raw].role == "constant":
                    value = f"{column.levels[0]:g} in every row"
                    self._take(
                        name, column, f"by its name, though it is {value}"
                    )
            if name == "tokens" and self.ladder.coordinates:
                return
            is_open = name == "params" and not self.ladder.coordinates
            if is_open and not self._take_constant_text():
                self._take_computed("params", least_levels=1)

    def take_reached(self, are_curves: bool) -> None:
        """Tokens or steps that curves came to: all runs the same where settings vary."""
        columns = self._roles.table.columns
        tokens = [
            n for n in columns if n.removeprefix("metrics.") in TOKEN_METRICS
        ]
        named = [("tokens", name) for name in tokens]
        named += [("steps", "last_step"), ("epochs", "last_epoch")]
        for name, raw in named:
            column = columns.get(raw)
            if column is None or positive_numbers(column) is None:
                continue
            if are_curves or column.is_constant:
                self._take(name, column, "how far its curve goes")
                return

    def _take_constant_text(self) -> bool:
        """The one model that all runs are of, where its name states its size."""
        for raw in self._roles.named("constant"):
            column = self._roles.finished[raw]
            if column.kind != "text" or not column.name.is_a("size_word"):
                continue
            size = size_of(column.levels[0])
            if size is not None:
                texts = TextSizes({column.levels[0]: size})
                coordinate = Coordinate("params", raw, "", "", texts)
                self.ladder.coordinates.append(coordinate)
                self.ladder.known["params"] = "params"
                why = f"by its name, though it is {size:g} in every row"
                self._roles.give(raw, "fidelity", why)
                return True
        return False

    def _take(self, name: str, column: Column, why: str) -> None:
        raw = column.name.raw
        factor = column.name.factor if name in ("params", "tokens") else 1.0
        factor = (
            factor if max(column.finite, default=0.0) * factor < 1e16 else 1.0
        )
        levels = self._sizes.levels(column)
        own = formula = ""
        if factor != 1.0 or levels.step:
            own = self._naming.alias(raw, avoid=name)
            own = f"{own} * {factor:g}" if factor != 1.0 else own
            formula = own if factor != 1.0 else ""
        if levels.step and why != "named by you":
            formula = on_levels(own, levels, factor)
            self._say_near(raw, column, levels)
        coordinate = Coordinate(name, raw, formula, "", None, levels.n_levels)
        coordinate.levels = level_column(column, levels)
        self.ladder.coordinates.append(coordinate)
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
        for column in varying:
            why = "a consequence of other settings: it differs in nearly every row"
            self._roles.give(column.name.raw, "fixed", why)

    def _say_near(self, raw: str, column: Column, levels: Levels) -> None:
        share = 100 * (column.levels[-1] / column.levels[0] - 1)
        what = (
            f"moves by {share:.2g} % only"
            if levels.n_levels == 1
            else "varies a little"
        )
        self._roles.book.say(
            "near-constant-ladder",
            f"{raw} {what} ({column.levels[0]:g} to {column.levels[-1]:g}): runs of "
            f"about the same size are one experiment, {levels.n_levels} in all. If each "
            "value is a size of its own, correct [[derived]].",
            raw,
        )

    def _expression(self, column: Column) -> str:
        alias = self._naming.alias(column.name.raw)
        factor = column.name.factor
        return f"{alias} * {factor:g}" if factor != 1.0 else alias

    def _take_texts(self) -> bool:
        """Sizes as texts, where no number says them: by the column's name, else where
        each of its texts states a size.
        """
        texts = []
        for raw in self._roles.free:
            column = self._roles.finished[raw]
            if column.kind == "text" and not column.name.is_a(
                "data", "contexts"
            ):
                texts.append((not column.name.is_a("size_word"), column))
        for is_unnamed, column in sorted(texts, key=lambda pair: pair[0]):
            raw = column.name.raw
            if is_unnamed and not stated_sizes(column.levels):
                continue
            n_most = max(2, len(column.cells) / 2)
            sizes = (
                sizes_of(column.levels)
                if 2 <= column.n_distinct <= n_most
                else None
            )
            if sizes is None or column.is_partial:
                continue
            are_ranks = len(sizes.guessed) == len(sizes.sizes)
            name = RANK if are_ranks else "params"
            coordinate = Coordinate(name, raw, "", "", sizes, column.n_distinct)
            coordinate.levels = column
            self.ladder.coordinates.append(coordinate)
            why = f"by its name; {column.n_distinct} levels, as text"
            self._roles.give(raw, "fidelity", why)
            if not are_ranks:
                self.ladder.known["params"] = "params"
            if sizes.guessed:
                self._roles.book.say(
                    "size-words",
                    f"{raw}: no size stands in the name of {listed(sizes.guessed)}. Fix: "
                    "write it under [lookup.rows]; rows without one are set aside.",
                    raw,
                )
            return True
        return False

    def _known_params(self) -> Params | None:
        """The parameters of every run, None where some are unknown."""
        if "params" not in self.ladder.known:
            return None
        for coordinate in self.ladder.coordinates:
            if coordinate.name == "params" and coordinate.texts is not None:
                column = self._roles.finished[coordinate.column]
                sizes = coordinate.texts.sizes
                if not all(str(cell) in sizes for cell in column.cells):
                    return None
                return "params", np.array([sizes[str(c)] for c in column.cells])
        found = self._sizes.named("params") + [
            self._roles.finished[c.column]
            for c in self.ladder.coordinates
            if c.name == "params" and c.column
        ]
        for column in found:
            if len(column.finite) == len(column.cells):
                values = np.array(column.finite) * column.name.factor
                return self.ladder.known["params"], values
        return None

    def _take_computed(self, name: str, least_levels: int = 2) -> bool:
        """Parameters or tokens from other settings; the formula is shown."""
        params = self._known_params() if name == "tokens" else None
        computed = self._formulas.computed(name, params)
        if computed is None:
            return False
        self.ladder.known.setdefault(name, f"({computed.formula})")
        levels = (
            levels_of(computed.values) if len(computed.values) else Levels(1)
        )
        if not computed.is_ladder or levels.n_levels < least_levels:
            return False
        shown = computed.formula
        if levels.step:
            shown = on_levels(shown, levels, 1.0)
        comment = f"computed: {computed.words}"
        coordinate = Coordinate(name, "", shown, comment, None, levels.n_levels)
        coordinate.levels = Column(read_name(name), tuple(levels.of))
        self.ladder.coordinates.append(coordinate)
        self.ladder.known[name] = name
        self._roles.book.say(
            "computed",
            f"{name} = {computed.formula} ({computed.words}), since no column holds it. "
            "Correct [[derived]] where that is wrong.",
            *computed.columns,
        )
        return True
