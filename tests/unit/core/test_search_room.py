"""How many nodes can be left out, and which."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.core.search_room import Room

ROOM = Room(usable=frozenset("abcdefgh"), wanted=6, least=3)


@pytest.mark.parametrize(
    ("names", "count", "shrinks", "busy", "expected"),
    [
        ("dcba", 3, True, "", "abc"),
        ("abcdefgh", 8, True, "", "abcde"),
        ("abcdefgh", 8, False, "", "ab"),
        # Busy nodes come first, and of the others enough stay.
        ("abcdefgh", 4, True, "gh", "abgh"),
        ("abcdefgh", 8, True, "gh", "abcgh"),
        ("abcdef", 8, True, "gh", "abc"),
        ("abcdefgh", 1, True, "gh", "g"),
        # The size stays, and does not come to need the busy node.
        ("abcdefgh", 8, False, "h", "ah"),
        ("abcdefgh", 8, False, "gh", "gh"),
        ("abcdef", 8, False, "gh", ""),
        ("abcdefgh", 8, False, "fgh", "fg"),
    ],
)
def test_so_many_are_left_out_that_enough_stay(
    names: str, count: int, shrinks: bool, busy: str, expected: str
) -> None:
    room = Room(usable=ROOM.usable, wanted=6, least=3, busy=frozenset(busy))
    assert "".join(room.pick(names, count, shrinks=shrinks)) == expected


def test_there_may_be_too_few_nodes_already() -> None:
    room = Room(usable=frozenset("abc"), wanted=6, least=4, busy=frozenset("a"))
    assert room.pick("abc", 3, shrinks=True) == ()


def test_what_is_left_out_is_no_longer_there() -> None:
    room = Room(usable=frozenset("abcd"), wanted=2, least=1, busy=frozenset("ab"))
    left = Room(usable=frozenset("cd"), wanted=2, least=1)
    assert room.without("ab") == left


@given(
    usable=st.sets(st.sampled_from("abcdefgh")),
    busy=st.sets(st.sampled_from("abcdefgh")),
    names=st.sets(st.sampled_from("abcdefgh")),
    count=st.integers(0, 9),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    shrinks=st.booleans(),
)
def test_what_could_start_now_can_still_start(
    usable: set[str],
    busy: set[str],
    names: set[str],
    count: int,
    sizes: tuple[int, int],
    shrinks: bool,
) -> None:
    room = Room(
        usable=frozenset(usable),
        wanted=max(sizes),
        least=min(sizes),
        busy=frozenset(busy & usable),
    )
    found = room.pick(names & usable, count, shrinks=shrinks)
    assert len(found) <= count
    assert set(found) <= names & usable
    needed = min(sizes) if shrinks else max(sizes)
    for there in (usable, usable - busy):
        assert len(there.difference(found)) >= min(needed, len(there))
