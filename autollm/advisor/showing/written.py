"""Configurations as files: what other tools take in, and a user's plan read back.

| style     | what it is                                                          |
|-----------|---------------------------------------------------------------------|
| yaml      | nested where a column has dots (`optimizer.lr`), Hydra's way        |
| dotted    | YAML, one key a line, dots kept                                     |
| sweep     | a Weights & Biases sweep over all recommendations where they are a  |
|           | grid, else the first one as a sweep of one run                      |
| overrides | `lr=0.001 batch=256`, a line a recommendation                       |
| json      | the first recommendation's object                                   |

Invariant: keys are the user's own columns, without the prefixes of trackers (`config.`,
`params.`).
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autollm.core.errors import QuestionError, SetupError
from autollm.core.extras import absent, absent_text
from autollm.core.plain_yaml import NotPlain, parse_plain_yaml

STYLES = ("yaml", "dotted", "sweep", "overrides", "json")
PREFIX = re.compile(r"^(config|params|hparams|args|metrics|summary)[./]")
"""Trackers and readers put it before what the user called the setting or the metric."""
NO_GRID = "# the proposals are no grid: this is the first; --style overrides has all\n"
PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-/]*")
UNSEEN = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
"""Characters that YAML does not take as they are, or takes for an end of line."""
NO_TEXT = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")
"""Words that readers of YAML 1.1 take for a truth value, or for nothing."""


def style_of(path: str) -> str:
    """The style that a file's name asks for: `.json`, `.txt` or `.sh` (overrides), a
    name with `sweep`, else yaml.
    """
    name = Path(path).name.lower()
    if name.endswith(".json"):
        return "json"
    if name.endswith((".txt", ".sh")):
        return "overrides"
    return "sweep" if "sweep" in name else "yaml"


def render(
    configurations: Sequence[Mapping[str, Any]],
    style: str,
    objective: str = "",
    direction: str = "min",
) -> str:
    """The text of a file; every style but sweep and overrides holds the first one.

    Raises:
        QuestionError: no such style.
    """
    if style not in STYLES:
        raise QuestionError(f"no style {style!r}. Known: {', '.join(STYLES)}.")
    cleaned = [_without_prefixes(c) for c in configurations]
    first = cleaned[0]
    if style == "json":
        return json.dumps(first, indent=2) + "\n"
    if style == "overrides":
        lines = [_overrides(c) for c in cleaned]
        return "\n".join(lines) + "\n"
    if style == "sweep":
        is_grid = _is_grid(cleaned)
        swept = cleaned if is_grid else cleaned[:1]
        text = _yaml(_sweep(swept, objective, direction))
        return text if is_grid else NO_GRID + text
    return _yaml(first if style == "dotted" else _nested(first))


def _without_prefixes(configuration: Mapping[str, Any]) -> dict[str, Any]:
    return {PREFIX.sub("", k): v for k, v in configuration.items()}


def _overrides(configuration: Mapping[str, Any]) -> str:
    """Quoted where a shell would read more than text into it."""
    words = [f"{k}={_bare(v)}" for k, v in configuration.items()]
    return shlex.join(words)


def _is_grid(configurations: Sequence[Mapping[str, Any]]) -> bool:
    """Whether configurations are all combinations of their values."""
    n_combinations = 1
    for key in configurations[0]:
        n_combinations *= len({repr(c[key]) for c in configurations})
    return n_combinations == len({repr(c) for c in configurations})


def _sweep(
    configurations: Sequence[Mapping[str, Any]], objective: str, direction: str
) -> dict[str, Any]:
    """A grid over the values of each key; the method `grid` tries their combinations."""
    parameters = {}
    for key in configurations[0]:
        values = list(dict.fromkeys(c[key] for c in configurations))
        one = len(values) == 1
        parameters[key] = {"value": values[0]} if one else {"values": values}
    goal = {"min": "minimize", "max": "maximize"}[direction]
    metric = {"name": PREFIX.sub("", objective), "goal": goal}
    return {"method": "grid", "metric": metric, "parameters": parameters}


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """`{"optimizer.lr": 1}` as `{"optimizer": {"lr": 1}}`; a key that is also a branch
    stays dotted.
    """
    out: dict[str, Any] = {}
    for key, value in flat.items():
        *branches, leaf = key.split(".")
        above = [".".join(branches[:n]) for n in range(1, len(branches) + 1)]
        if "" in (*branches, leaf) or any(name in flat for name in above):
            out[key] = value
            continue
        at = out
        for branch in branches:
            at = at.setdefault(branch, {})
        at[leaf] = value
    return out


def _yaml(value: Mapping[str, Any], indent: int = 0) -> str:
    """YAML whose scalars and lists are JSON, which YAML 1.2 contains."""
    lines = []
    for key, item in value.items():
        is_plain = PLAIN_KEY.fullmatch(key) and key.lower() not in NO_TEXT
        shown = key if is_plain else _quoted(key)
        if isinstance(item, Mapping):
            lines.append(f"{' ' * indent}{shown}:\n{_yaml(item, indent + 2)}")
        else:
            lines.append(f"{' ' * indent}{shown}: {_scalar(item)}\n")
    return "".join(lines)


def _scalar(value: Any) -> str:
    """As JSON, but 1e-05 with the dot that YAML 1.1 readers need to see a number."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_scalar, value))}]"
    text = _quoted(value)
    if isinstance(value, float) and "e" in text and "." not in text:
        return text.replace("e", ".0e")
    return text


def _quoted(value: Any) -> str:
    """As JSON, but characters beyond 16 bits as they are: YAML reads JSON's
    `\\ud83d\\ude00` as two of them.
    """
    text = json.dumps(value, ensure_ascii=False)
    return UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _bare(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def read_plan(path: str | Path) -> dict[str, Any]:
    """A configuration file (YAML or JSON) as a flat object, nesting joined by dots;
    W&B's `{key: {value: x}}` is x.

    Raises:
        FileNotFoundError: nothing there. QuestionError: no object of settings, or no
            text in UTF-8.
        SetupError: it is YAML that is not plain, and PyYAML is not installed.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise QuestionError(
            f"{path} is no text in UTF-8: {error}. Fix: save it as UTF-8."
        ) from None
    try:
        raw = json.loads(text)
    except json.JSONDecodeError:
        raw = _read_yaml(text, str(path))
    except RecursionError:
        raise QuestionError(f"{path} is nested too deeply") from None
    if not isinstance(raw, Mapping):
        raise QuestionError(
            f"{path} holds no object of settings, but {type(raw).__name__}"
        )
    return dict(_flat(raw, ""))


def _read_yaml(text: str, path: str) -> Any:
    """Where PyYAML is not installed, what is plain: all that `render` writes is."""
    if absent(["yaml"]):
        try:
            return parse_plain_yaml(text)
        except NotPlain:
            told = absent_text(["yaml"], f"{path}, written as YAML,")
            raise SetupError(told) from None
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise QuestionError(f"{path} is no YAML: {error}") from None


def _flat(raw: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in raw.items():
        name = f"{prefix}{key}"
        if (
            isinstance(value, Mapping)
            and set(value) <= {"value", "desc"}
            and value
        ):
            found.append((name, value.get("value")))
        elif isinstance(value, Mapping):
            found += _flat(value, f"{name}.")
        else:
            found.append((name, value))
    return found
