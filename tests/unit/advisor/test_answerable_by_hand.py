"""What logs can answer, and the cheapest runs that would change it, for studies whose
fit is written down.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from autollm.advisor.answering.answerable import can_answer
from autollm.advisor.asking.native import names_of
from autollm.advisor.asking.target import NO_SIZE
from autollm.advisor.deciding.cost import cost_at, shown_cost
from autollm.advisor.deciding.study import Noise
from autollm.advisor.statistics.categories import Gaps
from autollm.advisor.statistics.forecast import Forecast
from autollm.advisor.statistics.laws import Ladder, Law
from autollm.advisor.statistics.loss_law import Draws, LossLaw
from autollm.advisor.statistics.tried import Ends
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.space import Space

RATE = Knob("lr", "log", (0.001, 0.002, 0.004), role="rate")
BATCH = Knob("batch_size", "log", (32, 64, 128), role="size")
DROPOUT = Knob("dropout", "linear", (0.0, 0.1, 0.2))
MIXTURE = Knob("mix", "simplex", ("code", "web"))


class Table:
    """Experiments and their device hours, all that costs need."""

    def __init__(self, experiments, hours):
        self.experiments = experiments
        self._hours = hours

    def column(self, name, e):
        return np.array([self._hours[e]] * 3)


def experiment(space, **fidelity):
    z = np.log2(list(fidelity.values()))
    return SimpleNamespace(
        fidelity=fidelity,
        space=space,
        z=z,
        compute_flops=float(6 * 2.0 ** z.sum()),
    )


def rows_at(points, losses):
    return SimpleNamespace(
        points=np.asarray(points, float),
        loss=np.asarray(losses, float),
        diverged=np.zeros(len(losses), bool),
    )


def level_at(optimum, edge=0):
    n = len(optimum)
    return SimpleNamespace(
        optimum=np.asarray(optimum, float), edge=np.full(n, edge)
    )


def law_of(knob, verdict="moves", exponent=-0.5, per="params"):
    told = (exponent, -0.6, -0.4) if exponent is not None else (None,) * 3
    return Law(knob, per, *told, verdict, 0.1, "too few levels")


def study_of(knobs=(RATE,), sizes=((1e8, 2e9), (4e8, 8e9)), **changes):
    """Levels of these sizes; every knob that is a number has an optimum."""
    space = Space(tuple(knobs))
    fidelities = [{"params": p, "tokens": t} for p, t in sizes]
    fidelities = changes.pop("fidelities", fidelities)
    experiments = [experiment(space, **f) for f in fidelities]
    hours = changes.pop("hours", [1.0, 8.0, 64.0][: len(experiments)])
    numbers = [k for k in knobs if k.scale != "simplex"]
    columns = tuple(space.slices[k.name].start for k in numbers)
    middle = space.window.mean(axis=0)
    rows = tuple(
        rows_at([middle, middle + 0.5], [1.0, 2.0]) for _ in experiments
    )
    levels = tuple(level_at(middle[list(columns)]) for _ in experiments)
    names = names_of(space, {}, [])
    fields = {
        "question": SimpleNamespace(
            space=space,
            levels=tuple(range(len(experiments))),
            table=Table(experiments, hours),
            view=SimpleNamespace(direction="min"),
            fidelity=fidelities[-1],
        ),
        "response": SimpleNamespace(
            names=tuple(k.name for k in numbers), columns=columns, levels=levels
        ),
        "rows": rows,
        "laws": tuple(law_of(k.name) for k in numbers),
        "is_prior": len(experiments) < 2,
        "ladder": Ladder(("params",), np.zeros((2, 1))),
        "loss_law": None,
        "noise": Noise(0.01, "replicas"),
        "spread": 0.4,
        "names": names,
        "native": lambda name: f"my_{name}",
        "run_at": lambda point: names.show(space.decode(point)),
        "policy": SimpleNamespace(gaps=()),
        "evidence": SimpleNamespace(
            has_flops=True, table=SimpleNamespace(experiments=experiments)
        ),
    } | changes
    found = SimpleNamespace(**fields)
    found.question.fidelity = dict(found.question.fidelity)
    plain = [k for k in numbers if k.scale != "categorical"]
    found.ends_by_name = {k.name: Ends(k, k.levels) for k in plain}
    found.is_unseen = lambda name: (
        name in found.ends_by_name and name not in found.response.names
    )
    found.unseen_in_words = lambda name: found.ends_by_name[name].in_words(
        found.native(name), lambda value: value
    )
    return found


def row(study, question):
    (found,) = [r for r in can_answer(study) if r.question == question]
    return found


def test_can_answer__rows__stand_in_the_order_of_the_contract():
    study = study_of((RATE, BATCH, DROPOUT, MIXTURE))
    assert [r.question for r in can_answer(study)] == [
        "learning rate",
        "batch size",
        "other knobs",
        "mixture",
        "size and tokens",
        "achievable outcome",
        "noise",
    ]


def test_can_answer__no_other_knob_or_mixture__has_no_such_row():
    asked = [r.question for r in can_answer(study_of())]
    assert "other knobs" not in asked and "mixture" not in asked


def test_learning_rate__not_varied__is_no_with_its_reason():
    found = row(study_of((BATCH,)), "learning rate")
    assert found.answer == "no" and "no setting that varies" in found.because


@pytest.mark.parametrize(
    ("name", "role", "question"),
    [
        ("lr", "rate", "learning rate"),
        ("max_lr", "rate", "learning rate"),
        ("learning_rate", "", "learning rate"),
        ("bs", "size", "batch size"),
        ("global_batch", "", "batch size"),
        ("dropout_rate", "size", "other knobs"),
        ("warmup", "", "other knobs"),
    ],
)
def test_can_answer__knob__belongs_to_the_question_of_its_name_and_role(
    name, role, question
):
    knob = Knob(name, "log", (1.0, 2.0, 4.0), role=role)
    study = study_of((knob,))
    found = row(study, question)
    assert f"my_{name}" in found.because


@pytest.mark.parametrize(
    ("verdict", "answer", "words"),
    [
        ("moves", "yes", "the best my_lr moves: -0.50 octaves a doubling"),
        (
            "still",
            "yes",
            "hardly moves: by 0.6 octaves a doubling of my_params",
        ),
        ("unknown", "partly", "my_lr moves is not resolved: -0.50 octaves"),
    ],
)
def test_learning_rate__law__decides_the_answer(verdict, answer, words):
    found = row(study_of(laws=(law_of("lr", verdict),)), "learning rate")
    assert found.answer == answer and words in found.because
    assert ("(-0.60 to -0.40)" in found.because) == (verdict != "still")


def test_learning_rate__law_without_an_exponent__says_why():
    laws = (law_of("lr", "unknown", None),)
    found = row(study_of(laws=laws), "learning rate")
    assert found.answer == "partly"
    assert "my_lr against my_params: too few levels" in found.because


def test_other_knobs__linear_one__moves_in_steps():
    found = row(study_of((DROPOUT,)), "other knobs")
    assert "-0.50 steps a doubling of my_params" in found.because


def test_other_knobs__one_without_an_optimum__is_answered_in_part():
    flat = Knob("clip", "linear", (1.0, 2.0))
    study = study_of((DROPOUT, flat))
    study.response.names = ("dropout",)
    study.laws = (law_of("dropout"),)
    assert row(study, "other knobs").answer == "partly"


def unseen(study):
    study.response.names = ()
    study.response.columns = ()
    for level in study.response.levels:
        level.optimum = np.empty(0)
        level.edge = np.empty(0)
    return study


def test_learning_rate__no_three_values__asks_for_one_more():
    found = row(unseen(study_of(laws=())), "learning rate")
    assert found.answer == "no" and "three values of my_lr" in found.because
    (help_,) = found.would_help
    assert help_.configuration == {"lr": 0.004}  # an octave above the best
    assert help_.experiment == {"my_params": 1e8, "my_tokens": 2e9}


def test_learning_rate__one_scale__is_answered_in_part_and_asks_for_another():
    study = study_of(sizes=((1e8, 2e9),))
    found = row(study, "learning rate")
    assert found.answer == "partly" and "at one scale" in found.because
    (help_,) = found.would_help
    assert help_.experiment == {"my_params": 2.5e7, "my_tokens": 5e8}
    flops, hours = help_.cost["flops"], help_.cost["device_hours"]
    assert flops == pytest.approx(6 * 2.5e7 * 5e8)
    assert hours == pytest.approx(1 / 16)


@pytest.mark.parametrize(
    ("sizes", "params"),
    [
        (
            ((1e8, 2e9), (4e8, 2e9)),
            5e7,
        ),  # near each other: half of the cheapest
        (((1e8, 2e9), (1e10, 2e9)), 1e9),  # far apart: between them
    ],
)
def test_another_level__two_sizes__lies_where_it_tells(sizes, params):
    study = study_of(sizes=sizes, laws=(law_of("lr", "unknown"),))
    (help_,) = row(study, "learning rate").would_help
    assert help_.experiment["my_params"] == pytest.approx(params)
    assert help_.experiment["my_tokens"] == 2e9  # the same in all: stays


def test_another_level__runs_that_tell_no_size__cannot_be_asked_for():
    study = study_of(fidelities=[{NO_SIZE: 1.0}])
    assert row(study, "learning rate").would_help == ()


@pytest.mark.parametrize(("side", "beyond"), [(1, 0.008), (-1, 0.0005)])
def test_learning_rate__optimum_at_the_edge__asks_for_a_step_beyond(
    side, beyond
):
    study = study_of()
    for here in study.rows:
        here.points = np.log2([[0.001], [0.002], [0.004]])
        here.loss = np.array([3.0, 2.0, 1.0][::side])
    study.response.levels[0].edge = np.array([side])
    study.response.levels[0].optimum = np.log2([0.004 if side > 0 else 0.001])
    (help_,) = row(study, "learning rate").would_help
    assert help_.configuration["lr"] == pytest.approx(beyond, rel=1e-3)


def mixed(losses, n_shared=8):
    """Two levels with so many mixtures in common, losses at the second one."""
    study = study_of((MIXTURE,))
    shares = np.linspace(0.1, 0.9, n_shared)
    points = [MIXTURE.encode({"code": s, "web": 1 - s}) for s in shares]
    study.rows = (
        rows_at(points, np.arange(n_shared)),
        rows_at(points, losses),
    )
    return study


@pytest.mark.parametrize(
    ("losses", "answer", "shown"),
    [
        (range(8), "yes", "1.00"),
        (range(7, -1, -1), "partly", "-1.00"),
        ((0, 1, 2, 3, 7, 6, 5, 4), "yes", "0.76"),
    ],
)
def test_mixture__order_over_scales__is_spearmans(losses, answer, shown):
    found = row(mixed(list(losses)), "mixture")
    assert found.answer == answer and shown in found.because


def test_mixture__few_in_common__says_so():
    found = row(mixed(list(range(7)), 7), "mixture")
    assert found.answer == "partly" and "no mixtures in common" in found.because


def test_mixture__one_scale__asks_for_another():
    found = row(study_of((MIXTURE,), sizes=((1e8, 2e9),)), "mixture")
    assert found.answer == "partly" and found.would_help


def test_size_and_tokens__collinear__asks_for_a_run_off_the_ray():
    ladder = Ladder(("compute",), np.zeros((2, 1)), ("params", "tokens"))
    found = row(study_of(ladder=ladder), "size and tokens")
    assert found.answer == "no" and "grow together" in found.because
    (help_,) = found.would_help
    assert help_.experiment == {"my_params": 1e8, "my_tokens": 8e9}


def loss_law(form="sum", mean=2.0, sd=0.05, **changes):
    draws = Draws(
        np.tile([1.5, 0.25, 0.25], (50, 1)), np.tile([0.3, 0.3], (50, 1))
    )
    fields = {"names": ("params", "tokens"), "draws": draws} | changes
    return LossLaw(
        form, {"E": 1.5}, Forecast(mean, sd, 1e6), {}, -0.05, 0.0, 6, **fields
    )


def test_size_and_tokens__law_with_a_term_each__is_the_best_split():
    found = row(study_of(loss_law=loss_law()), "size and tokens")
    assert found.answer == "yes" and "best spent on 400M params" in (
        found.because.replace("parameters", "params")
    )


@pytest.mark.parametrize("law", [None, loss_law("power")])
def test_size_and_tokens__no_term_each__says_how_many_levels_it_takes(law):
    found = row(study_of(loss_law=law), "size and tokens")
    assert found.answer == "no" and "from 6 levels on" in found.because


def test_outcome__benchmark__is_not_forecast():
    study = study_of(loss_law=None)
    study.question.view.direction = "max"
    found = row(study, "achievable outcome")
    assert found.answer == "no" and "no law of loss" in found.because
    assert "no law of loss" in row(study, "size and tokens").because


@pytest.mark.parametrize(
    ("law", "answer", "words"),
    [
        (loss_law(), "yes", "6 levels give 2 (1.918 to 2.082)"),
        (loss_law(sd=0.6), "partly", "wider than what choices"),
        (loss_law(is_bound=True), "partly", "an upper bound"),
        (None, "no", "a law of loss needs 3 that fall"),
    ],
)
def test_outcome__law__is_yes_where_its_interval_is_narrow(law, answer, words):
    found = row(study_of(loss_law=law), "achievable outcome")
    assert found.answer == answer and words in found.because


@pytest.mark.parametrize(
    ("noise", "answer"),
    [
        (Noise(0.01, "replicas"), "yes"),
        (Noise(0.02, "residual"), "partly"),
        (Noise(None, "none"), "no"),
    ],
)
def test_noise__origin__decides_and_a_repeat_would_help(noise, answer):
    found = row(study_of(noise=noise), "noise")
    assert found.answer == answer
    assert bool(found.would_help) == (answer != "yes")
    for help_ in found.would_help:
        assert help_.experiment == {"my_params": 1e8, "my_tokens": 2e9}


def test_cost_at__compute_that_doubles__takes_twice_the_hours():
    study = study_of()
    found = cost_at(study, np.log2([2e8, 2e9]), 0)
    assert found["flops"] == pytest.approx(6 * 2e8 * 2e9)
    assert found["device_hours"] == pytest.approx(2.0)


def test_cost_at__hours_nobody_logged__are_null():
    found = cost_at(study_of(hours=[np.nan, np.nan]), np.log2([1e8, 2e9]), 0)
    assert found["device_hours"] is None and found["flops"] > 0


def test_shown_cost__logs_without_flops__show_none():
    study = study_of()
    cost = {"flops": 1.0, "device_hours": 2.0}
    assert shown_cost(study, cost) == cost
    study.evidence.has_flops = False
    assert shown_cost(study, cost) == {"flops": None, "device_hours": 2.0}


def compared(mean, sd, n_sizes=3):
    """The answer on optimizers whose gaps the runs told."""
    sizes = ((1e8, 2e9), (4e8, 8e9), (1.6e9, 3.2e10))[:n_sizes]
    knob = Knob("opt", "categorical", ("adamw", "muon"))
    gaps = Gaps("opt", slice(0, 2), np.array([0.0, mean]), np.array([0.0, sd]))
    study = study_of((knob,), sizes, policy=SimpleNamespace(gaps=(gaps,)))
    study.response.names = ()
    study.response.columns = ()
    return row(study, "other knobs")


@pytest.mark.parametrize(
    ("mean", "sd", "sizes", "answer", "words"),
    [
        (-0.5, 0.1, 3, "yes", "my_opt = muon is better than adamw, by 0.2"),
        (0.5, 0.1, 3, "yes", "my_opt = adamw is better than muon, by 0.2"),
        (-0.5, 0.1, 2, "partly", "my_opt = muon is better than adamw"),
        (-0.1, 0.1, 3, "partly", "muon and adamw are not told apart"),
    ],
)
def test_other_knobs__category__is_answered_by_what_the_runs_compare(
    mean, sd, sizes, answer, words
):
    found = compared(mean, sd, sizes)
    assert found.answer == answer and words in found.because


def test_other_knobs__category_that_no_runs_compare__is_said():
    knob = Knob("opt", "categorical", ("adamw", "muon"))
    study = study_of((knob,))
    study.response.names = ()
    study.response.columns = ()
    found = row(study, "other knobs")
    assert found.answer == "partly" and "no runs compare" in found.because
