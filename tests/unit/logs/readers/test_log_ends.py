"""How text logs say that their run ended."""

import pytest

from autollm.logs.proposals import propose
from autollm.logs.readers.rows import RelationBuilder
from autollm.logs.readers.texts.log_ends import LogEnd, add_plan_state
from tests.unit.logs.raw_logs import write


def points_of(worse):
    """Lines of nine epochs, the last with a loss of 2.5 + `worse`."""
    lines = []
    for n in range(1, 10):
        lines.append(
            f"Epoch {n}/9 | train loss {4 - n / 9} | val loss {3.5 - n / 9 + worse}"
        )
    return lines


POINTS = points_of(0)


def state_of(*lines):
    end = LogEnd()
    for line in lines:
        end.see(line, is_point="loss" in line)
    return end.state()


@pytest.mark.parametrize(
    ("last", "state"),
    [
        ("", "finished"),
        ("Traceback (most recent call last):", "failed"),
        ("torch.OutOfMemoryError: CUDA out of memory.", "failed"),
        ("RuntimeError: shape mismatch", "failed"),
        ("slurmstepd: error: *** JOB 1 ON a CANCELLED AT 2024 ***", "killed"),
        ("KeyboardInterrupt", "killed"),
        ("Training finished, 0 errors", "completed"),
        ("Early stopping at step 12", "completed"),
    ],
)
def test_log_end__last_words__tell_the_state(last, state):
    assert state_of(*POINTS, last) == state


def test_log_end__goes_on_after_an_error__did_not_end_there():
    assert (
        state_of(POINTS[0], "Traceback (most recent call last):", *POINTS[1:])
        == "finished"
    )


@pytest.mark.parametrize(("n", "state"), [(5, "unfinished"), (8, "finished")])
def test_log_end__fewer_steps_than_announced__is_unfinished(n, state):
    assert state_of(*POINTS[:n]) == state


def test_propose__array_of_jobs__broken_ones_are_no_outcomes(tmp_path):
    for number in range(6):
        head = f"Namespace(lr={(number + 1) * 1e-4}, batch_size=32)"
        lines = [head, *points_of(abs(number - 3) / 8)]
        if number == 2:
            lines = [*lines[:2], "Traceback (most recent call last):"]
        if number == 4:
            lines = lines[:4]
        write(tmp_path, f"slurm-12_{number}.out", "\n".join(lines).encode())
    found = propose(tmp_path)
    assert found.summary.statuses == {"finished": 4, "failed": 1, "running": 1}
    assert found.summary.best["value"] == 2.5


def write_lines(folder, name, *lines):
    write(folder, name, ("\n".join(lines) + "\n").encode())


def nano_run(folder, last_step, *after, config="max_iters = 6000"):
    """A folder of nanoGPT whose log ends at `last_step`, a point each 500 steps."""
    lines = []
    for step in range(0, last_step + 1, 500):
        lines.append(f"step {step}: train loss 3.2, val loss {9 - step / 1e3}")
        lines.append(f"iter {step}: loss 3.2, time 210.11ms, mfu 31.20%")
    write_lines(folder, "train.log", *lines, *after)
    write_lines(
        folder, "config.py", f"learning_rate={1e-7 * last_step}", config
    )


def test_propose__text_log_short_of_its_configuration__is_running(tmp_path):
    for last_step in (6000, 5500, 2000):
        nano_run(tmp_path / f"runs/r{last_step}", last_step)
    nano_run(tmp_path / "runs/early", 2500, "early stopping: no better loss")
    nano_run(tmp_path / "runs/self", 3000, config="max_iters=9000\npatience=3")
    proposal = propose(tmp_path / "runs")
    assert proposal.summary.statuses == {"finished": 4, "running": 1}
    said = [note.text for note in proposal.notes if "r2000" in note.text]
    assert "last step is 2000 of max_iters=6000" in said[0]


@pytest.mark.parametrize(
    ("setting", "n_epochs", "statuses"),
    [
        ("max_epochs: 10", 10, {"finished": 3}),
        ("max_epochs: 10", 4, {"finished": 2, "running": 1}),
        ("max_epochs: 1000\nmax_steps: 40", 4, {"finished": 3}),
        ("max_steps: -1", 4, {"finished": 3}),
        ("total_timesteps: 1000000", 4, {"finished": 3}),
    ],
)
def test_propose__curve_beside_hparams__counts_by_the_plan_that_is_reached(
    tmp_path, setting, n_epochs, statuses
):
    for number, n_done in enumerate((10, 10, n_epochs)):
        folder = tmp_path / f"runs/version_{number}"
        rows = ["epoch,step,val_loss"]
        for epoch in range(n_done):
            rows.append(
                f"{epoch},{10 * epoch + 9},{4 - epoch / 10 + number / 50}"
            )
        write_lines(folder, "metrics.csv", *rows)
        write_lines(folder, "hparams.yaml", f"lr: 0.00{number + 1}", setting)
    assert propose(tmp_path / "runs").summary.statuses == statuses


@pytest.mark.parametrize(
    ("counter", "settings", "state"),
    [
        ("step", {"config.train.max_steps": 1000}, "unfinished"),
        ("iteration", {"args.train_iters": 1000}, "unfinished"),
        ("step", {"hparams.num_iterations": "420"}, "finished"),
        ("epoch", {"args.num_train_epochs": 1000}, "unfinished"),
        ("step", {"args.num_epochs": 30, "metrics.epoch": 11.5}, "unfinished"),
        ("step", {"args.num_epochs": 12, "metrics.epoch": 11.5}, "finished"),
        ("timestep", {"args.max_steps": 1000}, None),
        ("step", {"args.max_steps": "inf"}, None),
        ("step", {"args.warmup_steps": 1000}, None),
        ("step", {"args.max_steps": 1000, "args.early_stopping": True}, None),
        ("step", {"args.max_steps": 1000, "args.patience": None}, "unfinished"),
        ("step", {"args.max_steps": 1000, "state": "failed"}, "failed"),
    ],
)
def test_plan_state__last_point_at_400__is_judged_by_what_counts_alike(
    counter, settings, state
):
    cells = {"run": "a", **settings}
    add_plan_state(RelationBuilder("x", "run"), cells, counter, 400, 10)
    assert cells.get("state") == state


@pytest.mark.parametrize(
    "line",
    [
        "terminate called after throwing an instance of 'c10::DistBackendError'",
        "srun: error: n7: task 3: Aborted (core dumped)",
        "[rank3]: Watchdog caught collective operation timeout: WorkNCCL",
    ],
)
def test_log_end__a_crash_below_python__is_failed(line):
    end = LogEnd()
    end.see("step 10/100 loss 2", True)
    end.see(line, False)
    assert end.state() == "failed"
