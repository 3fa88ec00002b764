"""Mapping files: what is accepted, and what a mistake in one says."""

import json
import math
import random
import tomllib

import pytest

from autollm.core.errors import MappingError
from autollm.core.mappings.mapping import Mapping, build_mapping, parse_mapping

MINIMAL = """
schema = "autollm.mapping/1"
source = "mine"
family = "pretraining"
format = "csv"
files = ["*.csv"]
run_key = {columns = ["id"]}
derived = [{name = "double", value = "lr * 2"}]
knobs = [{name = "lr", scale = "log"}]
fidelity = [{name = "params", column = "N"}]
objective = {name = "loss", direction = "min"}
cost = {flops = "6 * params"}
"""


def test_parse_mapping__minimal__fills_in_names_as_columns():
    mapping = parse_mapping(MINIMAL, "m.toml")
    assert mapping.needed_columns() == ("id", "lr", "N", "loss")
    assert mapping.space_json.startswith('{"knobs":[{"name":"lr"')


def test_parse_mapping__same_content__has_the_same_ids_and_another_window_another_space():
    one, two = (
        parse_mapping(MINIMAL, "a.toml"),
        parse_mapping(MINIMAL + "\n# a comment\n", "b.toml"),
    )
    assert (one.mapping_id, one.space_id) == (two.mapping_id, two.space_id)
    wider = parse_mapping(
        MINIMAL.replace('scale = "log"', 'scale = "log", window = [0.001, 1]'),
        "c.toml",
    )
    assert wider.space_id != one.space_id and wider.ladder_id == one.ladder_id


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mapping/1", "mapping/9", "expected schema"),
        ("[[", "[[[", None),
        (
            'scale = "log"',
            'scale = "logarithmic"',
            "scale 'logarithmic', expected one of 'log'",
        ),
        ('scale = "log"', 'scal = "log"', "Did you mean 'scale'"),
        (
            'scale = "log"',
            'scale = "log", window = [0, 1]',
            "positive on a log scale",
        ),
        ('scale = "log"', 'scale = "log", window = [2, 1]', "low < high"),
        (
            'scale = "log"',
            'scale = "log", step = -1',
            "expected a positive number",
        ),
        (
            'scale = "log"',
            'scale = "ordinal", step = 1',
            "step belongs to log and linear",
        ),
        ('scale = "log"', 'scale = "simplex"', "`columns` belong to simplex"),
        ('scale = "log"', 'scale = "log", role = "speed"', "role 'speed'"),
        (
            'direction = "min"',
            'direction = "down"',
            "objective.direction 'down', expected one of 'min'",
        ),
        ("objective =", "objektive =", "Did you mean 'objective'"),
        ('source = "mine"', "source = 3", "source must be a string"),
        ('files = ["*.csv"]', 'files = "*.csv"', "files must be a list"),
        (
            'column = "N"',
            "column = 7",
            "fidelity.column must be a string, got 7",
        ),
        (
            'objective = {name = "loss", direction = "min"}',
            'objective = "loss"',
            "\\[objective\\] must be a table",
        ),
        (
            'objective = {name = "loss", d',
            "objective = {d",
            "\\[objective\\] has no 'name'",
        ),
        (
            'cost = {flops = "6 * params"}',
            "cost = 3",
            "\\[cost\\] must be a table",
        ),
        ('source = "mine"', "", "section 'source' is missing"),
        ("run_key", "cost_key", "unknown section"),
        ('run_key = {columns = ["id"]}', "", "needs \\[run_key\\] columns"),
        (
            '["id"]',
            '["id"], repeated = "drop"',
            "expected one of 'quarantine' or 'number'",
        ),
        (
            "cost = {flops",
            "cost = {dollars",
            r"unknown entry of \[cost\] 'dollars'",
        ),
        (
            "cost = {flops",
            "cost = {wall_time_s",
            "has no 'flops': it orders the experiments",
        ),
        ('"lr * 2"', '"open(lr)"', "unknown function 'open'"),
        ('"lr * 2"', '"double * 2"', "not defined before it"),
        ('name = "params"', 'name = "lr"', "used twice"),
        (
            "cost = {flops",
            'signal = {name = "train_loss"}\ncost = {flops',
            r"\[signal\] has no 'direction'",
        ),
        (
            "cost = {flops",
            'signal = {name = "train_loss", direction = "min"}\ncost = {flops',
            "a row of 'csv' has none",
        ),
        (
            "cost = {flops",
            'signal = {metric = "train_loss"}\ncost = {flops',
            "unknown entry of \\[signal\\] 'metric'",
        ),
        (
            "cost = {flops",
            "signal = 3\ncost = {flops",
            "\\[signal\\] must be a table",
        ),
        ('name = "params"', "name = 'a\"b'", "without quotes, backslashes"),
    ],
)
def test_parse_mapping__one_mistake__is_named_with_the_file(old, new, message):
    text = MINIMAL.replace(old, new, 1)
    if text == MINIMAL:
        text = MINIMAL + "]"
    with pytest.raises(MappingError, match=message) as caught:
        parse_mapping(text, "mine.toml")
    assert "mine.toml" in str(caught.value)


