"""The public tables through their built-in mappings: every trap that they hold."""

import csv
import json
import math
import shutil

import pyarrow.parquet as pq
import pytest

from autollm.logs.choosing.catalog import builtin_mappings
from autollm.logs.landing import ingest
from tests.public_tables import public_table
from tests.unit.logs.landed import land_bytes

pytestmark = pytest.mark.data


def runs_of(path) -> list[dict]:
    """Rows of a table that stands alone, by its built-in mapping; none may be set
    aside.
    """
    found = land_bytes(path.name, path.read_bytes())
    assert not found.bad, found.bad[:3]
    for row in found.runs:
        row["source"] += f"/{row['group']}" * bool(row["group"])
    return found.runs


@pytest.fixture(scope="module")
def admire() -> list[dict]:
    return runs_of(public_table("admire", "admire_ift_runs.csv"))


def secondary(row: dict) -> dict[str, float]:
    return json.loads(row["secondary_json"])


def test_admire__averages__are_recomputed_and_row_99_is_not_the_best(admire):
    published = [
        float(r["metric_avg_id+ood"])
        for r in csv.DictReader(
            public_table("admire", "admire_ift_runs.csv").open()
        )
    ]
    gaps = [
        abs(row["objective_value"] - value)
        for row, value in zip(admire, published, strict=True)
    ]
    assert sorted(i for i, gap in enumerate(gaps) if gap > 1e-6) == [
        10,
        99,
        172,
    ]
    assert all(gaps[i] > 0.015 for i in (10, 99, 172))
    for row in admire:
        values = [
            v
            for name, v in secondary(row).items()
            if not name.startswith("avg_")
        ]
        assert len(values) == 17 and row["objective_value"] == pytest.approx(
            math.fsum(values) / 17, abs=1e-8
        )
    small = [
        i
        for i, row in enumerate(admire)
        if row["fidelity_json"] == '{"params":494033000}'
    ]
    assert len(small) == 256 and max(small, key=lambda i: published[i]) == 99
    assert max(small, key=lambda i: admire[i]["objective_value"]) != 99


def test_admire__mixtures__sum_to_one_and_nest_over_the_sizes(admire):
    by_size: dict[str, set[str]] = {}
    for row in admire:
        mixture = json.loads(row["config_json"])["mixture"]
        assert len(mixture) == 19 and sum(mixture.values()) == pytest.approx(
            1, abs=1e-5
        )
        by_size.setdefault(row["fidelity_label"], set()).add(row["config_id"])
    half, three, seven = (
        by_size[f"params={p}"] for p in ("4.94e8", "3.09e9", "7.62e9")
    )
    assert (len(half), len(three), len(seven)) == (
        256,
        128,
        76,
    ) and seven < three < half


def test_admire__train_time__in_minutes_on_8_gpus_gives_the_papers_hours(
    admire,
):
    assert sum(row["gpu_hours"] for row in admire) == pytest.approx(
        13_119, rel=0.01
    )
    assert {row["objective_direction"] for row in admire} == {"max"}


@pytest.fixture(scope="module")
def regmix(tmp_path_factory) -> tuple[dict[str, dict], object]:
    lake = tmp_path_factory.mktemp("regmix")
    report = ingest([public_table("regmix")], str(lake))
    rows = [
        row
        for path in lake.glob("bronze/batches/*/runs.parquet")
        for row in pq.read_table(path).to_pylist()
    ]
    return {row["run_id"]: row for row in rows}, report


def test_regmix__four_pairs__are_1088_runs_although_two_files_are_equal(regmix):
    rows, report = regmix
    assert (
        len(rows),
        report.n_files_new,
        report.n_lines_quarantined,
        report.warnings,
    ) == (1088, 8, 0, ())
    labels = [row["fidelity_label"] for row in rows.values()]
    assert {label: labels.count(label) for label in set(labels)} == {
        "params=1e6,tokens=1e9": 768, "params=6e7,tokens=1e9": 256, "params=1e9,tokens=2.5e10": 64}  # fmt: skip


def test_regmix__indices__join_within_a_pair_whether_they_start_at_0_or_1(
    regmix,
):
    rows, _ = regmix
    for part, first, last in (
        ("train_1m", 1, 512),
        ("test_1m", 1, 256),
        ("test_60m", 1, 256),
        ("test_1B", 0, 63),
    ):
        assert (
            f"{part}|{first}" in rows
            and f"{part}|{last}" in rows
            and f"{part}|{last + 1}" not in rows
        )
    file = public_table("regmix", "test_pile_loss_1B.csv").open()
    losses = {
        r["index"]: float(r["metric/the_pile_pile_cc_val_loss"])
        for r in csv.DictReader(file)
    }
    assert all(
        rows[f"test_1B|{index}"]["objective_value"] == loss
        for index, loss in losses.items()
    )
    same = [
        rows[f"test_1m|{i}"]["config_id"] == rows[f"test_60m|{i}"]["config_id"]
        for i in range(1, 257)
    ]
    assert all(same)
    small = {
        row["config_id"]
        for row in rows.values()
        if "params=1e9" not in row["fidelity_label"]
    }
    assert not small & {
        row["config_id"]
        for row in rows.values()
        if "params=1e9" in row["fidelity_label"]
    }


