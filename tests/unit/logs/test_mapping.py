"""Mapping files: what is accepted, and what a mistake in one says."""

import dataclasses
import json

import pytest

from autollm.core.errors import MappingError, UnknownNameError
from autollm.lab.families import FAMILIES
from autollm.logs.catalog import MappingChoice, builtin_mappings, load_mapping
from autollm.logs.mapping_file import parse_mapping

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


def test_builtin_mappings__all__are_complete_and_distinct():
    mappings = builtin_mappings()
    assert {"steplaw", "lab-pretraining"} <= set(mappings)
    assert len({m.mapping_id for m in mappings.values()}) == len(mappings)
    for name, mapping in mappings.items():
        assert mapping.source == name and mapping.files and mapping.cost["flops"]


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
        MINIMAL.replace('scale = "log"', 'scale = "log", window = [0.001, 1]'), "c.toml"
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
            "scale 'logarithmic', expected one of log",
        ),
        ('scale = "log"', 'scal = "log"', "Did you mean 'scale'"),
        ('scale = "log"', 'scale = "log", window = [0, 1]', "positive on a log scale"),
        ('scale = "log"', 'scale = "log", window = [2, 1]', "low < high"),
        ('scale = "log"', 'scale = "log", step = -1', "expected a positive number"),
        (
            'scale = "log"',
            'scale = "ordinal", step = 1',
            "step belongs to log and linear",
        ),
        ('scale = "log"', 'scale = "simplex"', "`columns` belong to simplex"),
        ('scale = "log"', 'scale = "log", role = "speed"', "role 'speed'"),
        ('direction = "min"', 'direction = "down"', "objective direction 'down'"),
        ("objective =", "objektive =", "Did you mean 'objective'"),
        ('source = "mine"', "source = 3", "source must be a string"),
        ('files = ["*.csv"]', 'files = "*.csv"', "files must be a list"),
        ('column = "N"', "column = 7", "fidelity.column must be a string, got 7"),
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
        ('cost = {flops = "6 * params"}', "cost = 3", "\\[cost\\] must be a table"),
        ('source = "mine"', "", "section 'source' is missing"),
        ("run_key", "cost_key", "unknown section"),
        ('run_key = {columns = ["id"]}', "", "needs \\[run_key\\] columns"),
        ('["id"]', '["id"], repeated = "drop"', "expected 'quarantine' or 'number'"),
        ("cost = {flops", "cost = {dollars", "unknown cost 'dollars'"),
        ("cost = {flops", "cost = {wall_time_s", "flops is missing"),
        ('"lr * 2"', '"open(lr)"', "unknown function 'open'"),
        ('"lr * 2"', '"double * 2"', "not defined before it"),
        ('name = "params"', 'name = "lr"', "used twice"),
        (
            "cost = {flops",
            'signal = {name = "train_loss"}\ncost = {flops',
            "needs the `name` of a logged metric, and its `direction`",
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
        ("cost = {flops", "signal = 3\ncost = {flops", "\\[signal\\] must be a table"),
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
        for text in (logs, logs + 'signal = {name = "train_loss", direction = "min"}\n')
    )
    assert json.loads(with_signal.ladder_json)["signal"] == {
        "name": "train_loss",
        "direction": "min",
    }
    assert (
        "signal" not in plain.ladder_json and plain.ladder_id != with_signal.ladder_id
    )
    assert builtin_mappings()["lab-pretraining"].signal.name == "train_loss"


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
        and mapping.device == "cuda"
        and mapping.duplicate_cells == "quarantine"
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
        '"metrics":[{"direction":"max","name":"acc","unit":""}]' in mapping.ladder_json
    )
    assert '"metrics"' not in parse_mapping(MINIMAL, "m.toml").ladder_json


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('source = "mine"', 'source = "a/b"', "source 'a/b', expected letters, digits"),
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
        ('columns = ["size"], rows', "rows", "needs `columns`"),
        (
            "rows = {s = {heads = 4}, m",
            "rows = {s = {width = 4}, m",
            r"gives \['heads'\], the first row \['width'\]",
        ),
        ("rows = {s = {heads = 4}", "rows = {s = 4", "is a table of new columns"),
        (
            'run_key = {columns = ["id"]',
            'run_key = {columns = ["heads"]',
            "run_key column 'heads' is made by the mapping",
        ),
        ('"quarantine"}', '"drop"}', "expected 'average' or 'quarantine'"),
        ('direction = "max"}, ', 'direction = "up"}, ', "direction 'up' of 'acc'"),
        (
            '{name = "flops"}',
            '{name = "acc"}',
            "the name 'acc' is used twice among the objective",
        ),
        (
            '{name = "flops"}',
            '{name = "flops", bounds = [1]}',
            r"bounds \[1\] of 'flops', expected \[lowest",
        ),
        ('scale = "log"', 'scale = "log", bounds = [2, 1]', r"bounds \[2, 1\] of 'lr'"),
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
    assert set(json.loads(parse_mapping(MINIMAL, "m.toml").space_json)) == {"knobs"}


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
            r"expected \{ knob = NAME",
        ),
        ("lr = 2, layers", "opt = 2, layers", "'opt' is no knob of one number"),
        ("most = 24", 'most = "24"', "needs weights"),
    ],
)
def test_parse_mapping__one_mistake_about_conditions__is_named(old, new, message):
    assert old in CONDITIONAL
    with pytest.raises(MappingError, match=message):
        parse_mapping(CONDITIONAL.replace(old, new, 1), "mine.toml")


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda f: f.name)
def test_builtin_mappings__lab_family__says_what_the_family_declares(family):
    mapping = builtin_mappings()[f"lab-{family.name}"]
    assert [(k.name, k.scale, k.role) for k in mapping.knobs] == [
        (k.name, k.scale, k.role) for k in family.space.knobs
    ]
    for said, declared in zip(mapping.knobs, family.space.knobs, strict=True):
        if declared.scale in ("log", "linear", "integer"):
            assert (
                said.window
                == pytest.approx((declared.levels[0], declared.levels[-1]), rel=1e-9)
                and said.step == declared.step
            )
        elif declared.scale != "simplex":
            assert list(said.values) == list(declared.levels)
    assert {q.name for q in mapping.fidelity} == set(family.fidelity(family.levels[0]))
    ends = [
        (mapping.objective, family.objective),
        *zip(mapping.secondary, family.secondary, strict=True),
    ]
    assert [(q.name, q.direction, q.unit) for q, _ in ends] == [
        (m.name, m.direction or said.direction, m.unit) for said, m in ends
    ]


