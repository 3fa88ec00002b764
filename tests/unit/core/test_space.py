import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autollm.core.errors import SpaceError
from autollm.core.spaces import space as space_module
from autollm.core.spaces.distances import nearest
from autollm.core.spaces.knobs import Knob
from autollm.core.spaces.scales import SCALES
from autollm.core.spaces.space import Limit, Space
from tests.unit.gym.tables import MIXED, SPACE, mixed_configuration

RATE = Knob("rate", "log", (0.25, 0.5, 1.0, 2.0), step=1.0)
DEPTH = Knob("depth", "integer", (2, 3, 4), unit="layers")
DROPOUT = Knob(
    "dropout", "linear", (0.0, 0.1, 0.2), step=0.1, when=("depth", (3, 4))
)
NAMES = st.sampled_from(["adam", "sgd", "lion", "ä", "x y", ""])


@st.composite
def knobs(draw, name="k"):
    """Any knob of its own, with levels in the form that snapshots keep."""
    scale = draw(st.sampled_from(SCALES))
    if scale == "log":
        octaves = sorted(
            draw(st.sets(st.integers(-20, 20), min_size=1, max_size=6))
        )
        return Knob(
            name,
            scale,
            tuple(float(f"{2.0**i:.9g}") for i in octaves),
            step=1.0,
        )
    if scale in ("linear", "integer"):
        step = (
            1.0
            if scale == "integer"
            else draw(st.sampled_from([0.1, 0.25, 3.0]))
        )
        first, n = draw(st.integers(-9, 9)), draw(st.integers(1, 6))
        return Knob(
            name,
            scale,
            tuple(float(f"{(first + i) * step:.9g}") for i in range(n)),
            step=step,
        )
    if scale == "ordinal" and draw(st.booleans()):
        return Knob(
            name,
            scale,
            tuple(
                sorted(
                    draw(st.sets(st.integers(-99, 99), min_size=1, max_size=6))
                )
            ),
        )
    levels = draw(
        st.lists(
            NAMES
            if scale in ("simplex", "ordinal")
            else NAMES | st.booleans() | st.integers(0, 3),
            min_size=1,
            max_size=5,
            unique_by=lambda v: (isinstance(v, bool), v),
        )
    )
    most = draw(st.integers(1, 4))
    return Knob(
        name,
        scale,
        tuple(levels),
        positions=(draw(st.integers(0, most)), most)
        if scale == "list"
        else (0, 0),
    )


@st.composite
def values(draw, knob):
    """A value of the declared window."""
    if knob.scale == "list":
        return draw(
            st.lists(
                st.sampled_from(knob.levels),
                min_size=knob.positions[0],
                max_size=knob.positions[1],
            )
        )
    if knob.scale == "simplex":
        cuts = draw(
            st.lists(
                st.integers(0, 1000),
                min_size=len(knob.levels),
                max_size=len(knob.levels),
            ).filter(any)
        )
        return {
            part: cut / sum(cuts)
            for part, cut in zip(knob.levels, cuts, strict=True)
        }
    return draw(st.sampled_from(knob.levels))


@st.composite
def spaces(draw):
    """A space of one to four knobs and a configuration inside it; a knob may hang on a
    number or category before it.
    """
    out, configuration = [], {}
    for i in range(draw(st.integers(1, 4))):
        knob = draw(knobs(f"k{i}"))
        parents = [k for k in out if k.scale not in ("list", "simplex")]
        if parents and draw(st.booleans()):
            parent = draw(st.sampled_from(parents))
            knob = Knob(
                knob.name,
                knob.scale,
                knob.levels,
                step=knob.step,
                positions=knob.positions,
                when=(
                    parent.name,
                    tuple(
                        draw(
                            st.lists(
                                st.sampled_from(parent.levels),
                                min_size=1,
                                max_size=3,
                            )
                        )
                    ),
                ),
            )
        out.append(knob)
        parent, wanted = knob.when or ("", ())
        among = any(
            configuration.get(parent) == w
            and isinstance(configuration.get(parent), bool)
            == isinstance(w, bool)
            for w in wanted
        )
        if knob.when is None or (parent in configuration and among):
            configuration[knob.name] = draw(values(knob))
    return Space(tuple(out), "s"), configuration


