"""Frozen records behave as frozen dataclasses do."""

import copy
import pickle
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace
from functools import cached_property

import pytest

from slurm_restart.frozen import frozen


@frozen
class Point:
    """Values by name, with defaults of both kinds."""

    x: int
    y: int = 2
    tags: list[str] = field(default_factory=list)
    note: str = field(default="", compare=False)

    @cached_property
    def total(self) -> int:
        """A value that is computed once."""
        return self.x + self.y


@frozen
class Named(Point):
    """A record with one more field than its base."""

    name: str = "n"


@frozen
class Positive:
    """A record that checks its values."""

    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise ValueError(f"value: expected at least 0, got {self.value}")


@dataclass(frozen=True, kw_only=True)
class Twin:
    """What the standard library makes of the same fields."""

    x: int
    y: int = 2
    tags: tuple[str, ...] = ()


@frozen
class Pair:
    """The fields of Twin."""

    x: int
    y: int = 2
    tags: tuple[str, ...] = ()


def test_values_and_defaults() -> None:
    point = Point(x=1)
    assert (point.x, point.y, point.tags, point.note) == (1, 2, [], "")
    assert Point(x=1).tags is not point.tags
    assert (Named(x=1).y, Named(x=1, name="m").name) == (2, "m")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "Point: missing x"),
        ({"x": 1, "z": 3}, "Point: unknown z"),
        ({"z": 3, "w": 4}, "Point: missing x; unknown w, z"),
    ],
)
def test_wrong_fields_are_named(given: dict[str, int], message: str) -> None:
    with pytest.raises(TypeError, match=f"^{message}$"):
        Point(**given)  # type: ignore[arg-type]


def test_values_only_by_name() -> None:
    with pytest.raises(TypeError):
        Pair(1)  # type: ignore[misc]


def test_no_value_can_be_changed() -> None:
    point = Point(x=1)
    with pytest.raises(FrozenInstanceError, match=r"Point\.x"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError, match=r"Point\.x"):
        del point.x
    assert point.x == 1


def test_equal_by_compared_fields_and_class() -> None:
    assert Point(x=1) == Point(x=1, note="another")
    assert Point(x=1) != Point(x=2)
    assert Point(x=1) != Named(x=1)
    assert Pair(x=1) != Twin(x=1)
    seen = Point(x=1)
    assert seen.total == 3
    assert seen == Point(x=1)  # a cached value is no field


def test_equal_records_are_one_key() -> None:
    assert len({Pair(x=1), Pair(x=1, y=2), Pair(x=3)}) == 2


def test_shown_as_a_dataclass() -> None:
    assert repr(Pair(x=1, tags=("a",))) == repr(Twin(x=1, tags=("a",))).replace("Twin", "Pair")


def test_the_standard_library_knows_it() -> None:
    assert replace(Pair(x=1), y=5) == Pair(x=1, y=5)
    assert asdict(Pair(x=1)) == asdict(Twin(x=1))
    assert [each.name for each in fields(Named)] == ["x", "y", "tags", "note", "name"]


def test_copied_and_sent_to_another_process() -> None:
    point = Point(x=1, tags=["a"])
    assert pickle.loads(pickle.dumps(point)) == point
    copied = copy.deepcopy(point)
    assert copied == point
    assert copied.tags is not point.tags


def test_values_are_checked() -> None:
    assert Positive(value=0).value == 0
    with pytest.raises(ValueError, match="expected at least 0"):
        Positive(value=-1)
    with pytest.raises(ValueError, match="expected at least 0"):
        replace(Positive(value=1), value=-1)
