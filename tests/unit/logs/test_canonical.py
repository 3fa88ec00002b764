"""Raw fields to canonical rows: rounding, derived columns, status, cost."""

import json
import math

import pytest

from autollm.core.ids import config_id
from autollm.core.mappings.mapping import KnobRule, Mapping, When
from autollm.logs.choosing.catalog import load_mapping
from tests.unit.logs.mapped_rows import map_row

STEPLAW = load_mapping("steplaw")
LAB = load_mapping("lab-pretraining")
ROW = {
    "lr": "0.0003453",
    "bs": "736",
    "N": "1073741824",
    "D": "100000000000",
    "smooth loss": "2.4",
    "loss": "2.41",
}


def changed(mapping: Mapping, **fields) -> Mapping:
    """The mapping with other sections."""
    raw = mapping.model_dump(exclude_unset=True, by_alias=True)
    kept = {name: getattr(mapping, name) for name in raw}
    return Mapping(**{**kept, **fields})


def build_run(mapping: Mapping, values: dict) -> dict:
    """The canonical row, which there must be."""
    named = (
        {"exp_name": "x"} if mapping.source == "steplaw" else {"run_id": "x"}
    )
    row = map_row(mapping, {**named, **values})
    assert "config_json" in row, row
    return row


def refusal(mapping: Mapping, values: dict) -> str:
    """Why there is no canonical row."""
    row = map_row(mapping, {"exp_name": "x", "run_id": "x", **values})
    assert "config_json" not in row, row
    return row["reason"]


def with_knob(rule: KnobRule) -> Mapping:
    return changed(STEPLAW, knobs=(rule,))


def knob_value(rule: KnobRule, raw, **others):
    values = {rule.column: raw, **others} if rule.column else others
    row = build_run(with_knob(rule), {**ROW, **values})
    return json.loads(row["config_json"])[rule.name]


def knob_refusal(rule: KnobRule, raw, **others) -> str:
    values = {rule.column: raw, **others} if rule.column else others
    return refusal(with_knob(rule), {**ROW, **values})


def test_build_run__step_law_row__is_in_tokens_and_half_octaves():
    run = build_run(STEPLAW, ROW)
    assert json.loads(run["config_json"]) == {
        "batch_tokens": 1507330,
        "learning_rate": 0.000345267,
    }
    assert json.loads(run["fidelity_json"]) == {
        "params": 1073740000,
        "tokens": 100000000000,
    }
    assert run["fidelity_label"] == "params=1.07e9,tokens=1e11"
    assert (
        run["cost_flops"] == 6.0 * 1073741824 * 100_000_000_000
    )  # beyond int64
    assert (run["status"], run["objective_value"], run["secondary_json"]) == (
        "finished",
        2.4,
        '{"raw_loss":2.41}',
    )
    assert run["config_id"] == config_id(json.loads(run["config_json"]))


def test_build_run__two_spellings_of_one_rate__are_one_configuration():
    ids = {
        build_run(STEPLAW, ROW | {"lr": lr})["config_id"]
        for lr in ("0.000345", "0.0003453")
    }
    assert len(ids) == 1


def test_build_run__rate_between_two_steps__is_refused_with_the_nearest():
    assert (
        "lr=0.0003 is 0.203 octaves from the nearest step 0.000345267"
        in refusal(STEPLAW, ROW | {"lr": "3e-4"})
    )


@pytest.mark.parametrize(
    ("loss", "status", "reason"),
    [
        ("3.5", "finished", ""),
        ("3.51", "diverged", "smooth loss above 3.5"),
        ("nan", "diverged", "smooth_loss is nan"),
        ("inf", "diverged", "smooth_loss is inf"),
        ("", "failed", "no objective 'smooth loss'"),
    ],
)
def test_build_run__objective__decides_the_status(loss, status, reason):
    run = build_run(STEPLAW, ROW | {"smooth loss": loss})
    assert (run["status"], run["status_reason"]) == (status, reason)
    assert (run["objective_value"] is None) == (loss == "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": "fast"}, "lr must be a number, got 'fast'"),
        ({"lr": "-0.1"}, "not a positive finite number"),
        ({"lr": "nan"}, "not a positive finite number"),
        ({"bs": ""}, "bs is missing or empty"),
        ({"N": "0"}, "N=0.0 is not a positive"),
        ({"D": "inf"}, "D=inf is not a positive"),
        ({"smooth loss": "2,4,1"}, "smooth loss must be a number"),
    ],
)
def test_build_run__value_that_does_not_fit__is_named(change, message):
    assert message in refusal(STEPLAW, ROW | change)


