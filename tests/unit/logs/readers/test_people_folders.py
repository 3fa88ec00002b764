"""Folders, documents and exports as people keep them: the settings and results that
stand in them.
"""

import json

import pytest

from autollm.logs.proposals import propose
from tests.unit.logs.proposals.tables import codes, knobs, sweep
from tests.unit.logs.raw_logs import write

CARD = """# out
- Loss: 1.2

### Training hyperparameters

The following hyperparameters were used during training:
- learning_rate: {lr}
- train_batch_size: 16

### Training results

| Training Loss | Epoch | Validation Loss |
|:-------------:|:-----:|:---------------:|
| 2.1           | 1.0   | 1.2             |
"""


def state(loss, rate):
    """A Trainer's state of one evaluation."""
    rows = [
        {"step": 10, "loss": loss + 0.1, "learning_rate": rate * 0.9},
        {"step": 10, "eval_loss": loss},
    ]
    told = {"global_step": 10, "max_steps": 10, "train_batch_size": 8}
    return json.dumps({**told, "log_history": rows}).encode()


def settings(found):
    """Knobs of a proposal by column."""
    return {knob.column for knob in found.mapping.knobs}


def test_propose__trainer_folders_with_cards__their_hyperparameters_are_read(
    tmp_path,
):
    for number, rate in enumerate((1e-5, 2e-5, 4e-5)):
        folder = tmp_path / f"out{number}"
        write(folder, "trainer_state.json", state(1 + number / 8, rate))
        write(folder, "README.md", CARD.format(lr=rate).encode())
    found = propose(tmp_path)
    assert found.format == "trainer-state" and settings(found) == {
        "args.learning_rate"
    }
    assert found.summary.best["configuration"] == {"args_learning_rate": 1e-5}


def test_propose__trainer_folders__any_arguments_file_is_read(tmp_path):
    for number, beta in enumerate((0.01, 0.04, 0.16)):
        folder = tmp_path / f"out{number}"
        write(folder, "trainer_state.json", state(1 + number / 8, 1e-5))
        write(
            folder, "args.yaml", f"beta: {beta}\nlearning_rate: 1e-5".encode()
        )
    assert settings(propose(tmp_path)) == {"args.beta"}


def test_propose__trainer_folders__names_say_more_than_a_constant(tmp_path):
    for number, batch in enumerate((16, 32, 64)):
        folder = tmp_path / f"bert-lr1e-05-bs{batch}"
        write(folder, "trainer_state.json", state(1 + number / 8, 1e-5))
    assert settings(propose(tmp_path)) == {"batch_size"}


def test_propose__results_of_the_trainers_scripts__are_runs(tmp_path):
    for number, rank in enumerate((8, 16, 32)):
        folder = tmp_path / f"lora{number}"
        results = {"eval_loss": 1 + number / 8, "eval_runtime": 3.1 + number}
        write(folder, "all_results.json", json.dumps(results).encode())
        config = json.dumps({"peft_type": "LORA", "r": rank}).encode()
        write(folder, "adapter_config.json", config)
    found = propose(tmp_path)
    assert found.n_land == 3 and settings(found) == {"config.r"}
    assert found.mapping.objective.column == "metrics.eval_loss"


def test_propose__lm_eval_results__only_what_was_measured(tmp_path):
    for number, rate in enumerate((1e-4, 2e-4, 4e-4)):
        folder = tmp_path / f"model{number}"
        task = {"acc,none": 0.6 - number / 16, "acc_stderr,none": 0.01}
        told = {"results": {"arc_easy": task}, "n-shot": {"arc_easy": number}}
        name = "results_2024-05-01T10-11-12.123456.json"
        write(folder, name, json.dumps(told).encode())
        write(folder, "config.json", json.dumps({"lr": rate}).encode())
    found = propose(tmp_path)
    assert settings(found) == {"config.lr"}
    objective = found.mapping.objective
    assert (objective.column, objective.direction) == (
        "metrics.arc_easy.acc,none",
        "max",
    )


def test_propose__curve_and_configuration_in_subfolders__one_run(tmp_path):
    for number, rate in enumerate((1e-4, 2e-4, 4e-4)):
        folder = tmp_path / f"exp-{number}"
        lines = ["step,val_loss"]
        for step in (1, 2, 3):
            lines.append(f"{step},{4 - step / 2 + number / 8}")
        curve = "\n".join(lines).encode()
        write(folder / "logs/csv/version_0", "metrics.csv", curve)
        config = f"optimizer:\n  lr: {rate}\n".encode()
        write(folder / "final", "hyperparameters.yaml", config)
    found = propose(tmp_path)
    assert settings(found) == {"config.optimizer.lr"}
    assert found.summary.best["run"].endswith("/exp-0")


