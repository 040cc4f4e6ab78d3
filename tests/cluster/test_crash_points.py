"""The plugin is interrupted at its calls of Slurm's commands, and every run comes to its right end.

These are the points of each kind; `contrib/crash-points` tries all of them.
"""

from collections.abc import Sequence

import pytest

from contrib.crash_points_parts.points import Mode, Point, points_of
from contrib.crash_points_parts.scenarios import SCENARIOS
from contrib.crash_points_parts.walk import Result, count_calls, walk
from contrib.testing.crash_points import When

JOBS = 7
"""Points at a time, each in a partition of its own."""
REQUEUE, UPDATE, CANCEL = "scontrol requeue *", "scontrol update *", "scancel *"


def tried(points: Sequence[Point], jobs: int = JOBS) -> list[Result]:
    """Try points: each has a result."""
    results: list[Result] = []
    walk(points, jobs, results.append)
    for result in results:
        if result.violations:
            print(result, result.details, sep="\n")  # noqa: T201 - shown where a test has failed
    assert len(results) == len(points)
    return results


def wrong(results: Sequence[Result]) -> list[str]:
    return [str(result) for result in results if result.violations]


def points(mode: Mode, *where: tuple[str, str]) -> list[Point]:
    """Return points before and after the first call of a scenario that fits a pattern."""
    return [
        Point(scenario=scenario, mode=mode, call=call, when=when)
        for scenario, call in where
        for when in When
    ]


@pytest.fixture(scope="module")
def undisturbed() -> tuple[dict[str, int], list[Result]]:
    """How often the hook calls Slurm's commands in each scenario, and the results."""
    return count_calls(list(SCENARIOS), Mode.HOOK, JOBS)


def test_without_an_interruption(undisturbed: tuple[dict[str, int], list[Result]]) -> None:
    calls, results = undisturbed
    assert wrong(results) == []
    assert set(calls) == set(SCENARIOS)
    # The reconciler may be faster than the hook, but not in all scenarios.
    assert any(calls.values())


def test_the_hook_is_killed_at_the_calls_of_a_failure(
    undisturbed: tuple[dict[str, int], list[Result]],
) -> None:
    calls, _ = undisturbed
    found = tried(points_of(["fail"], Mode.HOOK, calls, most=8))
    assert wrong(found) == []
    # How often the hook asks depends on what the reconciler has done already.
    assert any(result.reached for result in found)


def test_the_hook_is_killed_in_the_other_scenarios() -> None:
    chosen = points(
        Mode.HOOK,
        ("exclude", REQUEUE),
        ("exclude", UPDATE),
        ("shrink", UPDATE),
        ("wait", UPDATE),
        ("nodefail", UPDATE),
        ("budget", CANCEL),
        ("final", "1"),
    )
    results = tried(chosen)
    assert wrong(results) == []
    assert any(result.reached for result in results)


def test_the_helper_is_killed() -> None:
    results = tried(points(Mode.HELPER, ("fail", "1"), ("fail", UPDATE), ("exclude", UPDATE)))
    assert wrong(results) == []


def test_the_reconciler_is_killed_and_nothing_else_works() -> None:
    chosen = points(
        Mode.RECONCILER, ("fail", UPDATE), ("shrink", UPDATE), ("nodefail", "2"), ("budget", CANCEL)
    )
    results = tried(chosen)
    assert wrong(results) == []


def test_the_job_is_cancelled_while_the_hook_decides() -> None:
    results = tried(points(Mode.SCANCEL, ("fail", REQUEUE), ("fail", UPDATE), ("exclude", UPDATE)))
    assert wrong(results) == []
    assert any(result.reached for result in results)


def test_slurmctld_is_killed() -> None:
    chosen = [
        Point(scenario="fail", mode=Mode.SLURMCTLD, call=REQUEUE, when=When.AFTER),
        Point(scenario="fail", mode=Mode.SLURMCTLD, call="1", when=When.BEFORE),
        Point(scenario="shrink", mode=Mode.SLURMCTLD, call=UPDATE, when=When.AFTER),
        # The report is lost with the end, and only the hook was given it.
        Point(scenario="shrink", mode=Mode.SLURMCTLD, call="1", when=When.BEFORE),
        # The begin time is asked for seconds after it was written down.
        Point(scenario="wait", mode=Mode.SLURMCTLD, call=REQUEUE, when=When.BEFORE),
        # The job waits again for the attempt that has ended, judged or not.
        Point(scenario="shrink", mode=Mode.SLURMCTLD_START, call=UPDATE, when=When.AFTER),
        Point(scenario="wait", mode=Mode.SLURMCTLD_START, call="1", when=When.BEFORE),
    ]
    results = tried(chosen, jobs=len(chosen))
    assert wrong(results) == []
    assert any(result.reached for result in results)


def test_the_supervisor_is_killed() -> None:
    """Before it becomes the supervisor of the next attempt, and before the end is on record."""
    chosen = [
        Point(scenario="in-place", mode=mode, call=call, when=When.BEFORE)
        for mode in (Mode.SUPERVISOR, Mode.SUPERVISOR_ALONE)
        for call in ("exec", "rename end.json")
    ]
    results = tried(chosen, jobs=len(chosen))
    assert wrong(results) == []
    assert all(result.reached for result in results)
