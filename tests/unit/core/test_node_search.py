"""The search for a faulty node: what ends say, what is left out, and what is found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.core.node_search import (
    MAX_ATTEMPTS,
    MIN_FAILURES,
    MIN_PREDICTED,
    Avoidance,
    NodeSearch,
)
from slurm_restart.core.search_room import Room
from slurm_restart.core.slurm_operations import SearchMark

EIGHT = "abcdefgh"


def after(*attempts: str) -> NodeSearch:
    """The search after attempts: `-ab` failed on a and b, `!ab` at once, `+ab` ran on."""
    search = NodeSearch()
    for attempt in attempts:
        how, nodes = attempt[0], frozenset(attempt[1:])
        search = search.after(nodes, failed=how != "+", at_once=how == "!")
    return search


def suspects(*attempts: str) -> str:
    return "".join(sorted(after(*attempts).suspects))


def avoid(
    *attempts: str,
    usable: str = EIGHT,
    wanted: int = 8,
    least: int = 4,
    busy: str = "",
    last_chance: bool = False,
    is_patient: bool = True,
) -> Avoidance | None:
    room = Room(usable=frozenset(usable), wanted=wanted, least=least, busy=frozenset(busy))
    search = after(*attempts)
    return search.avoid(room, last_chance=last_chance, is_patient=is_patient)


def left_out(*attempts: str, **room: object) -> str:
    found = avoid(*attempts, **room)  # type: ignore[arg-type]
    return "" if found is None else "".join(found.nodes)


# --- suspects ------------------------------------------------------------------------------------


def test_suspects_took_part_in_every_failure_and_in_nothing_that_ran_on_since() -> None:
    assert suspects("-abcd") == "abcd"
    assert suspects("+abcd", "-abcd") == "abcd"
    assert suspects("-abcd", "-cdef") == "cd"
    assert suspects("-abcd", "-cdef", "+cg") == "d"


def test_a_single_failure_is_forgotten_once_its_nodes_have_run() -> None:
    assert after("-ab", "+abc") == NodeSearch()
    assert suspects("-ab", "+abc", "-cd") == "cd"


@pytest.mark.parametrize("attempts", [("-ab", "-cd"), ("-ab", "-ab", "+ab"), ("-ab", "-bc", "+b")])
def test_a_search_without_a_suspect_is_over(attempts: tuple[str, ...]) -> None:
    """It is the run's own fault then, or several nodes'; no node is found any more."""
    assert after(*attempts).over
    assert suspects(*attempts, "-ab", "-ab") == ""
    assert after(*attempts, *["-a", "+b"] * 10).found is None


# --- several faulty nodes ------------------------------------------------------------------------

TWO = ("-abcdefgh", "-abcdefgh", "+efgh", "-abefgh", "-bcdefgh", "-acdefgh")
"""a and c are faulty, so that no single node explains all."""


def test_once_it_is_over_the_run_leaves_the_nodes_on_which_it_has_only_failed() -> None:
    found = avoid(*TWO)
    assert found is not None
    assert ("".join(found.nodes), found.mark) == ("abcd", SearchMark.ON)
    assert found.reason == (
        "avoids a, b, c, d (a guess: attempts without a known cause failed there, and no single "
        "node explains all failures)"
    )
    assert left_out(*TWO, "+efgh", "+defgh") == "abc"
    assert left_out(*TWO, usable="abcdefghij", wanted=6) == "abcd"
    assert left_out(*TWO, "-efij", usable="abcdefghij", wanted=4) == "abcdij"
    assert left_out(*TWO, least=5) == ""


def test_once_cleared_nodes_fail_the_nodes_are_not_the_reason() -> None:
    assert left_out(*TWO, "-efgh") == ""
    assert left_out(*TWO, "-efgh", "-abcd", "+efgh", "-abcd") == ""
    # Where nothing has run on since the first failure, all nodes are alike.
    assert left_out("-abcd", "-efgh", usable="abcdefghij", least=2) == ""
    assert left_out("-abcd", "-efgh", "+abcd", "-efgh", usable="abcdefghij", least=2) == ""


def test_before_the_last_failure_that_is_left_doubtful_nodes_stay_out_too() -> None:
    """Where not all can, every other one: two faulty nodes are hardly on the same side then."""
    assert left_out(*TWO[:4], last_chance=True) == "abcd"
    apart = ("-abcdefgh", "-abcdefgh", "-efgh", "-abcdh")
    assert left_out(*apart) == "h"
    assert left_out(*apart, last_chance=True) == "aceh"
    assert left_out(*apart, last_chance=True, least=6) == "ah"


# --- what the next attempt leaves out ------------------------------------------------------------


def test_after_one_failure_at_once_half_are_left_out_if_others_replace_them() -> None:
    assert left_out("!abcd", wanted=4) == "ab"
    assert left_out("!abcd", usable="abcde", wanted=4) == "a"
    assert left_out("!abcdefgh") == ""
    assert left_out("!a", wanted=1, least=1) == "a"
    assert left_out("!abcd", "+cdef", wanted=4) == "ab"
    assert left_out("!abcd", "+cdef", usable="bcdef", wanted=4) == "b"
    assert left_out("-abcd", wanted=4) == ""


@pytest.mark.parametrize(
    ("attempts", "reason"),
    [
        (["!a"], "avoids a (a guess: an attempt failed at once there without a known cause)"),
        (
            ["!a", "+b"],
            (
                "avoids a (a guess: an attempt failed at once there without a known cause, and "
                "others ran elsewhere)"
            ),
        ),
    ],
)
def test_the_reason_says_that_it_is_a_guess(attempts: list[str], reason: str) -> None:
    found = avoid(*attempts, wanted=1, least=1)
    assert found is not None
    assert (found.reason, found.mark) == (reason, None)


def test_each_further_failure_or_success_halves_the_suspects() -> None:
    first = ("-abcdefgh", "-abcdefgh")
    assert left_out(*first) == "abcd"
    assert left_out(*first, "+efgh") == "ab"
    assert left_out(*first, "+efgh", "+cdefgh") == "a"
    assert left_out(*first, "-efgh") == "efg"  # from the third failure on only a quarter is tested
    assert left_out(*first, "-efgh", "-abcdh") == "h"


def test_a_last_suspect_is_tested_until_the_failures_suffice() -> None:
    first = ("-abcdefgh", "-abcdefgh", "+efgh", "+cdefgh", "+bcdefgh")
    assert left_out(*first) == ""
    assert left_out(*first, last_chance=True) == "a"
    third = (*first, "-abcdefgh")
    assert left_out(*third) == "a"
    assert left_out(*third, "+bcdefgh") == ""
    assert left_out(*third, "+bcdefgh", "-abcdefgh", "+bcdefgh") == "a"


def test_before_the_last_failure_that_is_left_all_suspects_stay_out() -> None:
    assert left_out("-abcd", "-abcd", wanted=4, last_chance=True) == "abcd"


@pytest.mark.parametrize(("least", "expected"), [(8, ""), (7, "a"), (6, "ab"), (1, "abcd")])
def test_the_size_never_falls_below_the_minimum(least: int, expected: str) -> None:
    assert left_out("-abcdefgh", "-abcdefgh", least=least) == expected


def test_only_nodes_that_the_job_could_have_are_left_out() -> None:
    assert left_out("-ab", "-ab", usable="bcdef", wanted=2, least=2) == "b"
    assert left_out("-abcd", "-abcd", usable="bcdefgh", wanted=4) == "bc"


@given(
    runs=st.lists(
        st.tuples(st.sets(st.sampled_from(EIGHT), min_size=1), st.booleans()), max_size=9
    ),
    usable=st.sets(st.sampled_from(EIGHT), min_size=1),
    busy=st.sets(st.sampled_from(EIGHT)),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    last_chance=st.booleans(),
    is_patient=st.booleans(),
)
def test_only_nodes_of_failures_are_left_out_and_enough_nodes_stay(
    runs: list[tuple[set[str], bool]],
    usable: set[str],
    busy: set[str],
    sizes: tuple[int, int],
    last_chance: bool,
    is_patient: bool,
) -> None:
    search = NodeSearch()
    for nodes, failed in runs:
        search = search.after(frozenset(nodes), failed=failed, at_once=True)
    room = Room(
        usable=frozenset(usable), wanted=max(sizes), least=min(sizes), busy=frozenset(busy & usable)
    )
    found = search.avoid(room, last_chance=last_chance, is_patient=is_patient)
    if found is not None:
        free = usable - busy
        most = last_chance or search.over or search.failures >= MIN_FAILURES - 1
        waits = is_patient and (most or len(free) == room.least)
        if len(free) >= room.least and not waits:
            assert len(free.difference(found.nodes)) >= room.least
        assert set(found.nodes) <= usable & search.doubtful
        assert search.suspects <= search.doubtful
        assert len(usable) - len(found.nodes) >= min(*sizes, len(usable))
        assert found.reason


# --- nodes that other jobs hold ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("busy", "least", "expected"),
    [
        ("", 4, "abcd"),
        # Of nine nodes, one that is no suspect is busy: eight can be had now.
        ("i", 4, "abcd"),
        ("i", 5, "abc"),
        ("i", 7, "a"),
        # It cannot leave out any, and waits for the busy node as any other attempt would.
        ("i", 8, "a"),
        # A suspect that is busy is left out first.
        ("h", 4, "abch"),
        ("gh", 6, "agh"),
        ("gh", 7, "gh"),
        # Too few can be had now, whatever is left out.
        ("ghi", 7, "ab"),
    ],
)
def test_what_is_left_out_lets_the_attempt_start_without_busy_nodes(
    busy: str, least: int, expected: str
) -> None:
    first = ("-abcdefgh", "-abcdefgh")
    assert left_out(*first, usable="abcdefghi", busy=busy, least=least) == expected


def test_after_one_failure_no_busy_node_is_to_replace_another() -> None:
    assert left_out("!abcd", wanted=4, busy="efgh") == ""
    assert left_out("!abcd", wanted=4, busy="efg") == "a"
    assert left_out("!abcd", wanted=4, busy="aefg") == "a"
    # Too few are left for the whole size, with which the restart waits as it would without a guess.
    assert left_out("!abcd", wanted=4, least=2, usable="abcd", busy="d") == ""


@pytest.mark.parametrize(
    ("failures", "last_chance", "is_patient", "expected"),
    [
        (2, False, True, "ab"),
        (2, True, True, "abc"),
        (2, True, False, "ab"),
        (3, False, True, "efg"),
        (3, False, False, "ef"),
        (3, True, True, "efg"),
        (3, True, False, "ef"),
    ],
)
def test_where_a_further_failure_counts_it_waits_to_leave_out_more_but_not_for_ever(
    failures: int, last_chance: bool, is_patient: bool, expected: str
) -> None:
    attempts = ("-abcdefgh", "-abcdefgh", "-efgh")[:failures]
    found = avoid(
        *attempts,
        usable="abcdefghi",
        busy="i",
        least=6,
        last_chance=last_chance,
        is_patient=is_patient,
    )
    assert found is not None
    assert "".join(found.nodes) == expected


def test_doubtful_nodes_stay_out_until_it_no_longer_waits() -> None:
    assert left_out(*TWO, busy="h", is_patient=True) == "abcd"
    assert left_out(*TWO, busy="h", is_patient=False) == "abc"
    assert left_out(*TWO, busy="abh", is_patient=False) == "abc"
    assert left_out(*TWO, busy="a", is_patient=False) == "abcd"


@pytest.mark.parametrize("is_patient", [True, False])
def test_a_last_suspect_that_is_busy_is_still_the_last_suspect(is_patient: bool) -> None:
    first = ("-abcdefgh", "-abcdefgh", "+efgh", "+cdefgh", "+bcdefgh")
    assert left_out(*first, busy="a", is_patient=is_patient) == ""
    assert left_out(*first, "-abcdefgh", busy="a", is_patient=is_patient) == "a"


# --- whether an attempt ends at its first checkpoint for the search ------------------------------

FOUND = (
    "-abcdefgh", "-abcdefgh", "+efgh", "+cdefgh", "+bcdefgh",
    "-abcdefgh", "+bcdefgh", "-abcdefgh", "+bcdefgh", "+bcdefgh", "+bcdefgh",
)  # fmt: skip


@pytest.mark.parametrize(
    ("attempts", "mark"),
    [(1, None), (2, SearchMark.OPEN), (5, SearchMark.ON), (10, SearchMark.ON)],
)
def test_an_attempt_ends_for_the_search_as_long_as_it_has_not_finished(
    attempts: int, mark: SearchMark | None
) -> None:
    """After the fifth, a success on all nodes would end the search; after the tenth, it finds."""
    found = avoid(*FOUND[:attempts])
    assert (None if found is None else found.mark) is mark


def test_where_there_are_more_nodes_a_test_may_not_get_the_suspect() -> None:
    found = avoid("-ab", "-ab", "+b", usable="abcd", wanted=2)
    assert found is not None
    assert (found.nodes, found.mark) == ((), SearchMark.OPEN)


def test_a_search_without_end_costs_no_attempts_for_ever() -> None:
    endless = ("-abcd", "-abcd", *["+efgh"] * (MAX_ATTEMPTS - 2))
    last, more = avoid(*endless[:-1], wanted=4), avoid(*endless, wanted=4)
    assert [each and each.mark for each in (last, more)] == [SearchMark.OPEN, SearchMark.ON]


# --- what is found -------------------------------------------------------------------------------


def test_a_node_is_found_after_enough_failures_and_predictions() -> None:
    assert [after(*FOUND[:count]).found for count in (8, 10, 11)] == [None, None, "a"]
    assert after(*FOUND).evidence == (
        "search: all 4 attempts on it failed without a known cause, all 7 without it ran on; it "
        "alone predicted 6 outcomes, 6 suffice"
    )
    assert (MIN_FAILURES, MIN_PREDICTED) == (4, 6)
    assert left_out(*FOUND) == "a"


def test_fewer_failures_never_suffice() -> None:
    three = ("-ab", "-ac", "-ad")
    assert after(*three, *["+bcd"] * 9).found is None
    assert after(*three, "-ae", *["+bcd"] * 4).found == "a"


def test_where_every_attempt_fails_nothing_is_found() -> None:
    assert after(*["-a"] * 20).found == "a"  # a node that is alone
    assert after(*["-ab"] * 20).found is None


def test_once_a_node_is_left_out_another_can_be_found() -> None:
    """What ended before says nothing about the others."""
    assert after(*FOUND, "+bcdefgh") == NodeSearch()
    assert suspects(*FOUND, "-bcdefgh") == "bcdefgh"
    assert left_out(*FOUND, "-bcdefgh", "-bcdefgh", usable="bcdefgh") == "bcd"
    second = [attempt.replace("b", "") for attempt in FOUND]
    second = [attempt.replace("a", "b") for attempt in second]
    assert after(*FOUND, *second[:-2]).found is None
    assert after(*FOUND, *second[:-1]).found == "b"
    # Where it cannot be left out, it stays the only suspect.
    assert after(*FOUND, "-abcdefgh").found == "a"
    assert after(*FOUND, "+abcdefgh").found is None


@pytest.mark.parametrize("against", ["+abcdefgh", "-bcdefgh"])
def test_one_outcome_against_it_clears_a_node(against: str) -> None:
    assert after(*FOUND[:10], against, *FOUND).found is None


# --- NaN -----------------------------------------------------------------------------------------


def nan_search(*nodes: str) -> NodeSearch:
    """The search after NaN on these nodes, again and again."""
    search = NodeSearch()
    for names in nodes:
        search = search.after(frozenset(names), failed=True, nan=True)
    return search


def test_after_nan_that_repeats_all_suspects_are_left_out() -> None:
    """It is mostly the run's own fault, which other nodes show at once."""
    room = Room(usable=frozenset("abcdefgh"), wanted=4, least=2)
    first = nan_search("abcd").avoid(room, last_chance=False)
    assert first is None  # the check is on, on the same nodes
    again = nan_search("abcd", "abcd").avoid(room, last_chance=False)
    assert again is not None
    assert "".join(again.nodes) == "abcd"
    assert nan_search("abcd", "abcd", "efgh").over