def test_propose__hydra_jobs_with_text_logs_alone__have_histories(tmp_path):
    for number, rate in enumerate((1e-4, 2e-4, 4e-4)):
        folder = tmp_path / "multirun" / str(number)
        write(folder / ".hydra", "config.yaml", f"lr: {rate}".encode())
        lines = []
        for step in (1, 2, 3):
            loss = 4 - step / 2 + number / 8
            lines.append(
                f"[2024-02-03 10:11:1{step},123][__main__][INFO] - step {step} "
                f"train_loss {loss} val_loss {loss}"
            )
        write(folder, "train.log", "\n".join(lines).encode())
    found = propose(tmp_path / "multirun")
    assert found.format == "hydra" and settings(found) == {"config.lr"}
    assert found.summary.best["value"] == 2.5


def yaml_list(rows):
    return "\n".join("- " + json.dumps(row) for row in rows)


def yaml_runs(rows):
    lines = ["runs:"]
    for row in rows:
        lines.append(f"  {row['run']}:")
        lines += [f"    {k}: {v}" for k, v in row.items() if k != "run"]
    return "\n".join(lines)


def split_json(rows):
    cells = [list(row.values()) for row in rows]
    return json.dumps({"columns": list(rows[0]), "index": [], "data": cells})


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("runs.yaml", yaml_list),
        ("runs.yml", yaml_runs),
        ("frame.json", split_json),
    ],
)
def test_propose__document_of_runs__is_the_sweep(tmp_path, name, made):
    found = propose(write(tmp_path, name, made(sweep()).encode()))
    assert found.n_land == 27 and set(knobs(found)) == {"lr", "batch_size"}
    assert {f.name for f in found.mapping.fidelity} == {"params", "tokens"}


def test_propose__values_in_envelopes__by_the_name_of_what_is_wrapped(tmp_path):
    lines = []
    for row in sweep():
        config = {"_wandb": {"value": {"cli_version": "0.17"}}}
        for name in ("params", "tokens", "lr", "batch_size"):
            config[name] = {"value": row[name], "desc": None}
        summary = {"val_loss": row["val_loss"]}
        told = {"id": row["run"], "config": config, "summary": summary}
        lines.append(json.dumps(told))
    path = write(tmp_path, "runs.jsonl", "\n".join(lines).encode())
    found = propose(path)
    assert settings(found) == {"config.lr", "config.batch_size"}
    assert {f.name for f in found.mapping.fidelity} == {"params", "tokens"}
    assert "no-fidelity" not in codes(found)


def test_propose__title_above_a_sheet__is_none_of_it(tmp_path):
    lines = ["Sweep results (May 2024),,,", ",,,", "lr,bs,loss,"]
    lines += [f"{r['lr']},{r['batch_size']},{r['val_loss']}," for r in sweep()]
    found = propose(write(tmp_path, "sheet.csv", "\n".join(lines).encode()))
    assert found.n_land == 27 and set(knobs(found)) == {"lr", "bs"}


@pytest.mark.parametrize("mark", ["{}*", "**{}**", "{}†", "`{}`"])
def test_propose__mark_on_the_best__is_no_part_of_the_number(tmp_path, mark):
    rows = sweep()
    best = min(rows, key=lambda row: row["val_loss"])
    lines = ["lr,batch_size,params,tokens,val_loss"]
    for row in rows:
        cells = [row[n] for n in lines[0].split(",")]
        if row is best:
            cells[-1] = mark.format(cells[-1])
        lines.append(",".join(map(str, cells)))
    found = propose(write(tmp_path, "t.csv", "\n".join(lines).encode()))
    assert found.n_land == 27
    assert found.summary.best["value"] == best["val_loss"]