def test_parse_mapping__signal__stands_in_the_ladder_and_makes_another():
    logs = MINIMAL.replace('format = "csv"', 'format = "autollm.run/1"')
    plain, with_signal = (
        parse_mapping(text, "m.toml")
        for text in (
            logs,
            logs + 'signal = {name = "train_loss", direction = "min"}\n',
        )
    )
    assert json.loads(with_signal.ladder_json)["signal"] == {
        "name": "train_loss",
        "direction": "min",
    }
    assert (
        "signal" not in plain.ladder_json
        and plain.ladder_id != with_signal.ladder_id
    )


TABLES = MINIMAL.replace(
    'files = ["*.csv"]',
    'tables = [{file = "mix_*.csv", join = "loss_*.csv", set = {part = "a"}}]',
) + (
    'join = {on = ["id"]}\nlookup = [{columns = ["size"], rows = {s = {heads = 4}, m = '
    "{heads = 8}}}]\n"
    'replica = {duplicate_cells = "quarantine"}\ngroup = {column = "tok"}\nhardware = '
    '{device = "cuda"}\n'
    'secondary = [{name = "acc", direction = "max"}, {name = "flops"}]\n'
)


def test_parse_mapping__pairs_lookups_and_groups__are_read():
    mapping = parse_mapping(TABLES, "m.toml")
    assert (
        mapping.files == ("mix_*.csv",)
        and mapping.hardware.device == "cuda"
        and mapping.replica.duplicate_cells == "quarantine"
    )
    assert (
        mapping.pair_of("mix_1b.csv")
        == mapping.pair_of("loss_1b.csv")
        == ("mix_1b.csv", "loss_1b.csv")
    )
    assert mapping.pair_of("other.csv") is None and mapping.part(
        "mix_1b.csv"
    ).constants == {"part": "a"}
    assert mapping.needed_columns() == (
        "id",
        "lr",
        "N",
        "loss",
        "acc",
        "flops",
        "tok",
        "size",
    )
    assert (
        '"metrics":[{"direction":"max","name":"acc","unit":""}]'
        in mapping.ladder_json
    )
    assert '"metrics"' not in parse_mapping(MINIMAL, "m.toml").ladder_json


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'source = "mine"',
            'source = "a/b"',
            "source 'a/b', expected letters, digits",
        ),
        (
            'join = "loss_*.csv"',
            'join = "loss.csv"',
            r"at most one \*, in both names or in none",
        ),
        ("join = {on", "joint = {on", "Did you mean 'join'"),
        ('join = {on = ["id"]}', "", "on = .* is missing"),
        ('join = {on = ["id"]}', 'join = {onto = ["id"]}', "unknown entry of"),
        ('join = {on = ["id"]}', 'join = "id"', r"\[join\] must be a table"),
        (', join = "loss_*.csv"', "", "nothing is joined"),
        (
            'set = {part = "a"}}',
            'set = {part = "a"}}, {file = "x.csv"}',
            "set all the same",
        ),
        (
            "tables = [{file",
            'files = ["a.csv"]\ntables = [{file',
            "name different files",
        ),
        (
            'set = {part = "a"}',
            'set = {double = "a"}',
            "the column 'double' is made twice",
        ),
        (
            'columns = ["size"], rows',
            'columns = ["double"], rows',
            "a look-up by 'double'",
        ),
        ('columns = ["size"], rows', "rows", "has no 'columns'"),
        (
            "rows = {s = {heads = 4}, m",
            "rows = {s = {width = 4}, m",
            r"gives \['heads'\], the first row \['width'\]",
        ),
        ("rows = {s = {heads = 4}", "rows = {s = 4", "rows s must be a table"),
        (
            'run_key = {columns = ["id"]',
            'run_key = {columns = ["heads"]',
            "run_key column 'heads' is made by the mapping",
        ),
        (
            '"quarantine"}',
            '"drop"}',
            "expected one of 'average' or 'quarantine'",
        ),
        (
            'direction = "max"}, ',
            'direction = "up"}, ',
            "secondary.direction 'up', expected one of 'min'",
        ),
        (
            '{name = "flops"}',
            '{name = "acc"}',
            "the name 'acc' is used twice among the objective",
        ),
        (
            '{name = "flops"}',
            '{name = "flops", bounds = [1]}',
            "secondary.0.bounds lacks|secondary.1.bounds lacks its entry number 2",
        ),
        (
            'scale = "log"',
            'scale = "log", bounds = [2, 1]',
            r"bounds \[2.0, 1.0\] of 'lr', expected \[lowest",
        ),
    ],
)
def test_parse_mapping__one_mistake_about_tables__is_named_with_the_file(
    old, new, message
):
    assert old in TABLES
    with pytest.raises(MappingError, match=message) as caught:
        parse_mapping(TABLES.replace(old, new, 1), "mine.toml")
    assert "mine.toml" in str(caught.value)