def close(a, b):
    """Equal values; numbers to 9 significant digits."""
    if isinstance(a, dict):
        return list(a) == list(b) and all(close(a[k], b[k]) for k in a)
    if isinstance(a, float) or isinstance(b, float):
        return a == pytest.approx(b, rel=1e-8, abs=1e-9)
    return a == b and isinstance(a, bool) == isinstance(b, bool)


@given(spaces())
def test_space__any_configuration_inside__survives_encode_and_decode(found):
    space, configuration = found
    point = space.encode(configuration)
    assert (
        point.shape == (len(space),) == (len(space.coordinates),)
        and np.isfinite(point).all()
    )
    assert close(space.decode(point), configuration)
    assert space.inside(point)


@given(spaces())
def test_space__json__gives_an_equal_space(found):
    space, configuration = found
    back = Space.from_json(space.to_json())
    assert back == space and back.to_json() == space.to_json()
    assert np.array_equal(
        back.encode(json.loads(json.dumps(configuration))),
        space.encode(configuration),
    )


@given(spaces())
def test_space__grid__is_every_declared_configuration_once(found):
    space, configuration = found
    if space.grid is None:
        assert any(k.scale in ("list", "simplex") for k in space.knobs)
        return
    texts = [json.dumps(space.decode(p)) for p in space.grid]
    assert (
        len(set(texts)) == len(texts)
        and np.unique(space.grid, axis=0).shape == space.grid.shape
    )
    assert (
        np.min(np.sum((space.grid - space.encode(configuration)) ** 2, axis=1))
        < 1e-9
    )
    assert all(
        np.allclose(space.encode(space.decode(p)), p) for p in space.grid
    )


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_space__mixed_configurations__are_apart_exactly_where_they_differ(a, b):
    one, two = (mixed_configuration(np.random.default_rng(s)) for s in (a, b))
    apart = np.linalg.norm(MIXED.encode(one) - MIXED.encode(two))
    assert (apart == 0) == (one == two)


@given(st.tuples(st.integers(-20, -14), st.integers(6, 10)))
def test_space__grid_configuration__survives_decode_and_encode(half_octaves):
    point = np.array([half_octaves[0] / 2, float(half_octaves[1])])
    assert np.array_equal(SPACE.encode(SPACE.decode(point)), point)


@given(st.floats(1e-8, 1e8), st.floats(1e-8, 1e8))
def test_space__any_positive_configuration__round_trips_to_nine_digits(a, b):
    configuration = {"learning_rate": a, "batch_tokens": b}
    back = SPACE.decode(SPACE.encode(configuration))
    assert back == pytest.approx(configuration, rel=1e-3)


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        ({"learning_rate": 0.1}, "missing knob 'batch_tokens'"),
        (
            {"learning_rate": 0.1, "batch_tokens": 64, "lr": 1},
            "unknown knob 'lr'",
        ),
        ({"learning_rate": -1, "batch_tokens": 64}, "must be positive"),
        (
            {"learning_rate": float("nan"), "batch_tokens": 64},
            "not a finite number",
        ),
        ({"learning_rate": "0.1", "batch_tokens": 64}, "not a finite number"),
        (
            {"learning_rate": True, "batch_tokens": 64},
            "not a finite number. Declared: 0.000976562 to 0.0078125",
        ),
        (["learning_rate"], "is an object of"),
    ],
)
def test_space__bad_configuration__says_what_is_wrong(configuration, said):
    with pytest.raises(SpaceError, match=said):
        SPACE.encode(configuration)