def test_propose__sizes_that_are_only_named__are_no_parameters(tmp_path):
    lines = ["model,lr,val_loss"]
    for row in sweep():
        word = {50: "tiny", 125: "small", 350: "base"}[row["params"] // 10**6]
        lines.append(f"{word},{row['lr']},{row['val_loss']}")
    found = propose(write(tmp_path, "t.csv", "\n".join(lines).encode()))
    assert [f.name for f in found.mapping.fidelity] == ["size_rank"]
    assert "size-words" in codes(found)


def test_propose__sizes_of_published_models__are_their_parameters(tmp_path):
    names = ("GPT-2 small", "GPT-2 medium", "gpt2-large")
    lines = ["model,lr,val_loss"]
    for row in sweep():
        word = names[[50, 125, 350].index(row["params"] // 10**6)]
        lines.append(f"{word},{row['lr']},{row['val_loss']}")
    found = propose(write(tmp_path, "t.csv", "\n".join(lines).encode()))
    sizes = [level["fidelity"]["params"] for level in found.summary.ladder]
    assert sizes == [124e6, 355e6, 774e6]


@pytest.mark.parametrize(
    "place", ["sweep/{}/result.json", "results/{}.json", "runs/{}/out.yaml"]
)
def test_propose__one_document_a_run__is_the_sweep(tmp_path, place):
    for number, row in enumerate(sweep()):
        config = {k: row[k] for k in ("params", "tokens", "lr", "batch_size")}
        told = {"config": config, "final": {"val_loss": row["val_loss"]}}
        write(tmp_path, place.format(number), json.dumps(told).encode())
    found = propose(tmp_path)
    assert found.n_land == 27
    assert settings(found) == {"config.lr", "config.batch_size"}
    assert {f.name for f in found.mapping.fidelity} == {"params", "tokens"}


def test_propose__configuration_and_results_in_yaml__are_runs(tmp_path):
    for number, rate in enumerate((1e-4, 2e-4, 4e-4)):
        write(tmp_path, f"{number}/config.yaml", f"lr: {rate}".encode())
        loss = f"val_loss: {3 + number / 8}".encode()
        write(tmp_path, f"{number}/results.yaml", loss)
    found = propose(tmp_path)
    assert found.n_land == 3 and settings(found) == {"config.lr"}


def test_propose__events_in_json_lines__are_histories_of_their_settings(
    tmp_path,
):
    for number, rate in enumerate((1e-4, 2e-4, 4e-4)):
        lines = [{"event": "config", "lr": rate, "layers": 8}]
        for step in (10, 20, 30):
            loss = 4 - step / 20 + number / 8
            lines.append({"event": "train", "step": step, "loss": loss})
            lines.append({"event": "eval", "step": step, "loss": loss + 0.5})
        text = "\n".join(map(json.dumps, lines)).encode()
        write(tmp_path, f"run{number}.jsonl", text)
    found = propose(tmp_path)
    assert found.n_land == 3 and settings(found) == {"config.lr"}
    assert found.mapping.objective.column == "metrics.eval/loss"
    assert found.summary.best["value"] == 3.0


@pytest.mark.parametrize(
    ("names", "outcome"),
    [
        (("seed 1", "seed 2", "seed 3"), "val_loss"),
        (("val_loss_seed0", "val_loss_seed1", "val_loss_seed2"), "val_loss"),
        (("loss (run 1)", "loss (run 2)", "loss (run 3)"), "loss"),
    ],
)
def test_propose__repeats_as_columns__are_rows(tmp_path, names, outcome):
    lines = [",".join(["lr", "batch_size", "params", "tokens", *names])]
    for row in sweep():
        cells = [row[n] for n in ("lr", "batch_size", "params", "tokens")]
        cells += [round(row["val_loss"] + s / 100, 4) for s in range(3)]
        lines.append(",".join(map(str, cells)))
    path = write(tmp_path, "val_loss.csv", "\n".join(lines).encode())
    found = propose(path)
    assert found.n_land == 81 and set(knobs(found)) == {"lr", "batch_size"}
    assert found.mapping.objective.name == outcome


def test_propose__several_seeds_of_a_run__are_no_repeats(tmp_path):
    lines = ["run,lr,data seed,init seed,val_loss"]
    for number, row in enumerate(sweep()):
        cells = (row["run"], row["lr"], number, number + 7, row["val_loss"])
        lines.append(",".join(map(str, cells)))
    found = propose(write(tmp_path, "t.csv", "\n".join(lines).encode()))
    assert found.n_land == 27 and set(knobs(found)) == {"lr"}


def test_propose__sheet_of_western_europe__is_read(tmp_path):
    lines = ["Modell;Größe;Lernrate;val_loss"]
    for row in sweep():
        cells = (row["run"], row["params"], row["lr"], row["val_loss"])
        lines.append(";".join(map(str, cells)).replace(".", ","))
    data = "\n".join(lines).encode("cp1252")
    found = propose(write(tmp_path, "t.csv", data))
    assert found.n_land == 27 and set(knobs(found)) == {"lernrate"}
    assert found.summary.ladder[-1]["fidelity"] == {"params": 350e6}
