"""How often the search finds a faulty node, and how often a healthy one: seeded simulations.

The table in docs/explanation/node-search.md has the figures of 1,000 runs each:
`python -m tests.unit.core.test_node_search_rates` prints it. Here are their bounds.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from slurm_restart.core.node_search import NodeSearch
from slurm_restart.core.search_room import Room
from slurm_restart.core.slurm_operations import SearchMark

MAX_RESTARTS = 4
"""In a row without progress."""
MAX_ATTEMPTS = 60


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Runs on one cluster, and what makes their attempts fail."""

    nodes: int = 8
    wanted: int = 8
    least: int = 4
    faulty: int = 0
    rate: float = 1.0
    """How often an attempt fails on account of one faulty node."""
    own: float = 0.0
    """How often it fails wherever it runs."""
    later: int = 0
    """Nodes that become faulty one after the other, each when all before it are found."""
    busy: int = 0
    """Nodes that others use; those of a search take part where enough are idle."""
    stays: bool = False
    """Whether others use the same nodes all the time, healthy ones; else other ones each time."""
    other_ends: int = 0
    """Ends after progress, such as time limits, before the run has finished."""


@dataclass
class Result:
    """What became of a run."""

    faulty: set[str]
    finished: bool = False
    found: set[str] = field(default_factory=set)
    failures: int = 0
    attempts: int = 0
    size: int = 0


def simulate(setup: Setup, generator: random.Random) -> Result:
    """Simulate one run, with the real search; Slurm picks any of the nodes that it may use."""
    names = [f"csx{number}" for number in range(setup.nodes)]
    result = Result(faulty=set(generator.sample(names, setup.faulty)))
    healthy = generator.sample(sorted(set(names) - result.faulty), setup.later)
    search, row, ends = NodeSearch(), 0, 0
    held = generator.sample(sorted(set(names) - result.faulty), setup.busy)
    while result.attempts < MAX_ATTEMPTS and not result.finished and row <= MAX_RESTARTS:
        usable = frozenset(names) - result.found
        held = held if setup.stays else generator.sample(names, setup.busy)
        room = Room(
            usable=usable, wanted=setup.wanted, least=setup.least, busy=usable.intersection(held)
        )
        last_chance = row >= MAX_RESTARTS
        avoided = search.avoid(room, last_chance=last_chance, is_patient=not setup.stays)
        free = sorted(usable - set(avoided.nodes if avoided else ()))
        idle = frozenset(free) - room.busy
        # Where others use the same nodes all the time, no attempt waits for them to the end.
        enough = len(idle) >= setup.least
        if enough and (setup.stays or (avoided and avoided.is_tested_on(idle))):
            free = sorted(idle)
        nodes = generator.sample(free, min(len(free), setup.wanted))
        bad = len(result.faulty.intersection(nodes))
        failed = generator.random() < 1 - (1 - setup.rate) ** bad
        failed = failed or generator.random() < setup.own
        search = search.after(frozenset(nodes), failed=failed, at_once=True)
        result.found |= {search.found} if search.found else set()
        if healthy and result.faulty <= result.found:
            result.faulty.add(healthy.pop())
        result.attempts, result.size = result.attempts + 1, len(nodes)
        row, result.failures = (row + 1 if failed else 0), result.failures + failed
        if not failed and not (avoided and avoided.mark is SearchMark.OPEN):
            ends += 1
            result.finished = ends > setup.other_ends
    return result


@dataclass(frozen=True, kw_only=True)
class Rates:
    """The results of many runs, as shares; `found` and `most_failures` of those with a search."""

    finished: float
    searched: float
    """Runs with two failures or more."""
    found: float
    """Of these, runs that excluded all faulty nodes."""
    blamed: float
    """Runs that excluded a healthy node."""
    most_failures: int
    most_attempts: int
    attempts: float
    size: float


def rates(setup: Setup, runs: int) -> Rates:
    """Simulate so many runs; the same arguments give the same."""
    generator = random.Random(20251129)
    results = [simulate(setup, generator) for _ in range(runs)]
    searched = [each for each in results if each.failures > 1]
    return Rates(
        finished=sum(each.finished for each in results) / runs,
        searched=len(searched) / runs,
        found=sum(each.faulty <= each.found for each in searched) / max(1, len(searched)),
        blamed=sum(bool(each.found - each.faulty) for each in results) / runs,
        most_failures=max(each.failures for each in results),
        most_attempts=max(each.attempts for each in results),
        attempts=sum(each.attempts for each in results) / runs,
        size=sum(each.size for each in results) / runs,
    )


SHRINKS, FREE_4, FREE_2 = {"wanted": 8}, {"wanted": 4}, {"wanted": 6, "least": 6}
ALMOST_FREE = {"wanted": 7}