CONDITIONAL = MINIMAL.replace(
    'knobs = [{name = "lr", scale = "log"}]',
    'knobs = [{name = "opt", scale = "categorical"}, {name = "layers", scale = '
    '"integer"}, '
    '{name = "lr", scale = "log", when = {knob = "opt", values = ["adam"]}}]\n'
    "limits = [{weights = {lr = 2, layers = 1}, most = 24}]",
)


def test_parse_mapping__conditions_and_limits__stand_in_the_space():
    space = json.loads(parse_mapping(CONDITIONAL, "m.toml").space_json)
    assert [k.get("when") for k in space["knobs"]] == [
        None,
        None,
        {"knob": "opt", "values": ["adam"]},
    ]
    assert space["limits"] == [{"most": 24, "weights": {"layers": 1, "lr": 2}}]
    assert set(json.loads(parse_mapping(MINIMAL, "m.toml").space_json)) == {
        "knobs"
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'knob = "opt"',
            'knob = "later"',
            "hangs on 'later', which is no number or category named before it",
        ),
        (
            'when = {knob = "opt", values = ["adam"]}',
            'when = "opt"',
            r"\[\[knobs\]\] when must be a table",
        ),
        ("lr = 2, layers", "opt = 2, layers", "'opt' is no knob of one number"),
        ("most = 24", 'most = "24"', "limits.most must be a number"),
    ],
)
def test_parse_mapping__one_mistake_about_conditions__is_named(
    old, new, message
):
    assert old in CONDITIONAL
    with pytest.raises(MappingError, match=message):
        parse_mapping(CONDITIONAL.replace(old, new, 1), "mine.toml")


ROLES = (
    MINIMAL
    + """
labels = ["Name"]
context = [{name = "optimizer"}, {name = "tokenizer", column = "tok", missing = "gpt2"}]
state = {column = "State", words = {keep = "finished"}}
trunk = {column = "parent"}
schedule = {share = "step / total"}
status = [{status = "killed", when = 'state == "crashed" and step < 100'}]
"""
)


