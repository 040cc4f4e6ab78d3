"""The one helper advances each job as soon as it has left COMPLETING, and leaves none behind."""

import os
import subprocess
import sys
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_restart.control import requeue_helper
from slurm_restart.control.controller import Controller
from slurm_restart.control.guarded_advance import Advanced
from slurm_restart.control.requeue_helper import RequeueHelper
from slurm_restart.control.site import HookLimits
from slurm_restart.control.waiting_jobs import HELPER, WaitingJobs
from slurm_restart.errors import SlurmError, SlurmUnavailableError
from tests.unit.control.conftest import CLUSTER, Clock, log_of

MARGIN, PATIENCE = 3.0, 90.0
State = tuple[str, int | None]


class Scene:
    """A helper with jobs that wait for it.

    Attributes:
        states: what Slurm shows; a list is shown one after the other, the last one for good.
        results: what each job's next steps give, in order; None afterwards.
        advanced: the jobs that were advanced, and when.
        queries: the jobs that Slurm was asked for, by one call each.
    """

    def __init__(
        self, controller: Controller, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site = controller.site
        limits = HookLimits(margin=MARGIN, helper_timeout=PATIENCE)
        self.controller = replace(controller, site=replace(site, limits=limits))
        self.clock = clock
        self.waiting = WaitingJobs(state_dir=site.state_dir, cluster=CLUSTER)
        self.states: dict[int, list[State]] = {}
        self.results: dict[int, list[Advanced]] = {}
        self.advanced: list[tuple[int, float]] = []
        self.queries: list[set[int]] = []
        self.before_query: Callable[[], None] = lambda: None
        controller.slurm.states = self._states  # type: ignore[method-assign]
        monkeypatch.setattr(requeue_helper, "guarded_advance", self._advance)

    def _states(self, job_ids: Collection[int]) -> dict[int, State]:
        self.queries.append(set(job_ids))
        self.before_query()
        shown = {job_id: self.states[job_id] for job_id in job_ids if job_id in self.states}
        return {
            job_id: states.pop(0) if len(states) > 1 else states[0]
            for job_id, states in shown.items()
        }

    def _advance(self, _controller: Controller, job_id: int, *, one_step: bool) -> Advanced:
        assert one_step
        self.advanced.append((job_id, self.clock.now))
        results = self.results.get(job_id)
        return results.pop(0) if results else Advanced(done=True)

    def add(self, job_id: int, *states: str, submit_time: int | None = None) -> None:
        """Let a job wait that shows these states."""
        self.waiting.add(job_id)
        os.utime(self.waiting.folder / str(job_id), (self.clock.now, self.clock.now))
        if states:
            self.states[job_id] = [(state, submit_time) for state in states]

    def run(self) -> None:
        """Run a helper until it ends; it leaves the lock."""
        lock = self.waiting.try_lock()
        assert lock is not None
        RequeueHelper(self.controller, self.waiting).run(lock)
        again = self.waiting.try_lock()
        assert again is not None
        os.close(again)
        assert self.waiting.added() == {}


@pytest.fixture
def scene(controller: Controller, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Scene:
    scene = Scene(controller, clock, monkeypatch)
    scene.waiting.folder.mkdir(parents=True)
    return scene


def test_without_jobs_it_ends(scene: Scene) -> None:
    scene.run()
    assert scene.queries == []


def test_a_pending_job_is_advanced_when_a_full_second_and_the_margin_have_passed(
    scene: Scene,
) -> None:
    pending_since = int(scene.clock.now)
    scene.add(7, "COMPLETING", "COMPLETING", "PENDING", submit_time=pending_since)
    scene.run()
    [(job_id, at)] = scene.advanced
    assert job_id == 7
    assert pending_since + 1 + MARGIN <= at < pending_since + 1 + MARGIN + 0.2


@pytest.mark.parametrize("state", ["RUNNING", "FAILED", "CANCELLED", "COMPLETED"])
def test_a_job_in_another_state_is_advanced_at_once(scene: Scene, state: str) -> None:
    began = scene.clock.now
    scene.add(7, state, submit_time=int(began))
    scene.run()
    assert scene.advanced == [(7, began)]


def test_all_jobs_are_asked_for_by_one_call_at_a_time(scene: Scene) -> None:
    scene.add(7, "COMPLETING", "COMPLETING", "FAILED")
    scene.add(8, "FAILED")
    scene.add(9, "COMPLETING", "FAILED")
    scene.run()
    assert scene.queries == [{7, 8, 9}, {7, 9}, {7}]
    assert [job_id for job_id, _ in scene.advanced] == [8, 9, 7]


def test_a_job_is_advanced_again_at_the_time_it_names(scene: Scene) -> None:
    began = scene.clock.now
    scene.add(7, "FAILED")
    scene.results[7] = [
        Advanced(done=True, look_again=began + 20),
        Advanced(done=True, look_again=began),  # never at once
        Advanced(done=True),
    ]
    scene.run()
    assert [at for _, at in scene.advanced] == pytest.approx([began, began + 20, began + 20.1])
    assert len(scene.queries) == 1


def test_a_job_that_is_added_meanwhile_is_served(scene: Scene) -> None:
    scene.add(7, "COMPLETING", "COMPLETING", "FAILED")
    scene.before_query = lambda: scene.add(8, "FAILED") if len(scene.queries) == 2 else None
    scene.run()
    assert sorted(job_id for job_id, _ in scene.advanced) == [7, 8]


def test_a_job_that_is_added_while_another_one_is_not_due_is_served_soon(scene: Scene) -> None:
    began = scene.clock.now
    scene.add(7, "FAILED")
    scene.results[7] = [Advanced(done=True, look_again=began + 50)]
    sleep = scene.clock.sleep

    def sleep_and_add(seconds: float) -> None:
        if len(scene.clock.slept) == 3:
            scene.add(8, "FAILED")
            scene.before_query = lambda: added.append(scene.clock.now)
        sleep(seconds)

    added: list[float] = []
    scene.clock.sleep = sleep_and_add  # type: ignore[method-assign]
    scene.run()
    assert added[0] < began + 10
    assert [job_id for job_id, _ in scene.advanced] == [7, 8, 7]


def test_a_job_that_is_added_before_the_lock_is_free_is_served(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a hook that found the lock taken, and ended."""
    scene.add(7, "FAILED")
    close, closed = os.close, []

    def add_and_close(descriptor: int) -> None:
        if not closed:
            scene.add(8, "FAILED")
        closed.append(descriptor)
        close(descriptor)

    monkeypatch.setattr(requeue_helper.os, "close", add_and_close)
    scene.run()
    assert [job_id for job_id, _ in scene.advanced] == [7, 8]


def test_another_helper_takes_over_what_was_added_last(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.add(7, "FAILED")
    lock = scene.waiting.try_lock()
    assert lock is not None
    close, others = os.close, []

    def add_and_close(descriptor: int) -> None:
        close(descriptor)
        if descriptor == lock and not others:
            scene.add(8, "FAILED")
            others.append(scene.waiting.try_lock())

    monkeypatch.setattr(requeue_helper.os, "close", add_and_close)
    RequeueHelper(scene.controller, scene.waiting).run(lock)
    assert [job_id for job_id, _ in scene.advanced] == [7]
    assert set(scene.waiting.added()) == {8}
    close(others[0] or 0)


def test_a_job_that_slurm_does_not_know_is_dropped(scene: Scene) -> None:
    scene.add(7)
    scene.run()
    assert scene.advanced == []


def test_a_job_that_cannot_be_advanced_is_left_to_the_reconciler(scene: Scene) -> None:
    scene.add(7, "FAILED")
    scene.add(8, "COMPLETING", "FAILED")
    scene.results[7] = [Advanced(done=False)]
    scene.run()
    assert [job_id for job_id, _ in scene.advanced] == [7, 8]


def test_a_job_that_stays_completing_is_left_to_the_reconciler(scene: Scene) -> None:
    began = scene.clock.now
    scene.add(7, "COMPLETING")
    scene.run()
    assert scene.advanced == []
    assert PATIENCE <= scene.clock.now - began < PATIENCE + 3
    assert "job 7: not started in time: left to the reconciler" in log_of(scene.controller)


def test_a_begin_time_after_the_time_limit_is_the_reconcilers(scene: Scene) -> None:
    began = scene.clock.now
    scene.add(7, "FAILED")
    scene.results[7] = [Advanced(done=True, look_again=began + 5000)]
    scene.run()
    assert scene.clock.now - began < PATIENCE + 3
    assert len(scene.advanced) == 1


def test_the_queries_become_rarer_until_a_job_changes(scene: Scene) -> None:
    scene.add(7, *["COMPLETING"] * 40, "FAILED")
    scene.add(8, *["COMPLETING"] * 12, "FAILED")
    scene.run()
    pauses = scene.clock.slept
    assert pauses[0] == pytest.approx(0.15)
    assert max(pauses) == 2.0
    assert pauses[11] == 2.0
    assert pauses[12] == 0.1


def test_the_pauses_are_long_where_slurmctld_is_slow(scene: Scene) -> None:
    def take_a_while() -> None:
        scene.clock.now += 0.5

    scene.add(7, *["COMPLETING"] * 3, "FAILED")
    scene.before_query = take_a_while
    scene.run()
    assert scene.clock.slept[:3] == [4.5, 4.5, 4.5]


def test_a_slurm_that_does_not_answer_is_asked_again(scene: Scene) -> None:
    def fail() -> None:
        if len(scene.queries) < 3:
            raise SlurmUnavailableError("no answer")

    scene.add(7, "FAILED")
    scene.before_query = fail
    scene.run()
    assert [job_id for job_id, _ in scene.advanced] == [7]
    assert scene.clock.slept == [2.0, 2.0, 0.1][: len(scene.clock.slept)]
    assert log_of(scene.controller).count("helper: no answer") == 2


def test_a_slurm_that_never_answers_ends_the_helper(scene: Scene) -> None:
    def fail() -> None:
        raise SlurmError("no")

    scene.add(7, "FAILED")
    scene.before_query = fail
    scene.run()
    assert scene.advanced == []
    assert len(scene.queries) <= PATIENCE / 2 + 2


# --- as a program --------------------------------------------------------------------------------


def test_the_program_serves_the_cluster_it_is_given(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    stub = tmp_path / "bin" / "squeue"
    stub.parent.mkdir()
    stub.write_text('#!/bin/sh\necho "$*" >>"${0%/*}/../asked"\n')
    stub.chmod(0o755)
    site.write_text(f'state_dir = "{tmp_path}"\nslurm_bin = "{stub.parent}"\n')
    site.chmod(0o644)
    tmp_path.chmod(0o755)
    waiting = WaitingJobs(state_dir=tmp_path, cluster="c")
    waiting.add(7)
    waiting.add(8)
    lock = waiting.try_lock()
    assert lock is not None
    arguments = [sys.executable, "-I", "-c", HELPER, str(site), "c", str(lock)]
    subprocess.run(arguments, check=True, pass_fds=(lock,), timeout=300)
    os.close(lock)
    assert waiting.added() == {}
    [asked] = (tmp_path / "asked").read_text().splitlines()
    assert asked.endswith(("-j 7,8 -o %A|%T|%V", "-j 8,7 -o %A|%T|%V"))
    assert "slurm_restart.control.requeue_helper" in HELPER


def test_an_internal_error_of_the_program_is_logged(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(f'state_dir = "{tmp_path}"\n')
    site.chmod(0o644)
    tmp_path.chmod(0o755)
    (tmp_path / "waiting").write_text("a file")
    done = subprocess.run(
        [sys.executable, "-I", "-c", HELPER, str(site), "c", "0"],
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1
    assert "the helper ends: " in (tmp_path / "csx-epilog.log").read_text()