GOOD = {
    "optimizer": "sgd",
    "momentum": 0.5,
    "heads": [4, 16],
    "mixture": {"code": 0.5, "text": 0.5, "web": 0.0},
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"optimizer": "adm"},
            "optimizer='adm' is none of the declared values, did you mean "
            "'adam'.*Declared: adam, sgd",
        ),
        ({"optimizer": True}, "optimizer=True is none"),
        ({"optimizer": ["adam"]}, "is none of the declared"),
        (
            {"heads": [4]},
            r"heads=\[4\] is not a list of the declared length. Declared: a list of 2 "
            r"to 3 of 4, 8, 16",
        ),
        ({"heads": "4-8"}, "is not a list"),
        ({"heads": [4, 5]}, r"heads=\[4, 5\] is none of the declared values"),
        (
            {"mixture": {"code": 0.5, "text": 0.5}},
            "needs exactly the declared parts .see 'web'",
        ),
        (
            {"mixture": {"code": 0.5, "text": 0.5, "web": 0.5}},
            "sum to 1.5. Declared: weights of code, text, web that sum to 1",
        ),
        (
            {"mixture": {"code": 1.5, "text": 0.0, "web": -0.5}},
            "weights from -0.5",
        ),
        (
            {"mixture": {"code": 0.5, "text": 0.5, "web": float("nan")}},
            "not a finite number",
        ),
        ({"mixture": [0.5, 0.5, 0.0]}, "needs exactly the declared parts"),
        (
            {"optimizer": "adam"},
            "momentum=0.5 is chosen only where optimizer is 'sgd'",
        ),
    ],
)
def test_space__bad_value_of_any_scale__names_knob_value_and_window(
    change, said
):
    assert len(MIXED.encode(GOOD)) == len(MIXED) == 10
    with pytest.raises(SpaceError, match=said):
        MIXED.encode({**GOOD, **change})


def test_space__conditional_knob_left_out__is_missed_only_where_it_is_chosen():
    without = {k: v for k, v in GOOD.items() if k != "momentum"}
    with pytest.raises(SpaceError, match="missing knob 'momentum'"):
        MIXED.encode(without)
    assert (
        MIXED.encode({**without, "optimizer": "adam"})[2]
        == MIXED.window[:, 2].mean()
    )


def test_space__conditional_grid__holds_each_idle_combination_once():
    space = Space((DEPTH, DROPOUT))
    found = [space.decode(p) for p in space.grid]
    assert found == [
        {"depth": 2},
        *({"depth": d, "dropout": x} for d in (3, 4) for x in (0.0, 0.1, 0.2)),
    ]


def test_space__limit__is_kept_by_the_grid_and_refused_when_broken():
    space = Space(
        (RATE, DEPTH), limits=(Limit((("rate", 1.0), ("depth", 2.0)), 6.0),)
    )
    assert sorted(tuple(p) for p in space.grid) == [
        (r, d)
        for r, d in itertools.product((-2, -1, 0, 1), (2, 3, 4))
        if r + 2 * d <= 6
    ]
    with pytest.raises(
        SpaceError,
        match=r"rate=2.0, depth=3 breaks the limit 1 rate \+ 2 depth <= 6",
    ):
        space.encode({"rate": 2.0, "depth": 3})


def test_space__limit_over_a_knob_that_is_not_chosen__adds_nothing():
    space = Space((DEPTH, DROPOUT), limits=(Limit((("dropout", -1.0),), -1.0),))
    assert [space.decode(p).get("dropout") for p in space.grid] == [
        0.1,
        0.2,
        0.1,
        0.2,
    ]


def test_space__more_points_than_can_be_laid_out__has_a_window_and_no_grid(
    monkeypatch,
):
    space = Space((RATE, DEPTH))
    monkeypatch.setattr(space_module, "MAX_GRID", 11)
    assert space.grid is None and space.window.tolist() == [[-2, 2], [1, 4]]


@pytest.mark.parametrize(
    "build",
    [
        lambda: Space((DROPOUT, DEPTH)),
        lambda: Space(
            (MIXED.knobs[3], Knob("x", "log", (1.0,), when=("mixture", (1,))))
        ),
        lambda: Space((RATE,), limits=(Limit((("depth", 1.0),), 1.0),)),
        lambda: Space(
            (MIXED.knobs[0],), limits=(Limit((("optimizer", 1.0),), 1.0),)
        ),
        lambda: Knob("lr", "log", (2.0, 1.0)),
        lambda: Knob("lr", "log", (0.0, 1.0)),
        lambda: Knob("lr", "linear", ("a", "b")),
        lambda: Knob("lr", "logarithmic", (1.0,)),
        lambda: Knob("opt", "categorical", ()),
        lambda: Knob("opt", "categorical", ("a", "a")),
        lambda: Knob("heads", "list", (1, 2)),
        lambda: Knob("heads", "list", (1, 2), positions=(3, 2)),
    ],
)
def test_space__inconsistent_declaration__is_refused(build):
    with pytest.raises(SpaceError):
        build()