def test_parse_mapping__roles__are_read_and_their_columns_needed():
    mapping = parse_mapping(ROLES, "m.toml")
    assert [entry.column for entry in mapping.context] == ["optimizer", "tok"]
    assert mapping.state.words == {"keep": "finished"}
    assert mapping.status[0].reason_text == 'state == "crashed" and step < 100'
    needed = set(mapping.needed_columns())
    assert {
        "optimizer",
        "tok",
        "State",
        "parent",
        "step",
        "total",
        "state",
    } <= needed


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'keep = "finished"',
            'keep = "fine"',
            "state.words.keep 'fine', expected one of",
        ),
        (
            'name = "optimizer"',
            'name = "lr"',
            "used twice among knobs, contexts",
        ),
        ('"step / total"', '"step /"', "cannot parse the expression"),
        (
            '\'state == "crashed"',
            '\'state < "crashed"',
            "compared with one name",
        ),
        ('labels = ["Name"]', "labels = [3]", "labels must be a string, got 3"),
    ],
)
def test_parse_mapping__one_mistake_about_roles__is_named(old, new, message):
    assert old in ROLES
    with pytest.raises(MappingError, match=message):
        parse_mapping(ROLES.replace(old, new, 1), "mine.toml")


def test_parse_mapping__missing_value__stands_in_the_space_and_fits_the_scale():
    unused = MINIMAL.replace(
        'scale = "log"', 'scale = "categorical", missing = "none"'
    )
    space = json.loads(parse_mapping(unused, "m.toml").space_json)
    assert space["knobs"][0]["missing"] == "none"
    number = MINIMAL.replace('scale = "log"', 'scale = "log", missing = "none"')
    with pytest.raises(MappingError, match="missing = 'none' on a log scale"):
        parse_mapping(number, "m.toml")


@pytest.mark.parametrize("text", [MINIMAL, TABLES, CONDITIONAL, ROLES])
def test_build_mapping__what_a_mapping_dumps__is_that_mapping(text):
    mapping = parse_mapping(text, "m.toml")
    dumped = mapping.model_dump(exclude_unset=True, by_alias=True)
    again = build_mapping(dumped, "m")
    assert again == mapping and again.mapping_id == mapping.mapping_id


def test_parse_mapping__direction_left_out__must_be_said():
    with pytest.raises(
        MappingError, match=r'has no .direction.: write "min" or "max"'
    ):
        parse_mapping(MINIMAL.replace(', direction = "min"', ""), "m.toml")


def test_mapping__another_entry__is_another_mapping_and_none_is_changed_in_place():
    one = parse_mapping(MINIMAL, "m.toml")
    other = parse_mapping(MINIMAL.replace('"lr * 2"', '"lr * 3"'), "m.toml")
    assert one.mapping_id != other.mapping_id
    with pytest.raises(ValueError, match="frozen"):
        one.source = "other"
    assert isinstance(one, Mapping)


def _changed(rng, value):
    """A copy in which one entry, at any depth, is dropped or replaced by junk."""
    junk = (
        None,
        True,
        -1,
        10**400,
        math.nan,
        "",
        "\ud800",
        "(" * 300,
        [],
        {},
        [{}],
    )
    if not isinstance(value, (dict, list)) or not value or rng.random() < 0.2:
        return rng.choice(junk)
    copied = value.copy()
    keys = list(value) if isinstance(value, dict) else range(len(value))
    at = rng.choice(list(keys))
    if rng.random() < 0.2:
        del copied[at]
    else:
        copied[at] = _changed(rng, value[at])
    return copied


def test_build_mapping__mutated_files__end_in_house_errors_or_in_a_mapping():
    rng = random.Random(5)
    refused = 0
    for text in [MINIMAL, TABLES, CONDITIONAL, ROLES] * 100:
        raw = _changed(rng, tomllib.loads(text))
        try:
            build_mapping(raw if isinstance(raw, dict) else {}, "m")
        except MappingError:
            refused += 1
    assert 200 < refused < 400
