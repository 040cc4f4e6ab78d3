"""Walk over crash points: several trials at a time, each in a partition of its own."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from contrib.crash_points_parts.check import violations
from contrib.crash_points_parts.points import Mode, Point
from contrib.crash_points_parts.trial import (
    ShownJob,
    Trial,
    clear,
    make_free,
    show_jobs,
    start,
)
from contrib.testing.crash_points import Act
from contrib.testing.managed_cluster import FAST, SHORT_BATCH_START
from contrib.testing.scripted_runs import ScriptedCluster
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
        self._live: dict[int, Trial | None] = dict.fromkeys(range(partitions))
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
            for partition, trial in self._live.items():
                if trial is None:
                    continue
                if restarted:
                    trial.slurmctld_restarted(jobs)
                trial.step(jobs)
                found = violations(trial, jobs)
                if trial.at_rest(jobs, wrong=bool(found)):
                    self._finish(partition, trial, found, jobs)
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
        trials = (trial for trial in self._live.values() if trial is not None)
        return any(trial.point.mode.act is Act.SLURMCTLD for trial in trials)

    def _start_trials(self, waiting: deque[Point]) -> None:
        for partition, trial in self._live.items():
            if trial is not None or not waiting or not make_free(self._cluster, partition):
                continue
            try:
                point = waiting.popleft()
            except IndexError:  # another walk has taken the last one
                return
            self._live[partition] = start(self._cluster, partition, point)

    def restart_slurmctld_until(self, finished: threading.Event) -> None:
        """Start slurmctld again whenever it was killed; the commands of others wait for it."""
        points = self._cluster.crash_points
        assert points is not None
        while not finished.wait(0.5):
            if points.take_slurmctld_killed():
                for trial in list(self._live.values()):
                    if trial is not None:
                        trial.lose_start()
                self._cluster.fault("start-ctld")
                self._restarts += 1

    def _sweep(self) -> None:
        """Run the reconciler; a sweep that is killed, or meets no slurmctld, has no result."""
        if time.monotonic() < self._sweep_at:
            return
        trials = [trial for trial in self._live.values() if trial is not None]
        killed = sum(trial.reached for trial in trials)
        try:
            self._cluster.reconcile()
        except AssertionError:
            if not self._kills_slurmctld() and killed == sum(trial.reached for trial in trials):
                raise
        self._sweep_at = time.monotonic() + SWEEP_EVERY

    def _finish(
        self, partition: int, trial: Trial, found: Sequence[str], jobs: dict[int, ShownJob]
    ) -> None:
        caller = trial.point.mode.caller
        calls = trial.points.calls(trial.run.job_id, caller)
        reached = trial.points.reached(trial.run.job_id, caller)
        lost = trial.lost and trial.point.mode.act is Act.SLURMCTLD
        result = Result(
            point=trial.point,
            seconds=time.monotonic() - trial.begun,
            reached=reached is not None,
            call=calls[reached - 1] if reached else "",
            calls=len(calls),
            violations=() if lost else tuple(found),
            lost=lost,
            details=_details(trial, jobs) if found else "",
        )
        self._report(result)
        clear(trial)
        self._live[partition] = None


def _details(trial: Trial, jobs: dict[int, ShownJob]) -> str:
    """Return what there is to find out why a result is wrong."""
    numbers = (trial.run.job_id, trial.dependent)
    log = [
        line
        for line in trial.cluster.hook_log().splitlines()
        if any(f"job {number}:" in line for number in numbers)
    ]
    journals: list[str] = []
    for number in numbers:
        for path in trial.cluster.state_dir.glob(f"journal/*/{number}-*.jsonl"):
            journals += [path.name, *path.read_text(errors="replace").splitlines()]
    shown = [
        trial.cluster.run("scontrol", "show", "job", str(number), as_root=True, check=False)
        for number in numbers
    ]
    parts = {
        "hook's log": log,
        "calls": trial.points.trace(trial.run.job_id),
        "journals": journals,
        "attempts": [str(attempt) for attempt in trial.run.attempts()],
        "squeue": [f"{number}: {jobs.get(number)}" for number in numbers],
        "scontrol": shown,
    }
    return "\n".join(f"== {name}\n" + "\n".join(lines) for name, lines in parts.items())


def walk(points: Sequence[Point], jobs: int, report: Callable[[Result], None]) -> None:
    """Try points, so many at a time; slurmctld is killed on clusters of one partition each.

    Raises:
        AssertionError: a sweep failed although nothing interrupted it, or the cluster is broken.
    """
    alone = [point for point in points if point.mode.act is Act.SLURMCTLD]
    together = [point for point in points if point.mode.act is not Act.SLURMCTLD]
    if together:
        with boot(min(jobs, len(together))) as cluster:
            Walk(cluster, min(jobs, len(together)), report).run(deque(together))
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
