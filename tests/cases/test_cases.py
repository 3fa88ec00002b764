"""Logs of other people, each a whole kind of fault, read in place through the real
commands: what `sources inspect` proposes, what lands, and what is published.

The folder lies beside the public tables (`$AUTOLLM_DATA_DIR/../cases`) and is no part of
the project; without it these tests are skipped. Inputs of our own of the same kinds are
in tests/unit/logs/proposals.
"""

from __future__ import annotations

import csv
import json
import os
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from autollm.cli.main import app
from autollm.core.mappings.mapping import Mapping, parse_mapping
from autollm.logs.lake.bronze import Bronze
from autollm.logs.proposals.names import direction_of

LOWEST_AUTORESEARCH = 0.896775
COLUMNS = ("run_id", "status", "objective_value", "config_json", "fidelity_json", "is_outcome")  # fmt: skip


def case(*parts: str) -> Path:
    """A file of a case; skips the test where it is not there."""
    root = os.environ.get("AUTOLLM_DATA_DIR")
    if not root:
        pytest.skip(
            "AUTOLLM_DATA_DIR is unset: the cases lie beside its folder"
        )
    path = Path(root).parent.joinpath("cases", *parts)
    if not path.exists():
        pytest.skip(f"no {'/'.join(parts)} beside the public tables")
    return path


