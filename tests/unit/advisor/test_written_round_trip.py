"""Configurations as files, read back by what others would read them with."""

from __future__ import annotations

import json
import shlex

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from autollm.advisor.showing import written
from autollm.advisor.showing.written import STYLES, read_plan, render
from autollm.core.errors import QuestionError, SetupError
from autollm.core.plain_yaml import NotPlain, parse_plain_yaml

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.one_of(
    st.booleans(),
    st.none(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
    st.sampled_from(
        [
            "yes",
            "no",
            "null",
            "~",
            "1e-5",
            "0x10",
            "- a",
            "a: b",
            "# c",
            "'",
            '"',
        ]
    ),
)
PARTS = st.sampled_from(
    [
        "lr",
        "batch",
        "opt",
        "yes",
        "on",
        "null",
        "n",
        "1",
        "a b",
        "ü",
        "😀",
        "x-y",
    ]
)
KEYS = st.lists(PARTS, min_size=1, max_size=3).map(".".join)
MANY = settings(max_examples=60, deadline=None)
CONFIGURATIONS = st.dictionaries(KEYS, VALUES | st.lists(VALUES), min_size=1)


def read(tmp_path, text, name="plan.yaml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_plan(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("plans")


@pytest.mark.parametrize("style", ["yaml", "dotted"])
@MANY
@given(configuration=CONFIGURATIONS)
def test_render__any_configuration__is_read_back_equal(
    folder, style, configuration
):
    """Nothing is lost where a key is also a branch, or spells a truth value."""
    text = render([configuration], style)
    back = read(folder, text)
    assert back == configuration
    for key, value in configuration.items():
        assert type(back[key]) is type(value), key


@MANY
@given(configuration=CONFIGURATIONS)
def test_render__json__is_read_back_equal(folder, configuration):
    text = render([configuration], "json")
    assert json.loads(text) == configuration
    assert read(folder, text, "plan.json") == configuration


@MANY
@given(configuration=CONFIGURATIONS)
def test_render__yaml__nests_every_key_that_is_no_branch(configuration):
    loaded = yaml.safe_load(render([configuration], "yaml"))
    for key in configuration:
        if not any(other.startswith(f"{key}.") for other in configuration) and (
            not any(key.startswith(f"{other}.") for other in configuration)
        ):
            at = loaded
            for part in key.split("."):
                at = at[part]
            assert at == configuration[key]


@pytest.mark.parametrize(
    "configuration",
    [
        {"a": 1, "a.b": 2},
        {"a.b": 2, "a": 1},
        {"a.b.c": 1, "a.b": 2, "a": 3},
        {"a": 1, "a.b.c": 2},
        {"a.b.c": 2, "a.b": {"x": 1}["x"]},
    ],
)
def test_render__key_that_is_also_a_branch__loses_nothing(
    tmp_path, configuration
):
    assert read(tmp_path, render([configuration], "yaml")) == configuration


@pytest.mark.parametrize("key", ["a.", ".a", "a..b", ".", "on", "NO", "Null"])
def test_render__odd_key__is_the_same_key_again(tmp_path, key):
    assert read(tmp_path, render([{key: 1}], "yaml")) == {key: 1}
    assert read(tmp_path, render([{key: 1}], "dotted")) == {key: 1}


@given(st.floats(1e-300, 1e300))
def test_render__any_float__stays_a_number_for_readers_of_yaml_1_1(value):
    loaded = yaml.safe_load(render([{"lr": value}], "yaml"))
    assert loaded == {"lr": value} and isinstance(loaded["lr"], float)


@pytest.mark.parametrize(
    "value",
    [
        "cosine with restarts",
        "$(reboot)",
        "`id`",
        "a;b",
        "it's",
        '"x"',
        "a\nb",
        "",
        "*",
        "-rf",
        "ü",
    ],
)
def test_render__overrides__are_one_word_each_for_a_shell(value):
    """What a log calls a run must stay text where its line is pasted."""
    text = render([{"schedule": value, "lr": 1e-05}], "overrides")
    assert shlex.split(text) == [f"schedule={value}", "lr=1e-05"]


def test_render__overrides__plain_values_are_not_quoted():
    configurations = [
        {"config.lr": 0.001, "config.batch": 256, "config.opt": "adam"},
        {"config.lr": 0.002, "config.batch": 512, "config.opt": "sgd"},
    ]
    assert render(configurations, "overrides") == (
        "lr=0.001 batch=256 opt=adam\nlr=0.002 batch=512 opt=sgd\n"
    )


def test_render__sweep__holds_each_value_once_and_what_is_constant():
    configurations = [
        {"lr": 0.001, "batch": 256},
        {"lr": 0.002, "batch": 256},
        {"lr": 0.001, "batch": 256},
    ]
    loaded = yaml.safe_load(
        render(configurations, "sweep", "config.val/loss", "max")
    )
    assert loaded == {
        "method": "grid",
        "metric": {"name": "val/loss", "goal": "maximize"},
        "parameters": {
            "lr": {"values": [0.001, 0.002]},
            "batch": {"value": 256},
        },
    }


def test_render__sweep_of_what_is_no_grid__is_the_first_alone():
    """A grid of mixtures would be mostly of shares that sum to nothing."""
    mixes = [
        {"web": 0.5, "code": 0.5},
        {"web": 0.6, "code": 0.4},
        {"web": 0.7, "code": 0.3},
    ]
    text = render(mixes, "sweep", "metrics.val_loss", "min")
    assert text.startswith("# ")
    loaded = yaml.safe_load(text)
    assert loaded["parameters"] == {
        "web": {"value": 0.5},
        "code": {"value": 0.5},
    }
    assert loaded["metric"]["name"] == "val_loss"


@pytest.mark.parametrize(
    "prefix", ["config.", "params.", "hparams/", "params/", "args."]
)
@pytest.mark.parametrize("style", STYLES)
def test_render__prefix_of_a_tracker__is_gone_in_every_style(prefix, style):
    text = render([{f"{prefix}lr": 0.5}], style, "loss")
    assert "lr" in text and prefix not in text


def test_render__unknown_style__names_those_there_are():
    with pytest.raises(QuestionError, match=r"no style 'toml'\. Known: yaml"):
        render([{"lr": 1}], "toml")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": {"b": 1, "c": {"d": [1, 2]}}}', {"a.b": 1, "a.c.d": [1, 2]}),
        ("lr: {value: 0.1, desc: null}\n", {"lr": 0.1}),
        ("lr: {value: 0.1}\nwd: {desc: x}\n", {"lr": 0.1, "wd": None}),
        ("a: {value: {b: 1}}\n", {"a": {"b": 1}}),
        ("a: {}\n", {}),
        ("1: 2\n", {"1": 2}),
        ("a: null\n", {"a": None}),
        ("\ufeffa: 1\n", {"a": 1}),
        ("# only\na: 'x' # note\n", {"a": "x"}),
    ],
)
def test_read_plan__nesting_and_trackers_forms__are_flat(tmp_path, text, found):
    assert read(tmp_path, text) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no object of settings, but NoneType"),
        ("[1, 2]", "but list"),
        ("3", "but int"),
        ('"x"', "but str"),
        ("a: [1", "is no YAML"),
        ("a: b: c", "is no YAML"),
        ("a: !!python/object/apply:os.system ['true']", "is no YAML"),
        ("\t- x: [", "is no YAML"),
        ("[" * 100_000, "."),
        ("{" * 3000, "."),
        ("a: 2024-13-45", "is no YAML"),
    ],
)
def test_read_plan__no_settings__is_a_question_error_that_names_the_file(
    tmp_path, text, said
):
    with pytest.raises(QuestionError, match=said) as refused:
        read(tmp_path, text)
    assert "plan.yaml" in str(refused.value)


