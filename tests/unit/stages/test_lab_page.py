"""The page of a lab family, on made-up logs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from autollm.core.records import RunEnd, RunHeader
from autollm.lab.families.data_mixture import DATA_MIXTURE, TARGETS, mixtures
from autollm.lab.families.pretraining import PRETRAINING
from autollm.lab.spec import Run
from autollm.stages.lab_page import describe, landscapes, render
from tests.unit.evaluation.test_report import Tags

NAMES = [
    m.name
    for m in (DATA_MIXTURE.objective, *DATA_MIXTURE.secondary)
    if m.direction
]


def run(family, level, i, seed, config, final):
    head = RunHeader(
        run_id=Run(family.name, family.level(level), config, seed).run_id,
        source="s",
        family=family.name,
        config=config,
        fidelity={"params": 10.0},
        seed=seed,
    )
    return [
        head,
        RunEnd(
            "finished",
            final,
            {"flops": family.flops(family.level(level)), "device_hours": 0.001},
        ),
    ]


@pytest.fixture(scope="module")
def mixed():
    """Twelve mixtures at a1 and d1, two seeds each; a1 orders the objective as d1 does,
    and `broad_loss` the other way round.
    """
    rng, runs = np.random.default_rng(0), {}
    for level, sign in (("a1", 1), ("d1", -1)):
        for i, mixture in enumerate(mixtures(12)):
            for seed in (0, 1):
                final = dict.fromkeys(
                    NAMES, 3.0 + 0.1 * i + 0.01 * rng.normal() + seed
                ) | {"broad_loss": 3.0 + 0.1 * sign * i}
                records = run(
                    DATA_MIXTURE, level, i, seed, {"mixture": mixture}, final
                )
                runs[records[0].run_id] = records
    return runs


def test_describe__two_levels__says_ladder_correlations_and_noise(
    mixed,
) -> None:
    about = describe(DATA_MIXTURE, mixed)
    assert [
        (s["level"], s["split"], s["n_cells"], s["n_runs"])
        for s in about["levels"]
    ] == [("a1", "train", 12, 24), ("d1", "test", 12, 24)]
    assert (
        about["correlations"]["a1"]["d1"]
        == about["correlations"]["d1"]["a1"]
        == [pytest.approx(1.0), 12]
    )
    by_name = {o["name"]: o for o in about["objectives"]}
    assert (
        set(by_name) == set(NAMES) >= {f"{target}_loss" for target in TARGETS}
    )
    assert by_name["broad_loss"]["correlations"] == {
        "a1": pytest.approx(-1.0)
    } and by_name["writer_loss"]["correlations"] == {"a1": pytest.approx(1.0)}
    assert (
        0 < by_name["writer_loss"]["noise_share"] < 0.1
        and about["most_expensive"] == "d1"
    )
    assert by_name["broad_loss"]["shown"] != by_name["writer_loss"]["shown"]
    json.dumps(about, allow_nan=False)


def test_landscapes__replicas__are_averaged_and_the_test_level_is_held_out(
    mixed,
) -> None:
    cheap, expensive = landscapes(DATA_MIXTURE, mixed)
    assert cheap.points.shape == (12, 6) and (
        cheap.held_out,
        expensive.held_out,
    ) == (
        False,
        True,
    )
    assert sorted(cheap.losses) == pytest.approx(
        3.5 + 0.1 * np.arange(12), abs=0.05
    )


def test_render__mixtures__page_is_whole_and_loads_nothing(mixed) -> None:
    page = render(DATA_MIXTURE, mixed)
    assert (
        {"script", "link", "img"}.isdisjoint(Tags(page).seen)
        and Tags(page).seen.count("svg") == 2
        and page == render(DATA_MIXTURE, mixed)
    )
    for text in (
        "autollm lab page data_mixture",
        "writer_loss",
        "tutor_loss",
        "arithmetic=",
        "d1, 2.6e11 FLOPs, held out",
    ):
        assert text in page, text


def test_render__one_level_without_a_second_seed__says_what_is_not_known() -> (
    None
):
    records = [
        run(PRETRAINING, "a1", i, 0, c, {"val_loss": 4.0 + 0.1 * i})
        for i, c in enumerate(PRETRAINING.design(PRETRAINING.level("a1"))[:20])
    ]
    runs = {r[0].run_id: r for r in records}
    page, about = render(PRETRAINING, runs), describe(PRETRAINING, runs)
    assert (
        about["levels"][0]["noise_share"] is None
        and about["levels"][0]["edges"]
        and "on the window" in page
    )
    assert about["correlations"] == {} and Tags(page).seen.count("svg") == 2