@pytest.mark.parametrize("room", [SHRINKS, FREE_4, FREE_2, ALMOST_FREE, {"least": 1}], ids=str)
def test_a_node_that_breaks_every_attempt_is_found_in_four_failures(room: dict[str, int]) -> None:
    """Unless the run gets by without it after the first failure."""
    found = rates(Setup(**room, faulty=1), 400)
    assert (found.finished, found.found, found.blamed) == (1.0, 1.0, 0.0)
    assert found.most_failures <= 4


@pytest.mark.parametrize("stays", [False, True])
@pytest.mark.parametrize(("nodes", "busy"), [(9, 1), (8, 2), (10, 4)])
def test_it_is_found_as_soon_on_the_nodes_that_others_leave(
    nodes: int, busy: int, stays: bool
) -> None:
    found = rates(Setup(nodes=nodes, busy=busy, stays=stays, faulty=1), 400)
    assert (found.finished, found.found, found.blamed) == (1.0, 1.0, 0.0)
    # As many as in a run of all nodes that are left for good, if these are six.
    assert found.most_failures <= (5 if stays and nodes - busy < 8 else 4)
    assert found.most_attempts <= 13
    others = Setup(nodes=nodes, busy=busy, stays=stays, own=0.5)
    assert rates(others, 400).blamed <= 0.01


@pytest.mark.parametrize("room", [SHRINKS, FREE_4, FREE_2], ids=str)
@pytest.mark.parametrize("rate", [0.2, 0.35, 0.5, 0.65, 0.8])
@pytest.mark.parametrize("whose", ["a node's", "the run's own"])
def test_an_intermittent_fault_excludes_a_healthy_node_in_one_run_of_a_hundred_at_most(
    room: dict[str, int], rate: float, whose: str
) -> None:
    fault = Setup(**room, faulty=1, rate=rate) if whose == "a node's" else Setup(**room, own=rate)
    assert rates(fault, 1000).blamed <= 0.01


def test_a_node_that_becomes_faulty_after_the_first_is_found_is_found_too() -> None:
    found = rates(Setup(faulty=1, later=1, other_ends=3), 400)
    assert (found.finished, found.found, found.blamed) == (1.0, 1.0, 0.0)


@pytest.mark.parametrize(("room", "share"), [(SHRINKS, 0.3), (ALMOST_FREE, 0.2), (FREE_4, 0.6)])
def test_of_two_faulty_nodes_no_healthy_one_is_excluded_and_runs_end_on_others(
    room: dict[str, int], share: float
) -> None:
    found = rates(Setup(**room, faulty=2), 400)
    assert found.finished >= share
    assert found.found < 0.01
    assert found.blamed == 0.0


@pytest.mark.parametrize("room", [SHRINKS, FREE_4], ids=str)
def test_what_fails_everywhere_excludes_nothing(room: dict[str, int]) -> None:
    found = rates(Setup(**room, own=1.0), 100)
    assert (found.finished, found.blamed) == (0.0, 0.0)


def _rows() -> Iterator[tuple[str, str, Setup]]:
    for title, room in (
        ("8 of 8, at least 4", SHRINKS),
        ("7 of 8, at least 4", ALMOST_FREE),
        ("6 of 8", FREE_2),
        ("4 of 8", FREE_4),
    ):
        yield title, "one faulty node", Setup(**room, faulty=1)
        for rate in (0.2, 0.5, 0.8):
            yield title, f"one, in {rate:.0%} of its attempts", Setup(**room, faulty=1, rate=rate)
        for own in (0.2, 0.5, 0.8):
            yield title, f"the run itself, in {own:.0%}", Setup(**room, own=own)
        yield title, "two faulty nodes", Setup(**room, faulty=2)
    longer = Setup(faulty=1, rate=0.5, other_ends=3)
    yield "8 of 8, at least 4, 3 more ends", "one, in 50% of its attempts", longer
    yield "8 of 8, at least 4, 3 more ends", "the run itself, in 50%", Setup(own=0.5, other_ends=3)
    again = Setup(faulty=1, later=1, other_ends=3)
    yield "8 of 8, at least 4, 3 more ends", "one faulty node, later a second one", again
    yield "8 of 8, at least 6", "one faulty node", Setup(least=6, faulty=1)
    yield "16 of 16, at least 8", "one faulty node", Setup(nodes=16, wanted=16, least=8, faulty=1)


def _print_table() -> None:
    for title, what, setup in _rows():
        found = rates(setup, 1000)
        share = f"{found.found:.0%}" if setup.faulty and found.searched else "-"
        print(  # noqa: T201 - a table for the documentation
            f"| {title} | {what} | {found.finished:.0%} | {found.searched:.0%} | {share} | "
            f"{found.blamed:.1%} | {found.most_failures} | {found.attempts:.1f}, "
            f"{found.most_attempts} | {found.size:.1f} |"
        )


if __name__ == "__main__":
    _print_table()