def lab_values(**changes):
    return {
        "config.learning_rate": 0.0078125, "config.batch_tokens": 512, "fidelity.params": 25_000.0,
        "fidelity.tokens": 5e5, "final.val_loss": 3.5, "cost.flops": 7.5e10, "cost.device_hours": 0.25,
        "hardware.device": "cuda", "seed": 3, "status": "finished", "status_reason": "",
    } | changes  # fmt: skip


def test_build_run__lab_run_on_a_gpu__has_gpu_hours():
    run = build_run(LAB, lab_values())
    assert (
        run["seed"],
        run["device_hours"],
        run["gpu_hours"],
        run["cost_flops"],
    ) == (
        3,
        0.25,
        0.25,
        7.5e10,
    )
    assert (
        build_run(LAB, lab_values(**{"hardware.device": "cpu"}))["gpu_hours"]
        is None
    )


def test_build_run__recorded_status__is_never_made_better():
    run = build_run(
        LAB, lab_values(status="diverged", status_reason="loss above 20")
    )
    assert (run["status"], run["status_reason"], run["objective_value"]) == (
        "diverged",
        "loss above 20",
        3.5,
    )


def test_build_run__cost_that_is_missing_or_infinite__is_null():
    values = lab_values(**{"cost.flops": math.inf})
    del values["cost.device_hours"]
    run = build_run(LAB, values)
    assert (run["cost_flops"], run["device_hours"], run["gpu_hours"]) == (
        None,
        None,
        None,
    )


@pytest.mark.parametrize("seed", ["18446744073709551616", 1.5, "x", True])
def test_build_run__seed_that_is_no_64_bit_integer__is_refused(seed):
    assert "seed must be a 64-bit integer, got" in refusal(
        LAB, lab_values(seed=seed)
    )


@pytest.mark.parametrize(
    ("seed", "kept"),
    [
        ("18446744073709551615", -1),
        (str(2**63), -(2**63)),
        ("9007199254740993", 2**53 + 1),
    ],
)
def test_build_run__seed_of_64_bits__keeps_all_of_them(seed, kept):
    assert build_run(LAB, lab_values(seed=seed))["seed"] == kept


def test_read_knob__simplex__is_renormalized_under_short_names():
    rule = KnobRule(name="mix", scale="simplex", columns=("w_*",), prefix="w_")
    weights = knob_value(rule, None, w_code="0.3333", w_web="0.6665", other="9")
    assert set(weights) == {"code", "web"} and sum(
        weights.values()
    ) == pytest.approx(1.0)
    reason = knob_refusal(rule, None, w_code="0.3", w_web="0.4")
    assert "sum to 0.7 over 2 columns" in reason


def test_read_knob__list_and_categories__keep_their_types():
    assert knob_value(
        KnobRule(name="heads", column="h", scale="list"), "4-8-12"
    ) == [
        4,
        8,
        12,
    ]
    assert (
        knob_value(
            KnobRule(
                name="bias",
                column="b",
                scale="categorical",
                values=(True, False),
            ),
            "True",
        )
        is True
    )
    assert (
        knob_value(
            KnobRule(name="rule", column="b", scale="categorical"), "cosine"
        )
        == "cosine"
    )
    rule = KnobRule(name="layers", column="l", scale="ordinal", values=(10, 11))
    assert "l='12' is none of the declared values" in knob_refusal(rule, "12")


def test_build_run__conditional_knob__is_there_only_where_it_is_chosen():
    when = When(knob="batch_tokens", values=(1507328.0,))
    rate = STEPLAW.knobs[0].model_copy(update={"when": when})
    mapping = changed(STEPLAW, knobs=(STEPLAW.knobs[1], rate))
    assert set(json.loads(build_run(mapping, ROW)["config_json"])) == {
        "batch_tokens",
        "learning_rate",
    }
    other = build_run(mapping, ROW | {"bs": "64", "lr": ""})
    assert set(json.loads(other["config_json"])) == {"batch_tokens"}


def test_read_knob__integer__is_whole():
    rule = KnobRule(name="layers", column="l", scale="integer")
    assert knob_value(rule, "12") == 12
    assert "l=12.5 is no whole number" in knob_refusal(rule, "12.5")


def test_read_knob__linear_step__rounds_in_the_knobs_own_unit():
    rule = KnobRule(
        name="warmup",
        column="w",
        scale="linear",
        unit="share",
        step=0.25,
        tolerance=0.1,
    )
    assert knob_value(rule, "0.49") == 0.5
    assert "0.12 share" in knob_refusal(rule, "0.37")


def test_build_run__fidelity_and_space__come_from_the_mapping():
    narrower = changed(LAB, knobs=LAB.knobs[:1])
    assert narrower.space_id != LAB.space_id
    assert set(
        json.loads(build_run(narrower, lab_values())["config_json"])
    ) == {"learning_rate"}