@pytest.mark.parametrize("data", [b"lr: \xff\xfe1", b"\x80", b"a: \xe9t\xe9"])
def test_read_plan__other_encoding__says_what_to_do(tmp_path, data):
    path = tmp_path / "plan.yaml"
    path.write_bytes(data)
    with pytest.raises(QuestionError, match="Fix: save it as UTF-8"):
        read_plan(path)


def test_read_plan__nothing_there__is_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_plan(tmp_path / "absent.yaml")


@MANY
@given(configuration=CONFIGURATIONS)
def test_render__yaml__is_plain_enough_for_the_base_install(configuration):
    for style in ("yaml", "dotted"):
        text = render([configuration], style)
        try:
            found = parse_plain_yaml(text)
        except NotPlain:
            # astral characters and a list's odd ones stand as YAML alone has them
            assert any(ord(c) > 0x7E or c in "\\\t" for c in text), text
        else:
            assert found == yaml.safe_load(text)


def test_read_plan__no_pyyaml__reads_what_is_plain_else_names_the_extra(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(written, "absent", list)
    text = render([{"optim.lr": 3e-5, "batch": 64, "name": "a: b"}], "yaml")
    assert read(tmp_path, text) == {
        "optim.lr": 3e-5,
        "batch": 64,
        "name": "a: b",
    }
    with pytest.raises(SetupError, match=r"needs yaml.*'autollm\[yaml\]'"):
        read(tmp_path, "lr: &rate 1")