def run(*arguments: Any, exit_code: int = 0) -> Any:
    """One command, in this process."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == exit_code, (result.output, result.exception)
    return result


class Home:
    """A home, and what is done with it."""

    def __init__(self, folder: Path):
        self.folder = folder

    def inspect(
        self, path: Path, *options: str
    ) -> tuple[Mapping, dict[str, Any]]:
        """The proposed mapping, and the proposal as JSON."""
        found = json.loads(
            run(
                "sources",
                "inspect",
                path,
                "--json",
                "--home",
                self.folder,
                *options,
            ).stdout
        )
        return parse_mapping(found["toml"], path.name), found

    def land(self, path: Path, *options: str) -> list[dict[str, Any]]:
        """The runs that land with the proposed mapping."""
        mapping = self.folder / "proposed.toml"
        text = run(
            "sources", "inspect", path, "--home", self.folder, *options
        ).stdout
        mapping.parent.mkdir(parents=True, exist_ok=True)
        mapping.write_text(text, encoding="utf-8")
        return self.land_as(path, mapping)

    def land_as(self, path: Path, mapping: Path) -> list[dict[str, Any]]:
        """The runs that land with a mapping."""
        run("ingest", path, "--as", mapping, "--home", self.folder)
        return self.runs()

    def runs(self) -> list[dict[str, Any]]:
        """All runs that have landed."""
        rows = []
        for batch in Bronze(str(self.folder)).scan("runs", list(COLUMNS)):
            rows += batch.to_pylist()
        return rows


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path / "home")


def knobs(mapping: Mapping) -> set[str]:
    return {knob.column for knob in mapping.knobs}


def best(rows: list[dict[str, Any]]) -> float:
    return min(r["objective_value"] for r in rows if r["is_outcome"])


CURVES = ["lightning_metrics.csv", "result.jsonl", "wandb_chart.csv", "run-exp1-tag-eval_loss.csv", "learning_stats.csv"]  # fmt: skip


@pytest.mark.parametrize("name", CURVES)
def test_inspect__curve_of_one_run__is_called_one_and_has_no_knobs(name, home):
    result = run(
        "sources",
        "inspect",
        case("curve-of-one-run", name),
        "--home",
        home.folder,
    )
    assert "learning curve" in result.stderr
    chosen = tomllib.loads(result.stdout)["knobs"]
    assert {knob["column"] for knob in chosen} <= {"recipe", "run"}
    if name == "learning_stats.csv":
        assert "line 12 is a second header" in result.stderr


def test_cases__empty_cell_is_a_value__every_row_lands(home):
    path = case("empty-cell-is-a-value", "runs_ppl.csv")
    mapping, _ = home.inspect(path)
    by_column = {knob.column: knob for knob in mapping.knobs}
    assert by_column["dedup_type"].missing == "none"
    assert by_column["p_dup"].when.knob == "frac_duplicated"
    assert len(home.land(path)) == 113
    cond = case("empty-cell-is-a-value", "sweep_cond.csv")
    mapping, _ = home.inspect(cond)
    by_name = {knob.name: knob for knob in mapping.knobs}
    assert set(by_name["momentum"].when.values) == {"sgd", "muon"}
    assert (
        by_name["grad_clip"].values == ("none", 1)
        and by_name["scheduler"].missing == "none"
    )
    rows = [r for r in home.land(cond) if "optimizer" in r["config_json"]]
    counted = Counter(json.loads(r["config_json"])["optimizer"] for r in rows)
    assert counted == {"adamw": 36, "sgd": 36, "muon": 36}


def test_cases__failed_runs__never_land_as_the_best(home, tmp_path):
    path = case("failed-runs-land-as-best", "sweep_states.csv")
    mapping, _ = home.inspect(path)
    assert knobs(mapping) == {"optimizer.lr", "batch_size"}
    rows = home.land(path)
    assert (
        len(rows) == 60 and sum(r["status"] != "finished" for r in rows) == 12
    )
    assert best(rows) == pytest.approx(2.92, abs=0.005)
    other = Home(tmp_path / "other")
    path = case("failed-runs-land-as-best", "autoresearch.csv")
    mapping, _ = other.inspect(path)
    assert (
        not knobs(mapping) & {"status", "num_steps"}
        and mapping.state.column == "status"
    )
    assert best(other.land(path)) == LOWEST_AUTORESEARCH


@pytest.mark.parametrize("name", ["exp[v2]", "bob's runs"])
def test_cases__home_path__any_folder_can_be_the_home(name, tmp_path):
    home = Home(tmp_path / name)
    rows = home.land_as(
        case("home-path", "odd.csv"), case("home-path", "odd.toml")
    )
    assert len(rows) == 60
    config = json.loads(rows[0]["config_json"])
    assert set(config) == {"optimizer.lr (peak)", "β2 / top%"}


def test_cases__ingested_before_its_mapping__lands_once_there_is_one(home):
    path = case("ingested-before-its-mapping", "sweep_log.jsonl")
    first = CliRunner().invoke(
        app, ["ingest", str(path), "--home", str(home.folder)]
    )
    assert "autollm sources inspect" in first.output
    mapping = home.folder / "m.toml"
    mapping.write_text(
        run("sources", "inspect", path, "--home", home.folder).stdout
    )
    run("sources", "add", mapping, "--home", home.folder)
    run("ingest", path, "--home", home.folder)
    assert len(home.runs()) == 5


def test_cases__label_and_derived_columns__are_no_knobs(home):
    path = case("label-and-derived-columns", "wandb_ofat.csv")
    mapping, found = home.inspect(path)
    assert "block_size" in knobs(mapping) and not knobs(mapping) & {"Name", "run_name", "n_params"}  # fmt: skip
    assert found["summary"]["n_experiments"] == 1
    rows = home.land(path)
    assert len(rows) == 32 and len({r["fidelity_json"] for r in rows}) == 1
    mapping, _ = home.inspect(case("label-and-derived-columns", "lora_vqa.csv"))
    assert (
        knobs(mapping) == {"r", "lora_alpha"}
        and mapping.objective.direction == "max"
    )


def test_cases__line_break_in_a_cell__all_runs_land(home):
    assert len(home.land(case("line-break-in-a-cell", "sweep_notes.csv"))) == 60


LOCALES = ["sweep_comment.csv", "sweep_percent.csv", "sweep_quoted_comma.csv", "sweep_semicolon.csv", "sweep_sepline.csv"]  # fmt: skip


@pytest.mark.parametrize("name", LOCALES)
def test_cases__locale_and_preamble__is_read(name, home):
    path = case("locale-and-preamble", name)
    mapping, found = home.inspect(path)
    rows = home.land(path)
    assert len(rows) == 60 and all(r["is_outcome"] for r in rows)
    assert {q.column for q in mapping.fidelity} == {"params", "tokens"}
    values = [r["objective_value"] for r in rows]
    if "percent" in name:
        assert (
            min(values) == pytest.approx(0.2419)
            and mapping.objective.direction == "max"
        )
        assert found["summary"]["knobs"]["dropout"] == [0.0, 0.05, 0.1]
    else:
        assert (min(values), max(values)) == (2.9186, 4.2581)


def test_cases__logs_of_other_frameworks__are_read_or_named(home, tmp_path):
    folder = case("logs-of-other-frameworks")
    rows = home.land(folder / "project.csv")
    assert Counter(r["status"] for r in rows) == {"finished": 3, "diverged": 1}
    assert {json.loads(r["fidelity_json"])["params"] for r in rows} == {
        5e7,
        1.24e8,
    }
    for name in ("result.json", "trainer_state.json"):
        result = run("sources", "inspect", folder / name, "--home", home.folder)
        assert "learning curve" in result.stderr
    result = CliRunner().invoke(
        app, ["sources", "inspect", str(folder / "progress.csv")]
    )
    assert result.exit_code == 1 and "no header" in str(result.output) + str(
        result.exception
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "expect.md").write_text("nothing", encoding="utf-8")
    ignored = CliRunner().invoke(
        app, ["ingest", str(empty), "--home", str(home.folder)]
    )
    assert ignored.exit_code == 1


def test_cases__measured_numbers__are_no_knobs(home):
    mapping, _ = home.inspect(case("measured-number-as-knob", "heads.csv"))
    assert knobs(mapping) <= {"n_heads", "head_dim"}
    mapping, _ = home.inspect(case("measured-number-as-knob", "six_runs.csv"))
    assert knobs(mapping) == {"lr", "bs"}


def test_cases__metric_direction__is_by_name_for_any_range(home, tmp_path):
    names = list(
        csv.DictReader(
            case("metric-direction", "names.csv").open(encoding="utf-8")
        )
    )
    assert {r["name"]: direction_of(r["name"]) for r in names} == {
        r["name"]: r["direction"] for r in names
    }
    for row in names:
        for low, high in ((0.1, 0.9), (2.0, 3.0), (20.0, 90.0)):
            path = tmp_path / "sweep.csv"
            lines = [f"run,params,lr,{row['name']}"]
            for i in range(12):
                value = low + (high - low) * (7 * i % 12) / 12
                lines.append(
                    f"r{i},{10 ** (6 + i % 2)},{10.0 ** -(2 + i // 2 % 3)},{value:.4f}"
                )
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
            mapping, _ = home.inspect(path)
            objective = mapping.objective
            assert (objective.column, objective.direction) == (
                row["name"],
                row["direction"],
            )
    mapping, _ = home.inspect(case("metric-direction", "autoresearch.csv"))
    assert (mapping.objective.column, mapping.objective.direction) == (
        "val_bpb",
        "min",
    )
    mapping, _ = home.inspect(case("metric-direction", "sweep_f1.csv"))
    assert (mapping.objective.column, mapping.objective.direction) == (
        "eval_f1",
        "max",
    )


def test_cases__mlflow_ui_export__is_named_by_run_id(home):
    path = case("mlflow-ui-export", "mlflow_ui.csv")
    mapping, _ = home.inspect(path)
    assert mapping.run_key.columns == ("Run ID",) and mapping.lookup == ()
    by_column = {knob.column: knob for knob in mapping.knobs}
    assert set(by_column) == {
        "model",
        "learning_rate",
        "max_depth",
        "n_estimators",
    }
    assert by_column["learning_rate"].when.values == (
        "GradientBoostingRegressor",
    )
    assert by_column["max_depth"].when.values == ("RandomForestRegressor",)
    assert len(home.land(path)) == 6


def test_cases__outcome_column_not_found__is_optunas_and_asks_its_direction(
    home,
):
    path = case("outcome-column-not-found", "optuna_trials.csv")
    result = run("sources", "inspect", path, "--home", home.folder)
    assert (
        "question:" in result.stderr
        and "# direction =  # CORRECT THIS" in result.stdout
    )
    mapping, _ = home.inspect(path, "--objective", "value:min")
    assert mapping.run_key.columns == ("number",) and mapping.secondary == ()
    assert knobs(mapping) == {
        "params_learning_rate",
        "params_model_name",
        "params_weight_decay",
    }
    assert len(home.land(path, "--objective", "value:min")) == 40


def test_cases__prefixed_columns__have_the_roles_of_plain_ones(home):
    path = case("prefixed-columns", "wandb_api.csv")
    mapping, _ = home.inspect(path)
    assert {q.name: q.column for q in mapping.fidelity} == {
        "params": "config.n_params",
        "tokens": "config.train_tokens",
    }
    assert mapping.replica.column == "config.seed"
    assert knobs(mapping) == {"config.lr", "config.batch_size"}
    assert mapping.cost.flops.text == "6 * params * tokens"
    assert len(home.land(path)) == 120


def test_cases__seed_of_64_bits__lands(home):
    assert len(home.land(case("seed-of-64-bits", "sweep_seed.csv"))) == 40


def test_cases__size_as_text_and_number__numbers_win_and_no_knob_varies(home):
    path = case("size-as-text-and-number", "scaling_small.csv")
    result = run("sources", "inspect", path, "--home", home.folder)
    assert (
        "no knob varies" in result.stderr
        and 'column = "recipe"' in result.stdout
    )
    assert (
        'column = "n_params"' in result.stdout
        and 'column = "train_tokens"' in result.stdout
    )
    assert 'flops = "6 * params * tokens"' in result.stdout
    assert (
        "[[lookup]]" not in result.stdout
        and "model_size" not in result.stdout.split("# left")[0]
    )


def test_cases__status_column__is_read_in_any_words(home):
    rows = home.land(case("status-column", "nanogpt_sweep.csv"))
    assert Counter(r["status"] for r in rows) == {"finished": 18}
    folder = case("status-column")
    rows = home.land_as(folder / "statuses.csv", folder / "statuses.toml")
    statuses = {r["run_id"]: r["status"] for r in rows if len(r["run_id"]) == 1}
    assert statuses == {
        "a": "diverged",
        "b": "failed",
        "c": "diverged",
        "d": "finished",
        "e": "diverged",
    }


def test_cases__tab_separated__is_read_under_any_name(home, tmp_path):
    rows = home.land(case("tab-separated", "results.tsv"))
    assert best(rows) == LOWEST_AUTORESEARCH
    assert (
        len(Home(tmp_path / "tab").land(case("tab-separated", "sweep_tab.csv")))
        == 60
    )


@pytest.mark.parametrize("name", ["sweep_units.csv", "sweep_thousands.csv"])
def test_cases__units_in_cells__are_numbers(name, home):
    path = case("units-in-cells", name)
    mapping, found = home.inspect(path)
    assert (
        mapping.cost.flops.text == "6 * params * tokens"
        and mapping.lookup == ()
    )
    (batch,) = [knob for knob in mapping.knobs if knob.name == "batch_tokens"]
    assert (
        batch.scale == "log"
        and len(found["summary"]["knobs"]["batch_tokens"]) == 4
    )
    rows = home.land(path)
    sizes = {json.loads(r["fidelity_json"])["params"] for r in rows}
    assert len(rows) == 60 and sizes == {5e7, 1.25e8, 3.5e8}
