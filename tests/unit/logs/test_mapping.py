"""Mappings of the catalogue and of a home: which one reads what."""

import pytest

from autollm.core.errors import MappingError, UnknownNameError
from autollm.core.mappings.mapping import parse_mapping
from autollm.lab.families import FAMILIES
from autollm.logs.choosing.catalog import (
    MappingChoice,
    builtin_mappings,
    load_mapping,
)
from tests.unit.core.test_mapping import MINIMAL


def test_builtin_mappings__all__are_complete_and_distinct():
    mappings = builtin_mappings()
    assert {"steplaw", "lab-pretraining"} <= set(mappings)
    assert len({m.mapping_id for m in mappings.values()}) == len(mappings)
    for name, mapping in mappings.items():
        assert mapping.source == name and mapping.files and mapping.cost.flops


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda f: f.name)
def test_builtin_mappings__lab_family__says_what_the_family_declares(family):
    mapping = builtin_mappings()[f"lab-{family.name}"]
    assert [(k.name, k.scale, k.role) for k in mapping.knobs] == [
        (k.name, k.scale, k.role) for k in family.space.knobs
    ]
    for said, declared in zip(mapping.knobs, family.space.knobs, strict=True):
        if declared.scale in ("log", "linear", "integer"):
            assert (
                said.window
                == pytest.approx(
                    (declared.levels[0], declared.levels[-1]), rel=1e-9
                )
                and said.step == declared.step
            )
        elif declared.scale != "simplex":
            assert list(said.values) == list(declared.levels)
    assert {q.name for q in mapping.fidelity} == set(
        family.fidelity(family.levels[0])
    )
    ends = [
        (mapping.objective, family.objective),
        *zip(mapping.secondary, family.secondary, strict=True),
    ]
    assert [(q.name, q.direction, q.unit) for q, _ in ends] == [
        (m.name, m.direction or said.direction, m.unit) for said, m in ends
    ]


def test_load_mapping__misspelt_name__says_what_is_near():
    with pytest.raises(UnknownNameError, match="Did you mean 'steplaw'"):
        load_mapping("step-law")
    with pytest.raises(MappingError, match="cannot read"):
        load_mapping("nowhere.toml")


def test_load_mapping__file__equals_its_text(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL)
    assert (
        load_mapping(path).mapping_id == parse_mapping(MINIMAL, "x").mapping_id
    )
    assert load_mapping("steplaw") is builtin_mappings()["steplaw"]


def test_mapping_choice__name_spelt_out__comes_before_a_pattern_and_spaces_are_underscores():
    mine = parse_mapping(MINIMAL.replace("*.csv", "my sweep *.csv"), "m")
    wide = parse_mapping(MINIMAL.replace('"mine"', '"wide"'), "m")
    choice = MappingChoice(own=(wide, mine))
    assert (
        choice.for_file("dense_lr_bs_loss.csv", "csv").source == "steplaw"
        and choice.for_file("other.csv", "csv") is wide
    )
    assert (
        MappingChoice(own=(mine,)).for_file("my_sweep_7.csv.gz", "csv") is mine
    )


def test_mapping_choice__named__hides_the_built_in_ones():
    mine = parse_mapping(MINIMAL.replace("*.csv", "runs*.csv"), "m")
    choice = MappingChoice(mine)
    assert choice.for_source("steplaw") is None
    assert choice.for_file("folder/runs_1.csv", "csv") is mine
    assert choice.for_file("dense_lr_bs_loss.csv", "csv") is None
    assert (
        MappingChoice().for_file("dense_lr_bs_loss.csv", "csv").source
        == "steplaw"
    )
