"""Sealed files: what was written comes back, and what was changed is told."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autollm.core.errors import SetupError
from autollm.core.sealed import (
    SEAL,
    file_sha256,
    parse_sealed,
    read_sealed,
    write_sealed,
)

NAMES = st.text(max_size=6).filter(lambda name: name != SEAL)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6).filter(
        lambda name: name not in (SEAL, "schema")
    ),
    VALUES,
    max_size=4,
)
MANY = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
REMEDY = "make it again."


def read(path):
    return read_sealed(str(path), SetupError, REMEDY)


@MANY
@given(fields=FIELDS)
def test_sealed__any_fields__come_back_as_they_were(tmp_path, fields):
    path = tmp_path / "x.json"
    write_sealed(str(path), fields)
    assert read(path) == json.loads(json.dumps(fields))
    raw = json.loads(path.read_text())
    assert len(raw[SEAL]) == 16


@MANY
@given(fields=FIELDS, data=st.data())
def test_sealed__one_byte_changed__is_told_or_changes_nothing(
    tmp_path, fields, data
):
    """Whatever a flipped bit makes of a file, no other fields come out of it."""
    path = tmp_path / "x.json"
    write_sealed(str(path), {"kept": 1.5, **fields})
    whole = path.read_bytes()
    wanted = read(path)
    place = data.draw(st.integers(0, len(whole) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    spoiled = bytearray(whole)
    spoiled[place] ^= bit
    try:
        found = parse_sealed(bytes(spoiled), "x.json", SetupError, REMEDY)
    except SetupError as refused:
        assert "x.json is damaged" in str(refused) and REMEDY in str(refused)
        return
    # the name of the seal itself may be hit: then the file is as an older version's
    if SEAL in json.loads(bytes(spoiled)):
        assert found == wanted


@MANY
@given(fields=FIELDS, share=st.floats(0, 0.999))
def test_sealed__cut_anywhere__is_damaged(tmp_path, fields, share):
    path = tmp_path / "x.json"
    write_sealed(str(path), {"kept": 1, **fields})
    data = path.read_bytes().rstrip()
    with pytest.raises(SetupError, match="is damaged"):
        parse_sealed(data[: int(share * len(data))], "x", SetupError, REMEDY)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_write_sealed__number_that_json_has_not__is_refused_and_writes_nothing(
    tmp_path, number
):
    path = tmp_path / "x.json"
    write_sealed(str(path), {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_sealed(str(path), {"a": number})
    assert read(path) == {"a": 1}


@pytest.mark.parametrize(("found", "newest"), [(2, 1), (99, 3)])
def test_read_sealed__of_a_newer_version__names_both_schemas(
    tmp_path, found, newest
):
    path = tmp_path / "x.json"
    write_sealed(str(path), {"schema": found})
    with pytest.raises(SetupError) as refused:
        read_sealed(str(path), SetupError, REMEDY, newest)
    said = str(refused.value)
    assert f"schema {found}" in said and f"up to {newest}" in said
    assert "pip install --upgrade autollm" in said


def test_file_sha256__any_bytes__is_the_known_digest(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    assert file_sha256(str(path)) == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    assert file_sha256(f"file://{path}") == file_sha256(str(path))
    with pytest.raises(FileNotFoundError):
        file_sha256(str(tmp_path / "absent"))
