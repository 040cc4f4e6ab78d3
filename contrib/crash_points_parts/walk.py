"""Walk over crash points: several trials at a time, each in a partition of its own."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from contrib.crash_points_parts import check, supervisor_check, supervisor_trial, trial
from contrib.crash_points_parts.points import Mode, Point
from contrib.crash_points_parts.supervisor_trial import SupervisorTrial
from contrib.crash_points_parts.trial import ShownJob, Trial, make_free, show_jobs
from contrib.testing.crash_points import Act
from contrib.testing.managed_cluster import FAST, SHORT_BATCH_START, SHORT_DELAY
from contrib.testing.scripted_runs import ScriptedCluster
from contrib.testing.supervised_cluster import SupervisedCluster
from contrib.testing.waiting import await_

NODES = 4
"""Nodes of a partition: what the largest scenario needs."""
SWEEP_EVERY = 1.0
HOOK = {"stale_running_after": 3.0}
SLURMCTLD_ABSENT = 60.0
"""Seconds within which a slurmctld that was killed answers again, however busy the machine is."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a point."""

    point: Point
    seconds: float
    reached: bool
    call: str
    """The interrupted call."""
    calls: int
    """How many calls its caller made for the job."""
    violations: tuple[str, ...]
    lost: bool
    """Whether slurmctld lost the job when it was killed: then nothing is judged."""
    details: str
    """Log, calls and journal of the job, where something is wrong."""

    def __str__(self) -> str:
        outcome = "WRONG" if self.violations else "lost " if self.lost else "ok   "
        where = f" ({self.call})" if self.call else ", not reached" if self.point.call else ""
        lines = [f"{outcome} {self.point}{where}: {self.seconds:.0f} s"]
        return "\n      ".join([*lines, *self.violations])


def boot(partitions: int) -> ScriptedCluster:
    """Return a cluster for a walk, which `with` boots."""
    return ScriptedCluster(
        partitions=partitions,
        per_partition=NODES,
        policy=FAST,
        hook=dict(HOOK),
        # So that Slurm soon finds an attempt whose end a killed slurmctld has lost.
        options=SHORT_BATCH_START,
    )


def boot_supervised(partitions: int) -> SupervisedCluster:
    """Return a cluster for a walk over the points of supervisors, which `with` boots."""
    return SupervisedCluster(
        partitions=partitions, per_partition=NODES, policy=FAST, requeued_after=SHORT_DELAY
    )


def _start(cluster: ScriptedCluster, partition: int, point: Point) -> Trial | SupervisorTrial:
    if isinstance(cluster, SupervisedCluster):
        return supervisor_trial.start(cluster, partition, point)
    return trial.start(cluster, partition, point)


def _violations(tried: Trial | SupervisorTrial, jobs: dict[int, ShownJob]) -> list[str]:
    if isinstance(tried, SupervisorTrial):
        return supervisor_check.violations(tried, jobs)
    return check.violations(tried, jobs)


