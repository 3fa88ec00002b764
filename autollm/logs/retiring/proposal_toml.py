"""The text of a proposed mapping: TOML with comments, section by section.

What does not belong here: guessing roles (`column_roles.py`). Invariant: every column
of the table is either read or named as left out, with the reason.
"""

from __future__ import annotations

import glob
import json
import keyword
import math
import re

from autollm.core.errors import MappingError
from autollm.logs.retiring.column_roles import PARAMS, RATE, SIZE, TOKENS, Roles, plain
from autollm.logs.retiring.columns import Column, two_clusters
from autollm.logs.retiring.containers import plain_name

FAMILIES = {
    "rl_tuning": r"\b(kl|clip|group_size|ppo|grpo)",
    "finetuning": "lora",
    "architecture": "n_layer|n_head|heads|mlp_ratio|embed|depth",
}
_SIZE_IN_TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*([KMBT])(?![A-Za-z])", re.IGNORECASE)
_FACTORS = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


def write_toml(
    file: str, file_format: str, columns: dict[str, Column], roles: Roles
) -> tuple[str, list[str]]:
    """The mapping of a table as TOML, and notes for the person who corrects it.

    Raises:
        MappingError: nothing in the table looks like a choice.
    """
    return _Writer(file, file_format, columns, roles).write()