def test_where_too_few_others_are_left_it_takes_the_halves_in_turn() -> None:
    room = Room(usable=frozenset("abcd"), wanted=4, least=2)
    again = nan_search("abcd", "abcd").avoid(room, last_chance=False)
    assert again is not None
    assert "".join(again.nodes) == "ab"
    third = nan_search("abcd", "abcd", "cd").avoid(room, last_chance=False)
    assert third is not None
    assert "".join(third.nodes) == "cd"
    # What ran on clears its nodes, and the search goes on by halves.
    found = nan_search("abcd", "abcd").after(frozenset("cd"), failed=False)
    assert found.suspects == frozenset("ab")
    halved = found.avoid(room, last_chance=False)
    assert halved is not None
    assert "".join(halved.nodes) == "a"


def test_after_nan_that_repeats_no_busy_node_is_needed() -> None:
    """Five could be left out of nine, but then a busy one would be the fourth of those needed."""
    room = Room(usable=frozenset("abcdefghi"), wanted=8, least=4, busy=frozenset("b"))
    found = nan_search("acdefghi", "acdefghi").avoid(room, last_chance=False)
    assert found is not None
    assert "".join(found.nodes) == "acde"


# --- an attempt on idle nodes alone ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempts", "idle", "is_tested"),
    [
        # a to d are left out, e to h are to take part.
        (("-abcdefgh", "-abcdefgh"), "efgh", True),
        (("-abcdefgh", "-abcdefgh"), "hi", True),
        (("-abcdefgh", "-abcdefgh"), "ij", False),
        # The last suspect is left out after a failure, and is to take part again after it ran on.
        (("-abcdefgh", "-abcd", "-ab", "-a"), "efgh", True),
        (("-abcdefgh", "-ab", "+bcde"), "bcde", False),
        (("-abcdefgh", "-ab", "+bcde"), "abcd", True),
    ],
)
def test_an_attempt_on_idle_nodes_tests_a_suspect_that_is_to_take_part(
    attempts: tuple[str, ...], idle: str, is_tested: bool
) -> None:
    found = avoid(*attempts, usable=EIGHT + "ij")
    assert found is not None
    assert found.is_tested_on(frozenset(idle)) is is_tested


@pytest.mark.parametrize(
    ("attempts", "mark"),
    [(("!abcdefgh",), None), (("-abcd", "+ef", "-efgh"), SearchMark.ON)],
)
def test_an_attempt_that_goes_on_after_its_first_checkpoint_is_no_test(
    attempts: tuple[str, ...], mark: SearchMark | None
) -> None:
    found = avoid(*attempts, usable=EIGHT + "ij", wanted=4)
    assert found is not None
    assert (found.mark, found.is_tested_on(frozenset(EIGHT))) == (mark, False)
