"""Explore the model of Slurm exhaustively to a stated depth with the real plan."""

import sys
from collections.abc import Callable

import pytest

from slurm_restart.core.job import JobState
from tests.unit.core.slurm_model import Bounds, World, next_worlds, plan, to_view

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
}


def explore(bounds: Bounds) -> tuple[list[World], int, int, int]:
    """Visit every state once; return the states at rest, the number of states and the depth."""
    first = World()
    seen = {first}
    stack = [first]
    at_rest = []
    depth = steps = 0
    while stack:
        world = stack.pop()
        check_always(world)
        depth = max(depth, len(world.trail))
        following = list(next_worlds(world, bounds))
        steps += len(following)
        moved = [other for other in following if not other.trail[-1].startswith(FAULTS)]
        if not moved:
            at_rest.append(world)
        for other in following:
            if other not in seen:
                seen.add(other)
                stack.append(other)
        assert world.now < LATEST, story(world, "does not come to rest")
    return at_rest, len(seen), steps, depth


FAULTS = ("a person", "slurmctld is killed", "hook dies", "helper dies", "sweep dies")


def story(world: World, what: str) -> str:
    return "\n".join([what, *world.trail, str(world)])


def check_always(world: World) -> None:
    slurm = world.slurm
    running = slurm.state is JobState.RUNNING
    if world.cancelled and running:
        assert world.trail[-1] != "job starts", story(world, "started after a person cancelled it")
    counted = failures = 0
    for outcome in world.outcomes:
        if outcome in ("failure", "bad node", "node failure"):
            failures += 1
        else:
            failures = 0
        counted = max(counted, failures)
    if world.trail and world.trail[-1] == "job starts" and "requeue" not in world.people:
        assert not FINAL & set(world.outcomes), story(world, "restarted after a final end")
        over = counted > MAX_RESTARTS
        assert not over or "node failure" in world.outcomes, story(world, "over the budget")
        if world.outcomes[-1:] == ("success",):
            assert world.kills, story(world, "run twice")
        if world.outcomes[-1:] == ("bad node",) and "clear" not in world.people:
            bad = world.ran_on[len(world.outcomes) - 1][-1]
            assert bad not in slurm.nodes, story(world, "runs on the blamed node")


def check_at_rest(world: World) -> None:
    slurm, outcomes = world.slurm, world.outcomes
    if world.people:
        if "hold" in world.people and slurm.held:
            return
        if world.cancelled:
            assert slurm.state.is_final, story(world, "a cancelled job goes on")
            return
    assert slurm.state.is_final, story(world, "waits for ever")
    if outcomes[-1] == "success":
        assert slurm.state in (JobState.COMPLETED, JobState.CANCELLED), story(world, "lost")
        if slurm.state is JobState.CANCELLED:
            assert world.people, story(world, "a finished run is cancelled")
        never_left = not world.crashes and not world.kills and not world.people
        if never_left:
            assert world.dependent == "starts", story(world, "dependents lost")
        return
    final = set(outcomes) & FINAL
    streak = 0
    for outcome in outcomes:
        streak = 0 if outcome in ("success", "progress") else streak + 1
    assert final or streak > MAX_RESTARTS, story(world, "a run that could be helped has ended")


@pytest.mark.parametrize("name", CASES)
def test_every_path_of_the_model(name: str, record_testsuite_property: Callable[..., None]) -> None:
    at_rest, states, steps, depth = explore(CASES[name])
    found = f"{states} states, {steps} steps, depth {depth}, {len(at_rest)} at rest"
    record_testsuite_property(name, found)
    sys.stderr.write(f"{name}: {found}\n")
    assert at_rest
    for world in at_rest:
        check_at_rest(world)
        step = plan(to_view(world, CASES[name], "sweep"))
        assert not step.plan.operations(""), story(world, "not at rest")
