"""The sampler keeps Optuna's own contract, and begins where the history ends."""

import pytest

optuna = pytest.importorskip(
    "optuna", reason="the extra `optuna` is not installed"
)

from optuna.testing.pytest_samplers import (  # noqa: E402
    BasicSamplerTestCase,
    RelativeSamplerTestCase,
)

from autollm.advisor.doors.optuna_sampler import AutoLLMSampler  # noqa: E402
from autollm.advisor.evidence.evidence import LogOptions, read_evidence  # noqa: E402
from tests.unit.advisor.doors.test_mcp_server import TARGET, write_sweep  # noqa: E402


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """A sweep whose best rate halves with each level."""
    path = write_sweep(tmp_path_factory.mktemp("history"))
    return read_evidence([path], LogOptions())


class _WithAndWithout:
    """The sampler as Optuna's test cases want it."""

    @pytest.fixture(params=["without a history", "with one"])
    def sampler(self, request, history):
        if request.param == "without a history":
            return lambda: AutoLLMSampler(seed=1)
        return lambda: AutoLLMSampler(history, TARGET, seed=1)


class TestContract(_WithAndWithout, BasicSamplerTestCase):
    """Optuna's own tests of a sampler."""


class TestRelativeContract(_WithAndWithout, RelativeSamplerTestCase):
    """Optuna's own tests of parameters that are sampled together."""

    @pytest.fixture(params=["without a history", "with one"])
    def sampler(self, request, history):
        together = optuna.samplers.TPESampler(
            seed=1, multivariate=True, n_startup_trials=0
        )
        if request.param == "without a history":
            return lambda: AutoLLMSampler(independent_sampler=together)
        return lambda: AutoLLMSampler(
            history, TARGET, independent_sampler=together
        )


def loss_at_target(rate, batch):
    """The sweep's rule one octave beyond its largest level: best at 1/2000."""
    return 3 + 0.02 * (abs(rate / 0.0005 - 1) + abs(batch / 64 - 1))


def objective(trial):
    rate = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    batch = trial.suggest_int("batch_size", 16, 512, log=True)
    trial.suggest_float("momentum", 0.0, 1.0)
    return loss_at_target(rate, batch)


def best_of(sampler, n_trials):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=n_trials)
    return study


def test_sampler__history__first_trials_are_the_advice(history):
    study = best_of(AutoLLMSampler(history, TARGET, seed=3), 4)
    rates = [trial.params["lr"] for trial in study.trials]
    assert all(0.0001 < rate < 0.002 for rate in rates)
    assert (
        len({(t.params["lr"], t.params["batch_size"]) for t in study.trials})
        == 4
    )
    blind = best_of(optuna.samplers.TPESampler(seed=3), 4)
    assert study.best_value < blind.best_value


def test_sampler__trials_in_flight__are_not_proposed_again(history):
    study = optuna.create_study(sampler=AutoLLMSampler(history, TARGET, seed=3))
    asked = []
    for _ in range(3):
        trial = study.ask()
        rate = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
        asked.append((rate, trial.suggest_int("batch_size", 16, 512, log=True)))
    assert len(set(asked)) == 3


def test_sampler__diverged_pruned_and_failed_trials__go_on(history):
    study = optuna.create_study(sampler=AutoLLMSampler(history, TARGET, seed=3))
    for end in (float("inf"), optuna.TrialPruned(), RuntimeError("gone")):

        def ends(trial, end=end):
            objective(trial)
            if isinstance(end, Exception):
                raise end
            return end

        study.optimize(ends, n_trials=1, catch=(RuntimeError,))
    study.optimize(objective, n_trials=1)
    assert study.trials[-1].value is not None


def test_sampler__range_without_the_advice__is_sampled_independently(history):
    study = optuna.create_study(sampler=AutoLLMSampler(history, TARGET, seed=3))
    trial = study.ask()
    assert 0.5 <= trial.suggest_float("lr", 0.5, 1.0) <= 1.0
