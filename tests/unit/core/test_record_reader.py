"""Whatever is in a record, it is read as declared or refused with one error."""

import json
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.core.printable import escape_controls
from slurm_restart.core.record_reader import (
    MAX_DEPTH,
    Argument,
    Range,
    parse_json,
    read_object,
    to_data,
    unknown_keys,
)
from slurm_restart.errors import RecordError, StateError


class Colour(Enum):
    RED = "red"
    ADJUST = "adjust"


@dataclass(frozen=True, kw_only=True)
class Inner:
    name: str
    unknown: dict[str, Any] = unknown_keys()


@dataclass(frozen=True, kw_only=True)
class Outer:
    count: int
    at: float = 0.0
    flag: bool = False
    colour: Colour = Colour.RED
    names: tuple[str, ...] = ()
    pair: tuple[int, int] = (0, 0)
    marks: dict[str, int] | None = None
    inner: Inner | None = None
    code: Annotated[int, Range(-1, 255)] | None = None
    path: Argument = ""
    backfilled: bool = False
    unknown: dict[str, Any] = unknown_keys()


GOOD = {
    "count": 1,
    "at": 2.5,
    "flag": True,
    "colour": "red",
    "names": ["a", "ü"],
    "pair": [1, 2],
    "marks": {"x": 1},
    "inner": {"name": "n", "newer": [None]},
    "code": -1,
    "path": "/a",
    "backfilled": True,
    "new": {"a": [1.5, "x"]},
}


def test_a_record_is_read_and_written_again_with_its_unknown_keys():
    record, left = read_object(Outer, GOOD)
    assert left == {}
    assert (record.pair, record.inner, record.colour) == ((1, 2), Inner(name="n"), Colour.RED)
    assert to_data(record) == GOOD


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"count": True}, "count"),
        ({"count": 1.0}, "count"),
        ({"count": "1"}, "count"),
        ({"count": None}, "count"),
        ({"count": -1}, "count"),
        ({"count": 10**12 + 1}, "count"),
        ({"at": True}, "at"),
        ({"at": float("nan")}, "at"),
        ({"at": 10**400}, "at"),
        ({"flag": 1}, "flag"),
        ({"colour": "RED"}, "colour"),
        ({"colour": ["red"]}, "colour"),
        ({"names": "a"}, "names"),
        ({"names": ["a", 1]}, "names[1]"),
        ({"names": ["\ud800"]}, "names[0]"),
        ({"pair": [1]}, "pair"),
        ({"marks": {"x": "y"}}, "marks.x"),
        ({"marks": []}, "marks"),
        ({"inner": {}}, "inner.name"),
        ({"inner": []}, "inner"),
        ({"code": 256}, "code"),
        ({"path": "a\0b"}, "path"),
        ({"names": ["x"] * 100_001}, "names"),
        ({"path": "x" * 131_073}, "path"),
        ({"new": float("inf")}, "new"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(change, key):
    with pytest.raises(RecordError) as caught:
        read_object(Outer, GOOD | change)
    assert caught.value.key == key
    assert isinstance(caught.value, StateError)


def test_an_error_says_where_it_is():
    with pytest.raises(RecordError) as caught:
        read_object(Outer, {})
    text = str(caught.value.at("f.jsonl", 3))
    assert text == "f.jsonl:3: count: expected a value, got nothing: the key is missing"


def test_former_names_are_read_under_todays():
    record, _ = read_object(Outer, {"count": 0, "settled": True, "colour": "refit"})
    assert (record.backfilled, record.colour) == (True, Colour.ADJUST)
    assert record.unknown == {}


def test_unknown_keys_are_kept_up_to_a_depth():
    deep: Any = 1
    for _ in range(MAX_DEPTH - 1):
        deep = [deep]
    assert read_object(Outer, {"count": 0, "new": deep})[0].unknown == {"new": deep}
    with pytest.raises(RecordError, match="levels of nesting"):
        read_object(Outer, {"count": 0, "new": [[deep]]})


@pytest.mark.parametrize(
    "text", ["[" * 10_000, '{"a":' * 10_000, "1" * 5000, "NaN", "", "\ufeff{}"]
)
def test_text_that_json_does_not_take(text):
    with pytest.raises(RecordError):
        parse_json(text)


@given(st.binary())
def test_any_bytes(data):
    try:
        read_object(Outer, parse_json(data))
    except RecordError as error:
        text = str(error)
    else:
        text = ""
    assert escape_controls(text) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON | st.dictionaries(st.sampled_from(sorted(GOOD)) | st.text(), JSON))
def test_any_json(data):
    try:
        record, _ = read_object(Outer, data)
    except RecordError:
        return
    again = json.loads(json.dumps(to_data(record)))
    assert read_object(Outer, again)[0] == record
