"""The helper process of the hook, one for a cluster: advance jobs as soon as they left COMPLETING.

It asks Slurm for all waiting jobs with one call at a time, and ends when none is left. What it
leaves, because it was killed or a job takes too long, is the reconciler's.
"""

import os
import sys
import time
import traceback
from collections.abc import Collection
from pathlib import Path
from typing import NoReturn

from slurm_restart.control.controller import Controller
from slurm_restart.control.guarded_advance import guarded_advance
from slurm_restart.control.hook_log import HookLog
from slurm_restart.control.kept_answers import announce, commands_with_kept_answers, expect
from slurm_restart.control.site import load_site
from slurm_restart.control.waiting_jobs import WaitingJobs
from slurm_restart.errors import SlurmError

_QUICKEST, _SLOWEST = 0.1, 2.0
"""Seconds between two queries; each is longer than the one before until a job changes."""
_SHARE = 9
"""The pause is at least as many times as long as the query took, to spare slurmctld."""


class RequeueHelper:
    """Waits for jobs and advances them."""

    def __init__(self, controller: Controller, waiting: WaitingJobs) -> None:
        self._controller, self._waiting = controller, waiting
        self._times: dict[int, float] = {}
        """When each job that has left COMPLETING is to be advanced, in epoch seconds."""
        self._pause = _QUICKEST

    def run(self, lock: int) -> None:
        """Serve until no job waits.

        Args:
            lock: a descriptor that holds the helper's lock; it is closed.
        """
        held: int | None = lock
        while held is not None:
            while jobs := self._drop_late():
                self._tick(jobs)
            os.close(held)
            # A job may have been added after the last look, by a process that found the lock taken.
            held = self._waiting.try_lock() if self._waiting.added() else None

    def _drop_late(self) -> Collection[int]:
        """Return the jobs that wait; those that have waited for too long are left to others."""
        oldest = time.time() - self._controller.site.limits.helper_timeout
        added = self._waiting.added()
        for job_id, at in added.items():
            if at < oldest:
                self._controller.log(job_id)("not started in time: left to the reconciler")
                self._drop(job_id)
        return [job_id for job_id, at in added.items() if at >= oldest]

    def _drop(self, job_id: int) -> None:
        self._times.pop(job_id, None)
        self._waiting.remove(job_id)

    def _tick(self, jobs: Collection[int]) -> None:
        """Advance the jobs that are due, and pause."""
        began = time.monotonic()
        ending = [job_id for job_id in jobs if job_id not in self._times]
        try:
            left = self._left_completing(ending) if ending else {}
        except SlurmError as error:
            self._controller.log(min(jobs))(f"helper: {error}")
            left, self._pause = {}, _SLOWEST
        took = time.monotonic() - began
        self._times |= left
        now = time.time()
        due = [job for at, job in sorted((at, job) for job, at in self._times.items()) if at <= now]
        announce(self._controller.slurm, due)
        for job_id in due:
            self._advance(job_id)
        self._pause = _QUICKEST if left or due else min(self._pause * 1.5, _SLOWEST)
        next_due = min(self._times.values(), default=float("inf")) - time.time()
        # No event tells that a job was added or has left COMPLETING.
        time.sleep(max(0.0, min(next_due, max(self._pause, _SHARE * took))))

    def _left_completing(self, jobs: Collection[int]) -> dict[int, float]:
        """Return when to advance the jobs that are not COMPLETING any more.

        Jobs unknown to Slurm are dropped.
        """
        states = self._controller.slurm.states(jobs)
        for job_id in jobs:
            if job_id not in states:
                self._drop(job_id)
        margin = self._controller.site.limits.margin
        # SubmitTime is the second in which a requeued job left COMPLETING. slurmd refuses a start
        # before a full second has passed; nothing can be done for the job until then.
        return {
            job_id: (submit_time or 0) + 1 + margin if state == "PENDING" else 0.0
            for job_id, (state, submit_time) in states.items()
            if state != "COMPLETING"
        }

    def _advance(self, job_id: int) -> None:
        expect(self._controller.slurm, job_id)
        # The next step later: jobs that are due at the same time are read together.
        advanced = guarded_advance(self._controller, job_id, one_step=True)
        again = advanced.look_again
        # A job that is due after the helper's own time limit is the reconciler's.
        latest = time.time() + self._controller.site.limits.helper_timeout
        if not advanced.done or again is None or again > latest:
            self._drop(job_id)
        else:
            self._times[job_id] = max(again, time.time() + _QUICKEST)


def main() -> NoReturn:
    """Run as a program; arguments: site.toml, the cluster, the descriptor of the lock."""
    os.umask(0o077)
    site_path, cluster, lock = sys.argv[1:]
    site = load_site(Path(site_path))
    controller = Controller(slurm=commands_with_kept_answers(site), site=site, cluster=cluster)
    waiting = WaitingJobs(state_dir=site.state_dir, cluster=cluster)
    try:
        RequeueHelper(controller, waiting).run(int(lock))
    except Exception:  # noqa: BLE001 - its only trace, as its output goes nowhere
        HookLog(site.state_dir, "?")(f"the helper ends: {traceback.format_exc(limit=-3)}")
        sys.exit(1)
    sys.exit(0)


if __name__ == "__main__":
    main()
