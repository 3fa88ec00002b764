"""Settings in names: composed names give their settings back, others give nothing."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autollm.core.mappings.name_parts import REST, parts_reader
from autollm.core.values import parse_number

WORDS = {
    "lr": ("lr", "learning_rate"),
    "batch_size": ("bs", "batch_size"),
    "weight_decay": ("wd", "weight_decay"),
    "min_lr": ("min_lr",),
    "seed": ("seed", "s"),
    "steps": ("steps",),
    "tokens": ("tokens", "tok"),
    "layers": ("layers", "l"),
    "optimizer": ("opt",),
    "schedule": ("sched",),
    "params": (),
    "rest": (REST,),
}
read = parts_reader(WORDS)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (
            "lr3e-4_bs256_wd0.1-seed2",
            {
                "lr": "3e-4",
                "batch_size": "256",
                "weight_decay": "0.1",
                "seed": "2",
            },
        ),
        (
            "llama-125M-lr=0.001",
            {"lr": "0.001", "params": "125M", "rest": "llama"},
        ),
        ("LR0.001BS256", {"lr": "0.001", "batch_size": "256"}),
        (
            "lr3e-4bs256wd.1",
            {"lr": "3e-4", "batch_size": "256", "weight_decay": ".1"},
        ),
        (
            "lr_0p001-bs-64-s3",
            {"lr": "0.001", "batch_size": "64", "seed": "3"},
        ),
        (
            "opt=adamw_weight_decay=0.1",
            {"optimizer": "adamw", "weight_decay": "0.1"},
        ),
        ("sched=inv_sqrt_lr=0.1", {"schedule": "inv_sqrt", "lr": "0.1"}),
        ("opt=adamw-seed2", {"optimizer": "adamw", "seed": "2"}),
        ("opt:muon,lr:0.02", {"optimizer": "muon", "lr": "0.02"}),
        ("min_lr0.1_lr3", {"min_lr": "0.1", "lr": "3"}),
        ("10ksteps-2.5Btok", {"steps": "10k", "tokens": "2.5B"}),
        ("l12-lr1e-3", {"layers": "12", "lr": "1e-3"}),
        ("lr:1e-3, bs:32", {"lr": "1e-3", "batch_size": "32"}),
        ("learning rate 0.1", {"lr": "0.1"}),
        ("Learning-Rate=0.1", {"lr": "0.1"}),
        ("learningrate0.1", {"lr": "0.1"}),
        ("1.3B_lr2e-4.ckpt", {"lr": "2e-4", "params": "1.3B", "rest": "ckpt"}),
        ("7b/lr=1E-5/last", {"lr": "1E-5", "params": "7b", "rest": "last"}),
        ("lr=1e-3,bs=32k", {"lr": "1e-3", "batch_size": "32k"}),
        ("lr=-0.5", {"lr": "-0.5"}),
        ("lr1e-3_lr2e-3", {"lr": "1e-3"}),
        ("ünïcode-lr1e-3-世界", {"lr": "1e-3", "rest": "ünïcode-世界"}),
        ("", {}),
        ("---", {}),
    ],
)
def test_parts__name_as_people_write_it__gives_its_settings(name, found):
    assert read(name) == found


@pytest.mark.parametrize(
    "name",
    [
        "gpt2",
        "gpt-2-xl",
        "llama3",
        "fp16",
        "bf16-h100",
        "v3",
        "run12",
        "exp-7",
        "resnet50",
        "wikitext103",
        "t5",
        "color3",
        "alr3",
        "obs64",
        "bless2",
        "lr",
        "lr-warm",
        "steps",
        "2026-11-28",
        "20261128_153000",
        "dainty-sun-42",
        "absurd256",
        "mp3",
        "sha256",
        "layernorm",
        "seedling",
    ],
)
def test_parts__words_that_merely_look_like_settings__are_none(name):
    assert read(name).keys() <= {"rest"}


def numbers():
    """A number with several ways to write it."""
    plain = st.integers(0, 10**6).map(str)
    point = st.decimals(0, 100, places=3, allow_nan=False).map(
        lambda d: f"{d.normalize():f}"
    )
    power = st.builds("{}e{}".format, st.integers(1, 9), st.integers(-9, 9))
    thousand = st.integers(1, 999).map("{}k".format)
    return st.one_of(plain, point, power, thousand)


@st.composite
def named_settings(draw):
    """Settings, and a name that is composed of them."""
    keys = draw(
        st.lists(
            st.sampled_from(["lr", "batch_size", "weight_decay", "steps"]),
            min_size=1,
            unique=True,
        )
    )
    mark = draw(st.sampled_from(["", "=", "-", "_", ":"]))
    gap = draw(st.sampled_from(["_", "-", ",", "__", "/", "; "]))
    settings = {}
    parts = []
    for key in keys:
        word = draw(st.sampled_from(WORDS[key]))
        word = draw(st.sampled_from([word, word.upper(), word.title()]))
        settings[key] = draw(numbers())
        parts.append(f"{word}{mark}{settings[key]}")
    return settings, gap.join(parts)


@given(named_settings())
def test_parts__composed_of_settings__gives_them_back(composed):
    settings, name = composed
    found = read(name)
    assert found.keys() == settings.keys()
    for key, text in settings.items():
        assert parse_number(found[key]) == parse_number(text)


@given(
    named_settings(), st.sampled_from(["gpt", "llama", "baseline", "ablation"])
)
def test_parts__word_before_the_settings__is_what_is_left(composed, word):
    name = composed[1]
    assert read(f"{word}-{name}") == read(name) | {"rest": word}


@given(st.text(max_size=60))
def test_parts__any_text__only_gives_what_stands_in_it(name):
    for key, value in read(name).items():
        if key != "rest":
            assert value in name or value.replace(".", "p") in name.lower()


@given(st.text(string.ascii_letters, max_size=30))
def test_parts__letters_alone__are_no_setting(name):
    assert read(name).keys() <= {"rest"}


def test_parts__no_words__read_nothing():
    assert parts_reader({})("lr3e-4") == {}
    assert parts_reader({"what": (REST,)})("lr3e-4") == {"what": "lr3e-4"}


def test_parts_reader__word_that_ends_in_a_digit__needs_a_gap_before_it():
    """`b2` stands in many a key and hash, with the number of the run behind it."""
    read = parts_reader({"beta2": ["beta2", "b2"], "lr": ["lr"]})
    assert read("sk-a1B2a1B2-17") == {}
    assert read("lr0.1_b2-0.95") == {"lr": "0.1", "beta2": "0.95"}
    assert read("b20.95") == {"beta2": "0.95"}
