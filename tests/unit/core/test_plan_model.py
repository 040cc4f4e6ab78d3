"""Explore the model of Slurm exhaustively to a stated depth with the real plan."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import pytest

from slurm_restart.core.category import Category
from slurm_restart.core.fit_pending import PROLOG_HELD
from slurm_restart.core.job import JobState
from tests.unit.core.slurm_model import NODES, Bounds, World, next_worlds, plan, to_view

MAX_RESTARTS = 1
LATEST = 20_000
FINAL = frozenset({"config"})

CASES = {
    "two crashes": Bounds(outcomes=("success", "failure", "config"), crashes=2, attempts=2),
    "two crashes, from 24.11": Bounds(
        outcomes=("success", "bad node"), crashes=2, attempts=2, shows_base=True
    ),
    "progress": Bounds(outcomes=("success", "progress"), crashes=0, attempts=2),
    "node failures": Bounds(outcomes=("node failure", "failure"), crashes=1, attempts=1),
    "people": Bounds(
        outcomes=("success", "bad node", "config"),
        crashes=0,
        acts=("cancel", "hold", "requeue", "clear"),
        attempts=2,
    ),
    "slurmctld killed": Bounds(
        outcomes=("success", "failure", "config"), kills=1, crashes=0, attempts=2
    ),
    "Python fails, and csx-epilog requeues": Bounds(
        outcomes=("success", "config"), fronts=1, crashes=1, attempts=2
    ),
    "Python fails twice": Bounds(
        outcomes=("success", "failure", "config"), fronts=2, crashes=0, attempts=2
    ),
    "Python fails, from 24.11": Bounds(
        outcomes=("failure", "config"),
        fronts=1,
        crashes=0,
        attempts=1,
        acts=("cancel", "hold"),
        shows_base=True,
    ),
    "RequeueExit": Bounds(
        outcomes=("success", "failure", "config"),
        crashes=1,
        attempts=3,
        requeue_exit=frozenset({1}),
    ),
    "prolog failures": Bounds(
        outcomes=("success", "failure"), crashes=1, attempts=2, prolog_failures=2
    ),
    "nodes return": Bounds(
        outcomes=("success", "bad node", "node failure"), crashes=0, attempts=2, returns=1
    ),
    "too few nodes": Bounds(
        outcomes=("success", "node failure"),
        crashes=0,
        attempts=2,
        min_nodes=2,
        returns=1,
        give_up_after=2000,
    ),
    "an exclusion expires": Bounds(
        outcomes=("success", "bad node"), crashes=0, attempts=2, min_nodes=2, exclude_for=600
    ),
    "a crash and slurmctld killed": Bounds(
        outcomes=("success", "failure", "config"), kills=1, crashes=1, attempts=2
    ),
    "RequeueExit and slurmctld killed, from 24.11": Bounds(
        outcomes=("success", "failure", "config"),
        kills=1,
        crashes=0,
        attempts=2,
        requeue_exit=frozenset({1}),
        shows_base=True,
    ),
    "two acts of people": Bounds(
        outcomes=("success", "failure", "config"),
        crashes=0,
        attempts=2,
        acts=("cancel", "hold", "requeue"),
        max_acts=2,
    ),
    "people and nodes": Bounds(
        outcomes=("success", "bad node"),
        crashes=0,
        attempts=2,
        acts=("exclude", "clear", "hold", "cancel"),
        max_acts=2,
    ),
}


CHECKED: Counter[str] = Counter()
"""How often each invariant was checked."""


@dataclass(kw_only=True)
class Found:
    """What an exploration has visited."""

    at_rest: list[World]
    states: int
    steps: int
    depth: int
    paths: int
    """Ways from the start to a state in which nothing is left to do."""


def require(invariant: str, holds: object, world: World) -> None:
    """Fail with the story of a state in which an invariant does not hold."""
    CHECKED[invariant] += 1
    if not holds:
        pytest.fail(story(world, f"violated: {invariant}"))


def explore(bounds: Bounds) -> Found:
    """Visit every state once, from the start on."""
    first = bounds.first()
    numbers = {first: 0}
    waiting = deque([(first, 0)])
    at_rest = []
    depth = 0
    moves: list[tuple[int, int]] = []
    while waiting:
        world, level = waiting.popleft()
        check_always(world)
        require("everything comes to rest", world.now < LATEST, world)
        depth = max(depth, level)
        rests = True
        for other in next_worlds(world, bounds):
            if other not in numbers:
                numbers[other] = len(numbers)
                waiting.append((other, level + 1))
            moves.append((numbers[world], numbers[other]))
            rests = rests and other.step.startswith(FAULTS)
        if rests:
            at_rest.append(world)
    ways = count_ways(moves, list(numbers))
    return Found(
        at_rest=at_rest,
        states=len(numbers),
        steps=len(moves),
        depth=depth,
        paths=sum(ways[numbers[world]] for world in at_rest),
    )


def count_ways(moves: list[tuple[int, int]], worlds: list[World]) -> list[int]:
    """Return in how many ways each state is reached from the first.

    Check that no state comes again, so that every path comes to rest. The number of faults is
    limited, and no other step takes one back: faults alone make no cycle.
    """
    count = len(worlds)
    incoming = [0] * count
    following: list[list[int]] = [[] for _ in range(count)]
    for before, after in moves:
        incoming[after] += 1
        following[before].append(after)
    ready = [number for number in range(count) if not incoming[number]]
    ways = [int(number == 0) for number in range(count)]
    while ready:
        before = ready.pop()
        for after in following[before]:
            ways[after] += ways[before]
            incoming[after] -= 1
            if not incoming[after]:
                ready.append(after)
    again = next((number for number in range(count) if incoming[number]), 0)
    require("no state comes again", not incoming[again], worlds[again])
    return ways


FAULTS = (
    "a person",
    "slurmctld is killed",
    "csx-epilog",
    "hook dies",
    "helper dies",
    "sweep dies",
)


def story(world: World, what: str) -> str:
    return "\n".join([what, *world.trail, str(world), *map(str, world.history.ends)])


def failures_in_a_row(outcomes: Sequence[str]) -> int:
    """Return how many attempts without progress there were since the last progress."""
    count = 0
    for outcome in outcomes:
        count = 0 if outcome in ("success", "progress") else count + 1
    return count


def check_always(world: World) -> None:
    slurm, people = world.slurm, world.people
    if people[-1:] == ("hold",) and not world.kills:
        free = slurm.state is JobState.PENDING and not slurm.held and not slurm.completing
        require("a person's hold is not released", not free, world)
        require("no start while a person holds the job", world.step != "job starts", world)
    if people[-1:] == ("exclude",) and slurm.state is JobState.PENDING and not world.kills:
        require("a person's exclusion stays", NODES[0] in slurm.exc, world)
    if world.step == "job starts":
        check_start(world)
    indexes = [end.index for end in world.history.ends]
    if not world.kills:
        require("each end is judged once", len(indexes) == len(set(indexes)), world)


def check_start(world: World) -> None:
    slurm, outcomes, people = world.slurm, world.outcomes, world.people
    assert world.before is not None
    require("no attempt runs twice", not world.before.alive, world)
    require("no start after a person's cancellation", not world.cancelled, world)
    require("no start on a lost node", not set(slurm.nodes) & (world.down | world.drained), world)
    if people:
        return
    require("no restart after a final end", not FINAL & set(outcomes), world)
    # Of the last attempt it is not known yet that it made no progress.
    unknown = outcomes[-1:] in (("no report",), ("node failure",))
    # A sweep cannot know an end as a node failure once the node is back.
    unseen = sum(end.category is Category.REQUEUED for end in world.history.ends)
    allowed = MAX_RESTARTS + unknown + world.kills + unseen
    require("no restart beyond the budget", failures_in_a_row(outcomes) <= allowed, world)
    if outcomes[-1:] == ("success",):
        require("no restart after success", world.kills, world)
    if outcomes[-1:] == ("bad node",):
        excluded = {exclusion.node for exclusion in world.history.excluded(world.now)}
        bad = world.ran_on[len(outcomes) - 1][-1]
        expired = {each.node for each in world.history.exclusions if each.until <= world.now}
        over = bad in expired | world.history.readmitted_since(0)
        require("a blamed node is excluded", over or bad in excluded, world)
        require("no start on a blamed node", over or bad not in slurm.nodes, world)


def check_at_rest(world: World) -> None:
    slurm, outcomes = world.slurm, world.outcomes
    if world.people:
        if "hold" in world.people and slurm.held:
            return
        if world.cancelled:
            require("a cancelled job has ended", slurm.state.is_final, world)
            return
    held = slurm.held and slurm.state is JobState.PENDING
    if held and slurm.reason == PROLOG_HELD:
        failures = failures_in_a_row(outcomes) + len(world.drained)
        spent = failures > MAX_RESTARTS or len(world.drained) > 1
        require("one failed prolog is released", spent, world)
        return
    require("no job waits for ever", slurm.state.is_final, world)
    if not world.kills and not world.people and not world.drained:
        check_counters(world)
    if outcomes[-1] == "success":
        kept = slurm.state in (JobState.COMPLETED, JobState.CANCELLED)
        require("no finished run is lost", kept, world)
        if slurm.state is JobState.CANCELLED:
            require("no finished run is cancelled", world.people, world)
        if not world.hook_died and not world.kills and not world.people:
            require("dependents start", world.dependent == "starts", world)
        return
    final = set(outcomes) & FINAL or "gives up waiting" in slurm.comment
    over = failures_in_a_row(outcomes) > MAX_RESTARTS
    require("no run ends that may be restarted", final or over, world)


def check_counters(world: World) -> None:
    """Check that each attempt's end is in the journal once, with the right number of failures."""
    ends = world.history.ends
    require("each end is in the journal", len(ends) == len(world.outcomes), world)
    for number, end in enumerate(ends):
        before = world.outcomes[: number + 1]
        failures = failures_in_a_row(before)
        # No progress of the last attempt: not known yet, or an end that does not count.
        uncounted = before[-1] in ("no report", "node failure", "config")
        expected = 0 if before[-1] == "success" else failures - uncounted
        require("the counters are exact", end.failures == expected, world)


@pytest.mark.parametrize("name", CASES)
def test_every_path_of_the_model(name: str, record_property: Callable[[str, object], None]) -> None:
    CHECKED.clear()
    found = explore(CASES[name])
    assert found.at_rest
    for world in found.at_rest:
        check_at_rest(world)
        step = plan(to_view(world, CASES[name], "sweep"))
        require("at rest nothing is asked for", not step.plan.operations(""), world)
    invariants = ", ".join(f"{text} ({CHECKED[text]:,})" for text in sorted(CHECKED))
    # tests/conftest.py shows it at the end of the run.
    record_property(
        "model",
        f"{name}: {found.states:,} states, {found.steps:,} steps, depth {found.depth}, "
        f"{Decimal(found.paths):.3g} paths to {len(found.at_rest):,} states at rest; invariants, "
        f"and how often each was checked: {invariants}",
    )


def test_a_violated_invariant_is_told_with_its_story() -> None:
    world = CASES["progress"].first()
    with pytest.raises(pytest.fail.Exception, match="violated: no job is lost"):
        require("no job is lost", None, world)