def test_regmix__every_run__has_17_weights_and_13_losses_and_their_mean(regmix):
    for row in regmix[0].values():
        mixture, losses = (
            json.loads(row["config_json"])["mixture"],
            secondary(row),
        )
        assert len(mixture) == 17 and sum(mixture.values()) == pytest.approx(
            1, abs=1e-5
        )
        single = [v for name, v in losses.items() if name != "mean"] + [
            row["objective_value"]
        ]
        assert len(single) == 13 and losses["mean"] == pytest.approx(
            math.fsum(single) / 13, rel=1e-8
        )


@pytest.fixture(scope="module")
def tinker() -> list[dict]:
    return runs_of(public_table("tinker", "tinker_sft_sweep.csv"))


def test_tinker__repeated_settings__are_replicas(tinker):
    cells: dict[tuple, list[float]] = {}
    for row in tinker:
        cells.setdefault(
            (row["source"], row["fidelity_json"], row["config_id"]), []
        ).append(row["objective_value"])
    replicated = [max(v) - min(v) for v in cells.values() if len(v) > 1]
    assert len(tinker) == len({row["run_id"] for row in tinker}) == 548
    assert (len(cells), len(replicated)) == (482, 66) and max(
        replicated
    ) == pytest.approx(0.0084)


def test_tinker__groups__are_one_tokenizer_with_one_model_a_size(tinker):
    models: dict[tuple[str, str], set[str]] = {}
    for row in tinker:
        models.setdefault((row["source"], row["fidelity_json"]), set()).add(
            json.loads(row["header_json"])["model"]
        )
    assert len(models) == 35 and all(
        len(names) == 1 for names in models.values()
    )
    makers: dict[str, set[str]] = {}
    for (source, _), (name,) in models.items():
        makers.setdefault(source, set()).add(name.split("/")[0])
    assert (
        all(len(names) == 1 for names in makers.values()) and len(makers) == 18
    )


def test_tinker__later_models__are_not_in_the_ladder_of_their_smaller_siblings(
    tinker,
):
    gaps: dict[str, list[float]] = {}
    for row in tinker:
        gaps.setdefault(row["source"], []).append(
            secondary(row)["train_nll"] - row["objective_value"]
        )
    mean = {source: sum(v) / len(v) for source, v in gaps.items()}
    assert all(
        (value < 0.02) == source.endswith("-later")
        for source, value in mean.items()
    ), mean


@pytest.fixture(scope="module")
def hwgpt(tmp_path_factory) -> dict[str, list[dict]]:
    """160 rows of each scale: the first are the homogeneous grid, every 200th of the
    others.
    """
    folder, rows = tmp_path_factory.mktemp("hwgpt"), {}
    for scale in "sml":
        table = pq.read_table(
            public_table("hwgpt", f"hwgpt_{scale}_surrogate.parquet")
        )
        chosen = list(range(110)) + list(range(162, len(table), 200))
        path = folder / f"hwgpt_{scale}_surrogate.parquet"
        pq.write_table(table.take(chosen), path)
        rows[scale] = runs_of(path)
    shutil.rmtree(folder)
    return rows


def test_hwgpt__scales__share_one_space_by_rank(hwgpt):
    assert (
        len({row["space_id"] for rows in hwgpt.values() for row in rows}) == 1
    )
    for scale, low in (("s", 10), ("m", 22), ("l", 34)):
        for row in hwgpt[scale]:
            config, raw = (
                json.loads(row["config_json"]),
                json.loads(row["header_json"]),
            )
            assert (
                len(config["heads"])
                == len(config["mlp_ratio"])
                == raw["n_layer"]
                == low + config["depth"]
            )
            assert (
                set(config["heads"]) <= {0, 1, 2}
                and set(config["mlp_ratio"]) <= {2, 3, 4}
                and config["bias"] is raw["bias"]
            )
            assert (
                raw["embed_dim"]
                == {"s": 192, "m": 256, "l": 320}[scale] * 2 ** config["width"]
            )
        assert {
            json.loads(row["config_json"])["width"] for row in hwgpt[scale]
        } == {
            0,
            1,
            2,
        }


def test_hwgpt__costs__are_the_exact_ones(hwgpt):
    for row in (r for rows in hwgpt.values() for r in rows):
        raw = json.loads(row["header_json"])
        assert row["cost_flops"] == 3.0 * raw["flops_exact"] and secondary(row)[
            "params_exact"
        ] == pytest.approx(raw["params_exact"], rel=1e-8)
        assert row["objective_name"] == "perplexity_pred" and set(
            secondary(row)
        ) == {
            "params_exact",
            "flops_exact",
        }


@pytest.mark.parametrize(
    ("metric", "bound"),
    [("params_exact", 235_023_360), ("flops_exact", 575_508_316_160)],
)
def test_hwgpt__constraints_of_the_suites__admit_the_same_rows_after_rounding(
    metric, bound
):
    """Secondary metrics keep 9 significant digits; the bounds are the medians of the
    table.
    """
    values = pq.read_table(
        public_table("hwgpt", "hwgpt_l_surrogate.parquet"), columns=[metric]
    )[metric].to_pylist()
    kept = [float(f"{value:.9g}") <= bound for value in values]
    assert (
        kept == [value <= bound for value in values] and 5080 < sum(kept) < 5090
    )  # ties at the median


def test_builtin_mappings__all__say_directions_and_no_doubt_about_them():
    from autollm.logs.source_checks import direction_doubt

    for mapping in builtin_mappings().values():
        assert not [
            d
            for q in (mapping.objective, *mapping.secondary)
            if (d := direction_doubt(q))
        ]
