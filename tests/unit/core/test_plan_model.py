"""Explore the model of Slurm exhaustively to a stated depth with the real plan."""

import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from slurm_restart.core.category import Category
from slurm_restart.core.fit_pending import PROLOG_HELD
from slurm_restart.core.job import JobState
from tests.unit.core.slurm_model import NODES, Bounds, World, next_worlds, plan, to_view

MAX_RESTARTS = 1
LATEST = 10_000
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


@dataclass(kw_only=True)
class Found:
    """What an exploration has visited."""

    at_rest: list[World]
    states: int
    steps: int
    depth: int


def explore(bounds: Bounds) -> Found:
    """Visit every state once, from the start on."""
    first = bounds.first()
    numbers = {first: 0}
    waiting = deque([(first, 0)])
    at_rest = []
    depth = steps = 0
    moves: list[tuple[int, int]] = []
    while waiting:
        world, level = waiting.popleft()
        check_always(world)
        assert world.now < LATEST, story(world, "does not come to rest")
        depth = max(depth, level)
        rests = True
        for other in next_worlds(world, bounds):
            steps += 1
            if other not in numbers:
                numbers[other] = len(numbers)
                waiting.append((other, level + 1))
            if not other.step.startswith(FAULTS):
                rests = False
                moves.append((numbers[world], numbers[other]))
        if rests:
            at_rest.append(world)
    check_rest_is_reached(len(numbers), moves, list(numbers))
    return Found(at_rest=at_rest, states=len(numbers), steps=steps, depth=depth)


def check_rest_is_reached(count: int, moves: list[tuple[int, int]], worlds: list[World]) -> None:
    """Check that without further faults no state comes again, so that every path comes to rest."""
    incoming = [0] * count
    following: list[list[int]] = [[] for _ in range(count)]
    for before, after in moves:
        incoming[after] += 1
        following[before].append(after)
    ready = [number for number in range(count) if not incoming[number]]
    removed = 0
    while ready:
        removed += 1
        for after in following[ready.pop()]:
            incoming[after] -= 1
            if not incoming[after]:
                ready.append(after)
    if removed < count:
        cycle = next(number for number in range(count) if incoming[number])
        pytest.fail(story(worlds[cycle], "comes again and again to this state"))


FAULTS = ("a person", "slurmctld is killed", "hook dies", "helper dies", "sweep dies")


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
        assert not free, story(world, "a person's hold was released")
        assert world.step != "job starts", story(world, "started although a person held it")
    if people[-1:] == ("exclude",) and slurm.state is JobState.PENDING and not world.kills:
        assert NODES[0] in slurm.exc, story(world, "a person's exclusion was removed")
    if world.step == "job starts":
        check_start(world)
    indexes = [end.index for end in world.history.ends]
    if not world.kills:
        assert len(indexes) == len(set(indexes)), story(world, "an end was judged twice")


def check_start(world: World) -> None:
    slurm, outcomes, people = world.slurm, world.outcomes, world.people
    assert world.before is not None
    assert not world.before.alive, story(world, "a second attempt beside the first")
    assert not world.cancelled, story(world, "started after a person cancelled it")
    assert not set(slurm.nodes) & (world.down | world.drained), story(world, "on a lost node")
    if people:
        return
    assert not FINAL & set(outcomes), story(world, "restarted after a final end")
    # Of the last attempt it is not known yet that it made no progress.
    unknown = outcomes[-1:] in (("no report",), ("node failure",))
    # A sweep cannot know an end as a node failure once the node is back.
    unseen = sum(end.category is Category.REQUEUED for end in world.history.ends)
    allowed = MAX_RESTARTS + unknown + world.kills + unseen
    assert failures_in_a_row(outcomes) <= allowed, story(world, "over the budget")
    if outcomes[-1:] == ("success",):
        assert world.kills, story(world, "run twice")
    if outcomes[-1:] == ("bad node",):
        excluded = {exclusion.node for exclusion in world.history.excluded(world.now)}
        bad = world.ran_on[len(outcomes) - 1][-1]
        expired = {each.node for each in world.history.exclusions if each.until <= world.now}
        over = bad in expired | world.history.readmitted_since(0)
        assert over or bad in excluded, story(world, "the blamed node is not excluded")
        assert over or bad not in slurm.nodes, story(world, "runs on the blamed node")


def check_at_rest(world: World) -> None:
    slurm, outcomes = world.slurm, world.outcomes
    if world.people:
        if "hold" in world.people and slurm.held:
            return
        if world.cancelled:
            assert slurm.state.is_final, story(world, "a cancelled job goes on")
            return
    held = slurm.held and slurm.state is JobState.PENDING
    if held and slurm.reason == PROLOG_HELD:
        failures = failures_in_a_row(outcomes) + len(world.drained)
        spent = failures > MAX_RESTARTS or len(world.drained) > 1
        assert spent, story(world, "not released after one prolog failure")
        return
    assert slurm.state.is_final, story(world, "waits for ever")
    if not world.kills and not world.people and not world.drained:
        check_counters(world)
    if outcomes[-1] == "success":
        assert slurm.state in (JobState.COMPLETED, JobState.CANCELLED), story(world, "lost")
        if slurm.state is JobState.CANCELLED:
            assert world.people, story(world, "a finished run is cancelled")
        if not world.hook_died and not world.kills and not world.people:
            assert world.dependent == "starts", story(world, "dependents lost")
        return
    final = set(outcomes) & FINAL or "gives up waiting" in slurm.comment
    over = failures_in_a_row(outcomes) > MAX_RESTARTS
    assert final or over, story(world, "a run that could be helped has ended")


def check_counters(world: World) -> None:
    """Check that each attempt's end is in the journal once, with the right number of failures."""
    ends = world.history.ends
    assert len(ends) == len(world.outcomes), story(world, "an end is not in the journal")
    for number, end in enumerate(ends):
        before = world.outcomes[: number + 1]
        failures = failures_in_a_row(before)
        # No progress of the last attempt: not known yet, or an end that does not count.
        uncounted = before[-1] in ("no report", "node failure", "config")
        expected = 0 if before[-1] == "success" else failures - uncounted
        assert end.failures == expected, story(world, f"end {number}: {expected} expected")


@pytest.mark.parametrize("name", CASES)
def test_every_path_of_the_model(name: str, record_testsuite_property: Callable[..., None]) -> None:
    found = explore(CASES[name])
    text = (
        f"{found.states} states, {found.steps} steps, depth {found.depth}, "
        f"{len(found.at_rest)} at rest"
    )
    record_testsuite_property(name, text)
    sys.stderr.write(f"{name}: {text}\n")
    assert found.at_rest
    for world in found.at_rest:
        check_at_rest(world)
        step = plan(to_view(world, CASES[name], "sweep"))
        assert not step.plan.operations(""), story(world, "not at rest")