@pytest.mark.parametrize(
    ("a", "b", "apart"),
    [
        ({"optimizer": "adam"}, {"optimizer": "sgd"}, 1.0),
        ({"heads": [4, 4, 4]}, {"heads": [8, 8, 8]}, 1.0),
        (
            {"mixture": {"code": 0.1, "text": 0.9, "web": 0.0}},
            {"mixture": {"code": 0.2, "text": 0.8, "web": 0.0}},
            0.99,
        ),
    ],
)
def test_space__one_step_of_each_scale__is_about_one_unit(a, b, apart):
    knob = next(k for k in MIXED.knobs if k.name in a)
    space = Space(
        (Knob(knob.name, knob.scale, knob.levels, positions=knob.positions),)
    )
    assert np.linalg.norm(space.encode(a) - space.encode(b)) == pytest.approx(
        apart, abs=0.005
    )


@pytest.mark.parametrize(
    ("scale", "value", "point"), [("linear", 0.3, 3.0), ("ordinal", 20, 1.0)]
)
def test_knob__other_scales__encode_to_comparable_units(scale, value, point):
    knob = Knob(
        "k",
        scale,
        (0.1, 0.2, 0.3) if scale == "linear" else (10, 20, 40),
        step=0.1,
    )
    assert knob.encode(value) == pytest.approx(point)
    assert knob.decode(point) == pytest.approx(value)


def test_knob__integer__is_whole_in_both_directions():
    assert DEPTH.decode(2.6) == 3 and isinstance(DEPTH.decode(2.6), int)
    with pytest.raises(
        SpaceError,
        match=r"depth=2.5 is not a whole number. Declared: 2 to 4 layers",
    ):
        DEPTH.encode(2.5)


def test_knob__ordinal_of_words__keeps_their_order():
    knob = Knob("size", "ordinal", ("small", "medium", "large"))
    assert [knob.encode(v) for v in knob.levels] == [0, 1, 2] and knob.decode(
        1.2
    ) == "medium"


def test_knob__lists_of_several_lengths__are_compared_by_relative_position():
    knob = Knob("heads", "list", (4, 8, 16), positions=(2, 6))
    small, large, other = (
        [4, 16],
        [4, 4, 4, 16, 16, 16],
        [16, 16, 16, 4, 4, 4],
    )
    assert np.array_equal(
        knob.encode(small)[:6], knob.encode(large)[:6]
    ) and knob.encode(large)[6] - knob.encode(small)[6] == np.log2(3)
    assert [
        knob.decode(knob.encode(v))
        for v in (small, large, other, [4, 8, 16, 16])
    ] == [small, large, other, [4, 8, 16, 16]]
    assert np.linalg.norm(
        knob.encode(small) - knob.encode(other)
    ) > np.linalg.norm(knob.encode(small) - knob.encode(large))
    assert knob.coordinates[-2:] == ("heads.5", "heads.length")


@given(st.lists(st.floats(-3, 3), min_size=10, max_size=10))
def test_space__any_point__decodes_to_a_configuration_that_encodes(point):
    configuration = MIXED.decode(np.array(point))
    assert np.allclose(
        MIXED.encode(MIXED.decode(MIXED.encode(configuration))),
        MIXED.encode(configuration),
    )


def test_nearest__tie__lowest_row_wins():
    index, distance = nearest(np.array([[0.0], [1.0], [3.0]]), np.array([2.0]))
    assert (index, distance) == (1, 1.0)


@given(
    st.lists(
        st.tuples(st.integers(-5, 5), st.integers(-5, 5)),
        min_size=1,
        max_size=30,
    ),
    st.tuples(st.floats(-6, 6), st.floats(-6, 6)),
)
def test_nearest__any_rows__no_row_is_nearer_and_a_row_finds_itself(
    rows, query
):
    points = np.array(rows, dtype=float)
    index, distance = nearest(points, np.array(query))
    assert distance == pytest.approx(
        np.linalg.norm(points - query, axis=1).min(), abs=1e-6
    )
    assert nearest(points, points[index]) == (rows.index(rows[index]), 0.0)