def test_load_mapping__misspelt_name__says_what_is_near():
    with pytest.raises(UnknownNameError, match="Did you mean 'steplaw'"):
        load_mapping("step-law")
    with pytest.raises(MappingError, match="cannot read"):
        load_mapping("nowhere.toml")


def test_load_mapping__file__equals_its_text(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL)
    assert load_mapping(path).mapping_id == parse_mapping(MINIMAL, "x").mapping_id
    assert load_mapping("steplaw") is builtin_mappings()["steplaw"]


def test_mapping_choice__name_spelt_out__comes_before_a_pattern_and_spaces_are_underscores():
    mine = dataclasses.replace(
        parse_mapping(MINIMAL.replace("*.csv", "my sweep *.csv"), "m"), source="mine"
    )
    wide = dataclasses.replace(parse_mapping(MINIMAL, "m"), source="wide")
    choice = MappingChoice(own=(wide, mine))
    assert (
        choice.for_file("dense_lr_bs_loss.csv", "csv").source == "steplaw"
        and choice.for_file("other.csv", "csv") is wide
    )
    assert MappingChoice(own=(mine,)).for_file("my_sweep_7.csv.gz", "csv") is mine


def test_mapping_choice__named__hides_the_built_in_ones():
    mine = dataclasses.replace(parse_mapping(MINIMAL, "m"), files=("runs*.csv",))
    choice = MappingChoice(mine)
    assert choice.for_source("steplaw") is None
    assert choice.for_file("folder/runs_1.csv", "csv") is mine
    assert choice.for_file("dense_lr_bs_loss.csv", "csv") is None
    assert MappingChoice().for_file("dense_lr_bs_loss.csv", "csv").source == "steplaw"