class Walk:
    """Tries points on one cluster.

    Args:
        cluster: the cluster.
        partitions: how many of its partitions are used, a trial each.
        report: called with each result.
    """

    def __init__(
        self, cluster: ScriptedCluster, partitions: int, report: Callable[[Result], None]
    ) -> None:
        self._cluster, self._report = cluster, report
        self._live: dict[int, Trial | SupervisorTrial | None] = dict.fromkeys(range(partitions))
        self._sweep_at = 0.0
        self._restarts = 0

    def run(self, waiting: deque[Point]) -> None:
        """Try points until none is left; several walks may share them."""
        seen = self._restarts
        while waiting or any(self._live.values()):
            self._start_trials(waiting)
            self._sweep()
            jobs = self._show_jobs()
            restarted, seen = self._restarts > seen, self._restarts
            for partition, tried in self._live.items():
                if tried is None:
                    continue
                if restarted:
                    tried.slurmctld_restarted(jobs)
                tried.step(jobs)
                found = _violations(tried, jobs)
                if tried.at_rest(jobs, wrong=bool(found)):
                    self._finish(partition, tried, found, jobs)
            time.sleep(0.3)  # conditions of many jobs are polled with one query each turn

    def _show_jobs(self) -> dict[int, ShownJob]:
        """Return all jobs; where slurmctld is killed in this walk, wait until it answers."""
        deadline = time.monotonic() + SLURMCTLD_ABSENT
        while True:
            try:
                return show_jobs(self._cluster)
            except AssertionError:
                if not self._kills_slurmctld() or time.monotonic() > deadline:
                    raise
            time.sleep(0.3)  # no condition to await: the next query shows whether it answers

    def _kills_slurmctld(self) -> bool:
        tried = (each for each in self._live.values() if each is not None)
        return any(each.point.mode.act is Act.SLURMCTLD for each in tried)

    def _start_trials(self, waiting: deque[Point]) -> None:
        for partition, tried in self._live.items():
            if tried is not None or not waiting or not make_free(self._cluster, partition):
                continue
            try:
                point = waiting.popleft()
            except IndexError:  # another walk has taken the last one
                return
            self._live[partition] = _start(self._cluster, partition, point)

    def restart_slurmctld_until(self, finished: threading.Event) -> None:
        """Start slurmctld again whenever it was killed; the commands of others wait for it."""
        points = self._cluster.crash_points
        assert points is not None
        while not finished.wait(0.5):
            if points.take_slurmctld_killed():
                for tried in list(self._live.values()):
                    if tried is not None:
                        tried.lose_start()
                self._cluster.fault("start-ctld")
                self._restarts += 1

    def _sweep(self) -> None:
        """Run the reconciler; a sweep that is killed, or meets no slurmctld, has no result."""
        if time.monotonic() < self._sweep_at:
            return
        trials = [tried for tried in self._live.values() if tried is not None]
        killed = sum(tried.reached for tried in trials)
        try:
            self._cluster.reconcile()
        except AssertionError:
            if not self._kills_slurmctld() and killed == sum(tried.reached for tried in trials):
                raise
        self._sweep_at = time.monotonic() + SWEEP_EVERY

    def _finish(
        self,
        partition: int,
        tried: Trial | SupervisorTrial,
        found: Sequence[str],
        jobs: dict[int, ShownJob],
    ) -> None:
        caller = tried.point.mode.caller
        call = tried.points.interrupted(tried.job_id, caller)
        lost = tried.lost and tried.point.mode.act is Act.SLURMCTLD
        result = Result(
            point=tried.point,
            seconds=time.monotonic() - tried.begun,
            reached=call is not None,
            call=call or "",
            calls=len(tried.points.calls(tried.job_id, caller)),
            violations=() if lost else tuple(found),
            lost=lost,
            details=tried.details(jobs) if found else "",
        )
        self._report(result)
        tried.clear()
        self._live[partition] = None


def walk(points: Sequence[Point], jobs: int, report: Callable[[Result], None]) -> None:
    """Try points, so many at a time; slurmctld is killed on clusters of one partition each.

    Raises:
        AssertionError: a sweep failed although nothing interrupted it, or the cluster is broken.
    """
    alone = [point for point in points if point.mode.act is Act.SLURMCTLD]
    in_job = [point for point in points if point.mode.in_job]
    together = [point for point in points if point not in alone and not point.mode.in_job]
    if together:
        with boot(min(jobs, len(together))) as cluster:
            Walk(cluster, min(jobs, len(together)), report).run(deque(together))
            await_helpers(cluster)
    if in_job:
        with boot_supervised(min(jobs, len(in_job))) as cluster:
            Walk(cluster, min(jobs, len(in_job)), report).run(deque(in_job))
            await_helpers(cluster)
    if alone:
        _walk_on_clusters(deque(alone), min(jobs, len(alone)), report)


def await_helpers(cluster: ScriptedCluster) -> None:
    """Wait until no process of the plugin is left on a cluster where no managed job is."""
    site = bytes(cluster.site_dir)

    def none_left() -> bool:
        return not any(site in command for command in _command_lines())

    await_(none_left, "the end of all processes of the plugin")


def _command_lines() -> list[bytes]:
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                found.append((process / "cmdline").read_bytes())
            except OSError:
                continue  # it has ended
    return found


def _walk_on_clusters(
    waiting: deque[Point], clusters: int, report: Callable[[Result], None]
) -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with boot(1) as cluster:
                _walk_beside_restarts(Walk(cluster, 1, report), waiting)
        except AssertionError as error:
            errors.append(error)
            waiting.clear()

    threads = [threading.Thread(target=work) for _ in range(clusters)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _walk_beside_restarts(walk_: Walk, waiting: deque[Point]) -> None:
    finished = threading.Event()
    restarter = threading.Thread(target=walk_.restart_slurmctld_until, args=[finished])
    restarter.start()
    try:
        walk_.run(waiting)
    finally:
        finished.set()
        restarter.join()


def count_calls(
    scenarios: Sequence[str], mode: Mode, jobs: int
) -> tuple[dict[str, int], list[Result]]:
    """Run scenarios without an interruption; return the calls of each, and the results."""
    results: list[Result] = []
    walk([Point(scenario=name, mode=mode) for name in scenarios], jobs, results.append)
    return {result.point.scenario: result.calls for result in results}, results