class _Writer:
    """The TOML of one proposal, section by section."""

    def __init__(
        self, file: str, file_format: str, columns: dict[str, Column], roles: Roles
    ):
        self._file, self._format, self._columns, self._roles = (
            file,
            file_format,
            columns,
            roles,
        )
        self._aliases: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._lines: list[str] = []
        self._notes: list[str] = []

    def write(self) -> tuple[str, list[str]]:
        fidelity = self._fidelity_names()
        body = [
            *self._knobs(),
            *self._fidelity(fidelity),
            *self._outcomes(),
            *self._cost(fidelity),
            *self._left_out(),
        ]
        head = self._head(fidelity)
        self._odd_cells()
        return "\n".join(
            [*head, *self._alias_section(), *self._lines, *body]
        ) + "\n", self._notes

    def _head(self, fidelity: dict[str, str]) -> list[str]:
        source = re.sub(r"[=@,]", "-", plain_name(self._file).rsplit(".", 1)[0].lower())
        keys, numbered = self._run_key(fidelity)
        seeds = self._roles.named("seed")
        lines = [
            f"# Proposed from {self._file}: correct what is wrong, then `autollm "
            "sources add` this file.",
            'schema = "autollm.mapping/1"',
            f"source = {_text(re.sub(r'^[^A-Za-z0-9]+', '', source) or 'table')}",
            f"family = {_text(self._family())}  # architecture, pretraining, "
            "finetuning, rl_tuning, data_mixture, or your own",
            f"format = {_text(self._format)}",
            f"files = [{_text(plain_name(self._file))}]",
            "",
            "[run_key]  # "
            f"{'no column names a run: all that was chosen does' if len(keys) > 1 else 'names a run'}",
            f"columns = [{', '.join(map(_text, keys))}]",
            'repeated = "number"  # rows of one key are replicas'
            if numbered
            else 'repeated = "quarantine"',
            "",
        ]
        return lines + ([f"[replica]\ncolumn = {_text(seeds[0])}", ""] if seeds else [])

    def _run_key(self, fidelity: dict[str, str]) -> tuple[list[str], bool]:
        unique = sorted(
            self._roles.named("key"), key=lambda n: self._columns[n].kind != "text"
        )
        if unique:
            return unique[:1], False
        names = [
            *self._roles.named("knob"),
            *self._roles.named("simplex"),
            *fidelity,
            *self._roles.named("seed"),
        ]
        names = [n for n in self._columns if n in names]
        rows = list(zip(*(self._columns[n].cells for n in names), strict=True))
        return names, len({tuple(map(str, r)) for r in rows}) < len(rows)

    def _family(self) -> str:
        words = " ".join(
            plain(n)
            for n in (*self._roles.named("knob"), *self._roles.named("simplex"))
        )
        if self._roles.groups:
            return "data_mixture"
        return next(
            (
                family
                for family, pattern in FAMILIES.items()
                if re.search(pattern, words)
            ),
            "pretraining",
        )

    def _name(self, column: str, wanted: str | None = None) -> str:
        """A name for a column that expressions can spell, not used before."""
        name = wanted or plain(column)
        name = f"c_{name}" if name[0].isdigit() or keyword.iskeyword(name) else name
        while name in self._names.values():
            name += "_"
        self._names[column] = name
        return name

    def _knobs(self) -> list[str]:
        lines = []
        for i, (prefix, group, worst) in enumerate(self._roles.groups):
            weights = {c.name for c in group}
            all_of_prefix = prefix and all(
                n in weights for n in self._columns if n.startswith(prefix)
            )
            named = (
                [glob.escape(prefix) + "*"]
                if all_of_prefix
                else [glob.escape(c.name) for c in group]
            )
            name = "mixture" if i == 0 else f"mixture_{i + 1}"
            lines += [
                f"[[knobs]]  # {len(group)} weights",
                f"name = {_text(name)}",
                'scale = "simplex"',
                f"columns = [{', '.join(map(_text, named))}]",
                f"prefix = {_text(prefix)}",
                f"tolerance = {max(0.001, math.ceil(worst * 1200) / 1000):g}  # sums "
                f"are within {worst:.2g} of 1",
                'role = "weight"',
                "",
            ]
        for name in self._roles.named("knob"):
            lines += self._knob(self._columns[name])
        if not lines:
            raise MappingError(
                f"{self._file}: no column varies that looks like a choice. "
                f"{self._listed()} Fix: a table in which knobs vary."
            )
        return lines

    def _listed(self) -> str:
        return " ".join(f"{n}: {r.role} ({r.why})." for n, r in self._roles.of.items())

    def _knob(self, column: Column) -> list[str]:
        word = plain(column.name)
        lines = [
            "[[knobs]]",
            f"name = {_text(self._name(column.name))}",
            f"column = {_text(column.name)}",
        ]
        if column.kind in ("text", "bool"):
            values = (
                "[false, true]"
                if column.kind == "bool"
                else f"[{', '.join(map(_text, column.levels))}]"
            )
            return [*lines, 'scale = "categorical"', f"values = {values}", ""]
        if column.kind == "list":
            return [
                *lines,
                'scale = "list"',
                *(
                    [f"separator = {_text(column.separator)}"]
                    if column.separator
                    else []
                ),
                "",
            ]
        step = column.octave_step()
        if column.spans >= 8 or (RATE.search(word) and column.spans > 1):
            lines += [
                f'scale = "log"  # {column.levels[0]:g} to {column.levels[-1]:g}, '
                f"{column.n_distinct} levels"
            ]
        else:
            scale, step = ("integer" if column.kind == "integer" else "linear"), None
            lines += [
                f'scale = "{scale}"  # {column.levels[0]:g} to {column.levels[-1]:g}, '
                f"{column.n_distinct} levels"
            ]
        if step:
            n_steps = len({round(math.log2(x) / step) for x in column.levels})
            lines += [
                f"step = {step:g}  # octaves: {column.n_distinct} spellings of "
                f"{n_steps} steps",
                "tolerance = 0.02",
            ]
        role = "rate" if RATE.search(word) else "size" if SIZE.search(word) else ""
        return [*lines, *([f'role = "{role}"'] if role else []), ""]

    def _fidelity_names(self) -> dict[str, str]:
        """Column -> name of every fidelity coordinate."""
        names = {}
        for column in self._roles.named("fidelity"):
            word = plain(column)
            is_text = self._columns[column].kind == "text"
            wanted = (
                "params"
                if PARAMS.match(word)
                else "tokens"
                if TOKENS.match(word)
                else word
            )
            if (
                is_text and wanted in names.values()
            ):  # sizes as numbers and as text: the numbers say it
                continue
            names[column] = self._name(
                column, wanted if wanted not in names.values() else word
            )
        return names

    def _fidelity(self, names: dict[str, str]) -> list[str]:
        lines = []
        for column, name in names.items():
            source = self._columns[column]
            if source.kind == "text":
                self._lookup(source, name)
                lines += [
                    "[[fidelity]]",
                    f"name = {_text(name)}",
                    f"column = {_text(name + '_of')}",
                    "",
                ]
            else:
                lines += [
                    "[[fidelity]]",
                    f"name = {_text(name)}",
                    f"column = {_text(column)}",
                    "",
                ]
        if not lines:
            self._notes.append(
                "no column looks like a fidelity (parameters, tokens, steps ...): all "
                "rows are one experiment. "
                "Correct [[fidelity]]."
            )
            self._lines += [
                "[[derived]]  # no column looks like a fidelity: name one instead",
                'name = "one"',
                'value = "1"',
                "",
            ]
            return ["[[fidelity]]", 'name = "one"', 'column = "one"', ""]
        return lines

    def _lookup(self, column: Column, name: str) -> None:
        """Sizes of text levels: the number in the name, where it has one; else the
        order of appearance.
        """
        sizes = {level: _size_of(level) for level in column.levels}
        unknown = [level for level, size in sizes.items() if size is None]
        if unknown:
            more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
            self._notes.append(
                f"{column.name}: no size stands in the name of "
                f"{', '.join(unknown[:5])}{more}: correct [lookup.rows]."
            )
        self._lines += [
            "[[lookup]]  # sizes as the names say",
            f"columns = [{_text(column.name)}]",
            "[lookup.rows]",
        ]
        for rank, (level, size) in enumerate(sizes.items(), start=1):
            doubt = "" if size else "  # CORRECT THIS: no size in the name"
            self._lines.append(
                f"{_text(level)} = {{ {name}_of = {size or rank:g} }}{doubt}"
            )
        self._lines.append("")

    def _outcomes(self) -> list[str]:
        (objective,) = self._roles.named("objective")
        lines = [
            f"[objective]  # {self._roles.of[objective].why}",
            f"name = {_text(self._name(objective))}",
            f"column = {_text(objective)}",
            f"direction = {_text(self._roles.direction)}",
            "",
        ]
        for name in self._roles.named("metric"):
            lines += [
                "[[secondary]]",
                f"name = {_text(self._name(name))}",
                f"column = {_text(name)}",
                "",
            ]
        return lines

    def _alias(self, column: str) -> str:
        """A name for a column in expressions."""
        if column not in self._names and self._name(column) != column:
            self._aliases[self._names[column]] = column
        return self._names[column]

    def _alias_section(self) -> list[str]:
        lines = [
            f"{alias} = {_text(column)}" for alias, column in self._aliases.items()
        ]
        return (
            ["[columns]  # names that expressions can spell", *lines, ""]
            if lines
            else []
        )

    def _cost(self, fidelity: dict[str, str]) -> list[str]:
        lines, words = ["[cost]"], {n: plain(n) for n in self._roles.named("cost")}
        flops = sorted(
            (n for n, w in words.items() if "flop" in w),
            key=lambda n: ("pred" in words[n], "exact" not in words[n]),
        )
        hours = next(
            (
                n
                for n, w in words.items()
                if re.search("(gpu|device|tpu|cpu)_?hours?", w)
            ),
            None,
        )
        times = [
            n
            for n, w in words.items()
            if re.search("wall|time|duration|runtime|seconds|minutes", w) and n != hours
        ]
        named = list(fidelity.values())
        if flops:
            lines.append(f"flops = {_text(self._alias(flops[0]))}")
        elif {"params", "tokens"} <= set(named):
            lines.append('flops = "6 * params * tokens"')
        else:
            lines.append(
                f"flops = {_text(' * '.join(named) or 'one')}  # CORRECT THIS: what "
                "one run costs; it orders the experiments"
            )
        if hours:
            lines.append(f"device_hours = {_text(self._alias(hours))}")
        if times:
            word = words[times[0]]
            factor = next(
                (
                    f
                    for unit, f in (("min", 60), ("hour", 3600), ("_s$|sec", 1))
                    if re.search(unit, word)
                ),
                None,
            )
            text = self._alias(times[0]) + (
                f" * {factor}" if factor and factor > 1 else ""
            )
            doubt = (
                ""
                if factor
                else "  # CORRECT THIS: its unit is not in its name; seconds are taken"
            )
            lines.append(f"wall_time_s = {_text(text)}{doubt}")
            if factor is None:
                self._notes.append(
                    f"{times[0]}: seconds, minutes or hours? Correct [cost] "
                    "wall_time_s."
                )
        for name in [
            *self._roles.named("cost"),
            *self._roles.named("metric"),
            *self._roles.named("objective"),
        ]:
            factor = two_clusters(self._columns[name])
            if factor:
                self._notes.append(
                    f"{name}: values lie in two groups a factor of about {factor:g} "
                    "apart. Mixed units? "
                    "Fix: write every row in one unit."
                )
        return [*lines, ""]

    def _left_out(self) -> list[str]:
        lines = []
        for role in ("constant", "fixed", "ignored", "cost", "key", "fidelity"):
            for name in self._roles.named(role):
                if role in ("constant", "fixed", "ignored") or (
                    role == "fidelity" and name not in self._names
                ):
                    lines.append(
                        f"# left out: {name!r}, {self._roles.of[name].why}".replace(
                            "\n", " "
                        )
                    )
        return lines

    def _odd_cells(self) -> None:
        for name, column in self._columns.items():
            if column.odd_cells:
                line, cell = column.odd_cells[0]
                more = (
                    f" and {len(column.odd_cells) - 1} more"
                    if len(column.odd_cells) > 1
                    else ""
                )
                self._notes.append(
                    f"{self._file} line {line}{more}: {name}={cell!r:.60} among "
                    "numbers. Mixed units? "
                    "Fix: write plain numbers in one unit."
                )


def _size_of(text: str) -> float | None:
    """The number before K, M, B or T in a name: the first one, 30B of `30B-A3B`."""
    match = _SIZE_IN_TEXT.search(text)
    return float(match[1]) * _FACTORS[match[2].upper()] if match else None


def _text(value: str) -> str:
    """A TOML string."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
