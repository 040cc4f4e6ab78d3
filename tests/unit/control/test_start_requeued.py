"""The helper starts a requeued job after a margin, and slurmctld does not wait for the helper."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slurm_restart.control import start_requeued as module
from slurm_restart.control.controller import Controller
from slurm_restart.control.site import HookLimits
from slurm_restart.control.start_requeued import start_requeued
from slurm_restart.core.job import Job, JobFlag, JobState
from tests.unit.control.conftest import Clock, FakeSlurm, log_of, put
from tests.unit.core import facts

RECORD = facts.comment_record()
COMPLETING = facts.job(flags=frozenset({JobFlag.COMPLETING}))  # as 22.05 shows it
REQUEUED = replace(COMPLETING, state=JobState.PENDING)  # as later releases show it
PENDING = facts.pending(eligible_time=facts.SUBMITTED + 121)
LIMITS = HookLimits(margin=3.0, helper_timeout=90.0)


@pytest.fixture
def helper(controller: Controller) -> Controller:
    """A controller with a long margin, and a restart of job 7 that was due long ago."""
    put(controller, facts.ended(start_at=facts.SUBMITTED, nodes=facts.NODES[:3]))
    return replace(controller, site=replace(controller.site, limits=LIMITS))


def requested_at(slurm: FakeSlurm, clock: Clock) -> list[float]:
    """Collects when each request is made."""
    moments: list[float] = []
    slurm.on_request = lambda _request: moments.append(clock.now)
    return moments


@pytest.mark.parametrize("completing", [COMPLETING, REQUEUED])
def test_the_job_is_started_a_margin_after_it_is_pending(
    helper: Controller, slurm: FakeSlurm, clock: Clock, completing: Job
) -> None:
    moments, pending_at = requested_at(slurm, clock), []
    show = slurm.job

    def job(job_id: int) -> Job:
        shown = show(job_id)
        if not shown.completing:
            pending_at.append(clock.now)
        return shown

    slurm.job = job  # type: ignore[method-assign]
    slurm.show(completing, completing, completing, PENDING)
    start_requeued(helper, 7, RECORD)
    assert slurm.fields("StartTime") == ["now"]
    assert moments == [pending_at[0] + LIMITS.margin]


def test_the_queries_become_rarer(helper: Controller, slurm: FakeSlurm, clock: Clock) -> None:
    slurm.show(*[COMPLETING] * 20, PENDING)
    start_requeued(helper, 7, RECORD)
    polls = clock.slept[: clock.slept.index(LIMITS.margin)]
    assert polls[0] == 0.1
    assert polls == sorted(polls)
    assert max(polls) == 2.0


def test_a_job_that_stays_completing_is_left_to_the_reconciler(
    helper: Controller, slurm: FakeSlurm, clock: Clock
) -> None:
    began = clock.now
    slurm.show(COMPLETING)
    start_requeued(helper, 7, RECORD)
    assert slurm.requests == []
    assert LIMITS.helper_timeout <= clock.now - began < LIMITS.helper_timeout + 3
    assert "job 7: not PENDING in time: left to the reconciler" in log_of(helper)


@pytest.mark.parametrize("state", [JobState.CANCELLED, JobState.RUNNING, JobState.FAILED])
def test_a_job_that_is_not_pending_is_left_alone(
    helper: Controller, slurm: FakeSlurm, state: JobState
) -> None:
    slurm.show(COMPLETING, facts.job(state=state))
    start_requeued(helper, 7, RECORD)
    assert slurm.requests == []


@pytest.mark.parametrize("later", [facts.job(state=JobState.CANCELLED), REQUEUED])
def test_a_job_that_changes_during_the_margin_is_left_alone(
    helper: Controller, slurm: FakeSlurm, later: Job
) -> None:
    slurm.show(PENDING, later)
    start_requeued(helper, 7, RECORD)
    assert slurm.requests == []


def test_a_later_start_is_set_and_the_job_started_when_it_is_due(
    helper: Controller, slurm: FakeSlurm, clock: Clock
) -> None:
    due = int(clock.now) + 30
    put(helper, facts.ended(submit_time=facts.SUBMITTED + 1, attempt=1, start_at=due))
    at_due = replace(PENDING, eligible_time=due)
    slurm.show(PENDING, PENDING, PENDING, at_due)
    moments = requested_at(slurm, clock)
    start_requeued(helper, 7, RECORD)
    assert slurm.fields("StartTime") == ["now+27", "now"]
    assert moments[0] == due - 27
    assert due < moments[1] < due + 1


def test_a_start_after_the_helpers_end_is_left_to_the_reconciler(
    helper: Controller, slurm: FakeSlurm, clock: Clock
) -> None:
    due = int(clock.now) + 300
    put(helper, facts.ended(submit_time=facts.SUBMITTED + 1, attempt=1, start_at=due))
    slurm.show(PENDING)
    start_requeued(helper, 7, RECORD)
    assert slurm.fields("StartTime") == ["now+297"]
    assert clock.now < due


def test_exclusions_go_to_later_phases(
    helper: Controller, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    propagated: list[Any] = []
    monkeypatch.setattr(module, "propagate_exclusions", lambda *what: propagated.append(what))
    slurm.show(PENDING)
    start_requeued(helper, 7, RECORD)
    assert propagated == [(helper, PENDING, RECORD)]


# --- the process of its own ----------------------------------------------------------------------

DETACHING = """
import json, os, sys, time
from pathlib import Path
from slurm_restart.control.start_requeued import detach

inherited = os.open(os.devnull, os.O_RDONLY)
os.set_inheritable(inherited, True)
group = os.getpgrp()
if detach():
    def target(descriptor):
        try:
            return os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            return None
    facts = {
        "session": os.getsid(0) == os.getpid(),
        "group": os.getpgrp() != group,
        "descriptors": [target(n) for n in (0, 1, 2)],
        "inherited": target(inherited),
    }
    path = Path(sys.argv[1])
    path.with_suffix(".part").write_text(json.dumps(facts))
    path.with_suffix(".part").replace(path)
    while not Path(sys.argv[2]).exists():
        time.sleep(0.01)
else:
    print("the hook has ended", flush=True)
"""


@pytest.fixture
def detached(tmp_path: Path) -> dict[str, Any]:
    """What a helper says of itself; the hook has ended while the helper was alive."""
    answer, leave = tmp_path / "answer.json", tmp_path / "leave"
    try:
        # Its output is a pipe: this returns only when no process holds it any more.
        done = subprocess.run(
            [sys.executable, "-I", "-c", DETACHING, str(answer), str(leave)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        assert done.stdout == "the hook has ended\n"
        deadline = time.monotonic() + 300
        while not answer.exists():
            assert time.monotonic() < deadline, "the helper has not reported"
            time.sleep(0.01)
        return dict(json.loads(answer.read_text()))
    finally:
        leave.touch()


def test_the_helper_has_a_session_of_its_own(detached: dict[str, Any]) -> None:
    assert (detached["session"], detached["group"]) == (True, True)


def test_the_helper_keeps_none_of_the_hooks_descriptors(detached: dict[str, Any]) -> None:
    assert detached["descriptors"] == [os.devnull] * 3
    assert detached["inherited"] is None
