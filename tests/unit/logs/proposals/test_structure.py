"""What hangs together in a table: weights that sum to 1."""

from autollm.logs.proposals.columns import Column, read_name
from autollm.logs.proposals.structure import simplex_groups


def groups_of(**cells):
    columns = {n: Column(read_name(n), tuple(c)) for n, c in cells.items()}
    return [
        [c.name.raw for c in group.columns] for group in simplex_groups(columns)
    ]


def test_simplex_groups__small_rate_beside_a_seed_of_one__is_no_mixture():
    rates = ["0.001", "0.004", "0.001", "0.004"]
    assert groups_of(lr=rates, seed=["1"] * 4) == []
    assert groups_of(lr=rates, dropout=["0"] * 4, beta=["1.0"] * 4) == []


def test_simplex_groups__shares_one_of_them_tiny__are_a_mixture():
    found = groups_of(
        web=["0.5", "0.29", "0.7"],
        code=["0.49", "0.7", "0.3"],
        wiki=["0.01", "0.01", "0"],
    )
    assert found == [["web", "code", "wiki"]]


def test_simplex_groups__shares_in_percent_beside_other_numbers__are_one_mixture():
    found = groups_of(
        tokens=["1.2", "3.0", "6.0", "1.2"],
        **{
            "web %": ["48.4", "37.7", "40.5", "60.1"],
            "code %": ["12.5", "48.1", "37.4", "0.0"],
            "books %": ["39.1", "14.2", "22.0", "39.9"],
            "wiki %": ["0.0", "0.0", "0.2", "0.0"],
        },
        loss=["3.1", "3.2", "3.3", "2.9"],
        seed=["0", "1", "0", "1"],
    )
    assert found == [["web %", "code %", "books %", "wiki %"]]


def test_simplex_groups__two_mixtures_without_common_names__are_two():
    found = groups_of(
        web=["0.5", "0.3", "0.7"],
        code=["0.5", "0.7", "0.3"],
        lr=["0.1", "0.2", "0.1"],
        chat=["0.2", "0.8", "0.6"],
        math=["0.8", "0.2", "0.4"],
    )
    assert found == [["web", "code"], ["chat", "math"]]
