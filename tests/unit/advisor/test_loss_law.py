import numpy as np
import pytest

from autollm.advisor.statistics.floors import FLOORS, floor_of
from autollm.advisor.statistics.forecast import Forecast
from autollm.advisor.statistics.laws import ladder_of
from autollm.advisor.statistics.loss_law import fit_loss_law
from autollm.advisor.statistics.response import Level
from tests.unit.advisor.sweeps import LEVELS, best_loss


def levels_of(losses, edge=0) -> list[Level]:
    none = np.zeros(1)
    return [
        Level(
            "e",
            none,
            30,
            none,
            none,
            np.array([edge]),
            float(y),
            0.001,
            y,
            0.05,
        )
        for y in losses
    ]


def law_of(places, losses, target, edge=0):
    z = np.log2(np.array(places))
    target_z = np.log2(np.array(target))
    octaves = (z - target_z).sum(axis=1)
    ladder = ladder_of(("params", "tokens"), z, target_z, octaves)
    return fit_loss_law(levels_of(losses, edge), ladder, octaves)


def test_fit_loss_law__chinchilla_losses__target_within_the_interval():
    target = (7e9, 1.4e11)
    law = law_of(LEVELS, [best_loss(*p) for p in LEVELS], target)
    low, high = law.forecast.interval()
    assert law.form == "sum"
    assert low < best_loss(*target) < high
    assert law.forecast.mean == pytest.approx(best_loss(*target), abs=0.06)


def test_fit_loss_law__further_target__wider_interval():
    losses = [best_loss(*p) for p in LEVELS]
    near = law_of(LEVELS, losses, (1.6e9, 6e10)).forecast
    far = law_of(LEVELS, losses, (5e10, 1e12)).forecast
    assert far.sd > 2 * near.sd


def test_fit_loss_law__two_levels__no_forecast():
    places = LEVELS[:2]
    assert (
        law_of(places, [best_loss(*p) for p in places], (7e9, 1.4e11)) is None
    )


def test_fit_loss_law__rising_loss__no_forecast():
    losses = [2 + 0.1 * i for i in range(len(LEVELS))]
    assert law_of(LEVELS, losses, (7e9, 1.4e11)) is None


def test_fit_loss_law__unbracketed_minima__is_a_bound():
    losses = [best_loss(*p) for p in LEVELS]
    assert law_of(LEVELS, losses, (7e9, 1.4e11), edge=1).is_bound
    assert not law_of(LEVELS, losses, (7e9, 1.4e11)).is_bound


def test_fit_loss_law__three_floors__lower_floors_forecast_lower():
    law = law_of(LEVELS, [best_loss(*p) for p in LEVELS], (7e9, 1.4e11))
    floors = sorted(law.at_floors)
    means = [law.at_floors[f] for f in floors]
    assert len(floors) == 3 and means == sorted(means)
    assert law.slope < 0


def test_fit_loss_law__scattered_levels__wider_than_smooth_ones():
    rng = np.random.default_rng(0)
    losses = np.array([best_loss(*p) for p in LEVELS])
    smooth = law_of(LEVELS, losses, (1.6e9, 6e10)).forecast
    rough = law_of(
        LEVELS, losses + 0.05 * rng.normal(size=6), (1.6e9, 6e10)
    ).forecast
    assert rough.sd > 1.3 * smooth.sd


def test_fit_loss_law__history_that_the_law_misses__wider_than_one_it_meets():
    places = [(1e8 * 2**i, 2e9 * 4**i / 2**i) for i in range(7)]
    losses = np.array([best_loss(*p) for p in places])
    bent = losses.copy()
    bent[4:] -= 0.3 * np.arange(1, 4)  # it falls much faster than it did
    target = (2e10, 1e12)
    met = law_of(places, losses, target)
    missed = law_of(places, bent, target)
    assert met.record < 0.8 < missed.record


def test_fit_loss_law__steep_fall_then_a_plateau__interval_holds_the_plateau():
    places = [(1e8, 2e9), (1e8, 8e9), (2e8, 6e9), (4e8, 4e9)]
    law = law_of(places, [3.4, 2.4, 2.1, 2.1], (8e8, 1.2e10))
    low, high = law.forecast.interval()
    assert law.forecast.mean < 2.0  # the law believes in the fall
    assert low < 2.1 < high


def with_options(losses, target=(7e9, 1.4e11), **options):
    z = np.log2(np.array(LEVELS))
    target_z = np.log2(np.array(target))
    octaves = (z - target_z).sum(axis=1)
    ladder = ladder_of(("params", "tokens"), z, target_z, octaves)
    return fit_loss_law(levels_of(losses), ladder, octaves, **options)


def test_fit_loss_law__one_experiment_that_all_hangs_on__wider_interval():
    losses = [best_loss(*p) for p in LEVELS]
    plain = with_options(losses)
    odd = [*losses[:-1], losses[-1] + 0.1]
    assert with_options(odd).forecast.sd > 1.1 * plain.forecast.sd


def test_fit_loss_law__one_trunk__its_experiments_are_left_out_together():
    losses = [best_loss(*p) + 0.02 * (-1) ** n for n, p in enumerate(LEVELS)]
    alone = with_options(losses, clusters=np.arange(6)).forecast
    default = with_options(losses).forecast
    trunk = with_options(losses, clusters=np.array([0, 1, 2, 3, 4, 4])).forecast
    assert default == alone
    assert trunk.mean == alone.mean and trunk.sd != alone.sd


def test_fit_loss_law__known_evaluation_set__its_floor_is_the_prior():
    losses = [best_loss(*p) for p in LEVELS]
    high = with_options(losses, floor=(1.9, 0.02))
    low = with_options(losses, floor=(1.2, 0.02))
    assert high.parameters["E"] > low.parameters["E"] + 0.2
    assert high.forecast.mean > low.forecast.mean
    above = with_options(losses, floor=(9.0, 0.02))  # no loss lies above it
    assert above.parameters == with_options(losses).parameters


def test_floor_of__name_of_the_set__is_recognized_as_a_word():
    assert floor_of({"eval_set": "C4-en"}, "val_loss")[0] == FLOORS["c4"]
    assert floor_of({}, "c4_val_loss")[0] == FLOORS["c4"]
    assert floor_of({"data": "c42"}, "val_loss") is None
    assert floor_of({"eval_set": "c4"}, "val_ppl") is None
    assert floor_of({}, "val_loss") is None


def test_forecast__target_of_more_than_a_level__ends_at_what_that_reached():
    """The law alone would allow that eight times the compute does worse."""
    forecast = Forecast(3.0, 0.5, 3.0, most=3.2)
    low, high = forecast.interval()
    assert high == 3.2 and low == pytest.approx(3.0 - 0.5 * 2.3534, abs=1e-3)
    assert Forecast(3.0, 0.5, 3.0, most=2.9).interval()[1] == 3.0


def test_fit_loss_law__levels_that_the_target_exceeds_in_everything__bound_it():
    losses = [best_loss(*place) for place in LEVELS]
    error = 1.645 * 0.001
    above_all = law_of(LEVELS, losses, (7e9, 1.4e11)).forecast
    assert above_all.most == pytest.approx(min(losses) + error)
    fewer_tokens = law_of(LEVELS, losses, (7e9, 5e9)).forecast
    assert fewer_tokens.most == pytest.approx(losses[1] + error)
    assert law_of(LEVELS, losses, (5e7, 1e11)).forecast.most == float("inf")
