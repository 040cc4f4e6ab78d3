"""One trial: a scenario in a partition of its own, interrupted at one point."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contrib.crash_points_parts.points import Mode, Point
from contrib.crash_points_parts.scenarios import SCENARIOS, Scenario
from contrib.testing.crash_points import EVERY_CALL, Act, Caller, CrashPoints, Interruption, When
from contrib.testing.scripted_runs import DONE, ScriptedCluster, ScriptedRun
from slurm_restart.core.hostlist import expand

FINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED"})
STABLE = 5.0
"""Seconds for which nothing may change before a trial is over, several sweeps."""
STUCK = 25.0
"""The same where something is wrong: nothing more is to be expected after it."""
LIMIT = 150.0
"""Seconds after which a trial is over in any case: about ten times of what one takes."""


@dataclass(frozen=True)
class ShownJob:
    """A job as squeue shows it."""

    state: str
    reason: str
    excluded: str

    @property
    def final(self) -> bool:
        """Whether it is in a final state."""
        return self.state in FINAL


ABSENT = ShownJob("unknown to Slurm", "", "")


def show_jobs(cluster: ScriptedCluster) -> dict[int, ShownJob]:
    """Return all jobs that Slurm knows, by job id."""
    ask = ("squeue", "-h", "-a", "-t", "all", "-o", "%i|%T|%r|%x")
    rows = [line.split("|") for line in cluster.run(*ask, as_root=True).splitlines()]
    return {int(row[0]): ShownJob(*row[1:4]) for row in rows if row[0].isdecimal()}


@dataclass(kw_only=True)
class Trial:
    """A point that is being tried. Times are seconds of the monotonic clock."""

    point: Point
    cluster: ScriptedCluster
    partition: int
    run: ScriptedRun
    dependent: int
    begun: float
    broken: str | None = None
    """The node that was set DOWN."""
    submitted_at: float = field(default_factory=time.time)
    later_phase_excludes: bool = False
    """Whether the later phase has been seen to exclude the blamed node."""
    forgotten: int = 0
    """How often slurmctld had lost an end or a start when it was started again."""
    report_lost: bool = False
    """Whether slurmctld had lost the report of an attempt that had ended, and with it the cause."""
    lost: bool = False
    """Whether slurmctld had lost one of the jobs."""
    restarted: bool = False
    """Whether slurmctld was started again."""
    seen: tuple[object, ...] = ()
    seen_since: float = 0.0
    _save_asked: bool = False
    _unstarted: bytes | None = None
    """What slurmctld has saved before the job could start, where it is going to lose the start."""

    @property
    def scenario(self) -> Scenario:
        """What is tried."""
        return SCENARIOS[self.point.scenario]

    @property
    def points(self) -> CrashPoints:
        """The cluster's replaced commands."""
        points = self.cluster.crash_points
        assert points is not None
        return points

    @property
    def reached(self) -> bool:
        """Whether the planned interruption has happened."""
        return self.points.reached(self.run.job_id, self.point.mode.caller) is not None

    @property
    def job_id(self) -> int:
        """The run's job."""
        return self.run.job_id

    @property
    def blamed(self) -> str | None:
        """The node that the first attempt blames or that was set DOWN."""
        attempts = self.run.attempts()
        return attempts[0].nodes[-1] if attempts and self.scenario.blames else None

    def events(self, job_id: int | None = None) -> list[dict[str, Any]]:
        """Return the events of the job's journal, or of another's."""
        return self.cluster.journal(job_id or self.run.job_id)

    def exclude_events(self) -> list[dict[str, Any]]:
        """Return the exclusions on record for all phases of the run."""
        events = self.events() + self.events(self.dependent)
        return [event for event in events if event["event"] == "exclude"]

    @property
    def cause_lost(self) -> bool:
        """Whether nobody can know which node the first attempt blamed."""
        return self.report_lost and not self.exclude_events()

    def requested_exclusions(self) -> set[str]:
        """Return the nodes that the journals want in ExcNodeList, blamed or by a guess."""
        events = self.events() + self.events(self.dependent)
        return {node for event in events for node in event.get("exc_nodes") or ()}

    def step(self, jobs: dict[int, ShownJob]) -> None:
        """Do what the scenario wants to be done now."""
        if not (self.run.folder / "submitted").exists() and self._saved():
            self.run.signal("submitted")
        job, attempts = jobs.get(self.run.job_id, ABSENT), self.run.attempts()
        running = job.state == "RUNNING" and bool(attempts)
        # The report of the first attempt has to be there before its node fails.
        if self.scenario.node_down and not self.broken and running and self._reported(0):
            self.broken = attempts[0].nodes[-1]
            self.cluster.fault("node-down", self.broken)
        if len(attempts) > 1 and (self._exclusion_over() or self.cause_lost):
            self.run.signal("exclusion_over")
        if self.blamed and self.blamed in self._excluded_by(jobs.get(self.dependent, ABSENT)):
            self.later_phase_excludes = True
        if self.restarted and self.run.job_id in jobs:
            # An attempt for which Slurm has no restart is one whose start it has lost.
            self.forgotten = max(self.forgotten, len(attempts) - self._restarts() - 1)
        if self.forgotten and running and self.run.has_ended(len(attempts) - 1):
            # slurmctld finds out that a job has ended when its nodes register again.
            self.cluster.run("scontrol", "reconfigure", as_root=True, check=False)

    def slurmctld_restarted(self, jobs: dict[int, ShownJob]) -> None:
        """Note what slurmctld has lost: what it knew and had not saved when it was killed."""
        self.restarted = True
        self.lost = self.lost or not {self.run.job_id, self.dependent} <= set(jobs)
        job, newest = jobs.get(self.run.job_id, ABSENT), len(self.run.attempts()) - 1
        ended = newest >= 0 and self.run.has_ended(newest)
        node_lost = self.broken and not self.cluster.node(self.broken).startswith("down")
        if node_lost and self.broken:
            self.cluster.fault("node-down", self.broken)
        lost_start = job.state == "PENDING" and newest >= self._restarts()
        lost_end = job.state == "RUNNING" and ended
        self.report_lost = self.report_lost or (lost_end and not self._reported(newest, ";ended=1"))
        self.forgotten += bool(node_lost or lost_start or lost_end)

    def _saved(self) -> bool:
        """Whether slurmctld has saved the jobs, where it is going to be killed."""
        if self.point.mode.act is not Act.SLURMCTLD:
            return True
        state = self._state_file
        saved = state.exists() and state.stat().st_mtime > self.submitted_at + 1
        if not saved and not self._save_asked and time.time() > self.submitted_at + 3:
            # slurmctld saves the jobs after a change only, and may have done so before the second.
            change = ("scontrol", "update", f"JobId={self.dependent}", "Nice=1")
            self.cluster.run(*change, as_root=True)
            self._save_asked = True
        if saved and self.point.mode is Mode.SLURMCTLD_START:
            self._unstarted = state.read_bytes()
            set_partition(self.cluster, self.partition, "UP")
        return saved

    @property
    def _state_file(self) -> Path:
        return Path(self.cluster.root / "state" / "job_state")

    def lose_start(self) -> None:
        """Take from a killed slurmctld what it has saved since before the first start."""
        if self._unstarted is not None and len(self.run.attempts()) == 1:
            self._state_file.write_bytes(self._unstarted)

    def _reported(self, attempt: int, what: str = "") -> bool:
        shown = self.cluster.run(
            "squeue", "-h", "-j", str(self.run.job_id), "-o", "%k", as_root=True, check=False
        )
        return f";attempt={attempt};" in shown and what in shown

    def _restarts(self) -> int:
        """Return Slurm's restart count: the number of the attempt that a pending job waits for."""
        shown = self.cluster.run(
            "scontrol", "show", "job", "-o", str(self.run.job_id), as_root=True, check=False
        )
        found = re.search(r" Restarts=([0-9]+) ", shown)
        return int(found[1]) if found else len(self.run.attempts())

    def _exclusion_over(self) -> bool:
        until = [event["until"] for event in self.exclude_events()]
        return bool(until) and time.time() > max(until) + 1

    def _excluded_by(self, job: ShownJob) -> list[str]:
        return [] if job.excluded in {"", "(null)"} else list(expand(job.excluded))

    def excluded_at_the_end(self, jobs: dict[int, ShownJob], job_id: int) -> list[str]:
        """Return the nodes in a job's ExcNodeList."""
        return self._excluded_by(jobs.get(job_id, ABSENT))

    def at_rest(self, jobs: dict[int, ShownJob], *, wrong: bool) -> bool:
        """Whether nothing happens any more.

        Args:
            jobs: all jobs.
            wrong: whether something is not as it has to be; then the wait is longer.
        """
        now = time.monotonic()
        shown = (jobs.get(self.run.job_id, ABSENT), jobs.get(self.dependent, ABSENT))
        seen = (*shown, len(self.run.attempts()), len(self.events()))
        if seen != self.seen:
            self.seen, self.seen_since = seen, now
        final = all(job.final or job is ABSENT for job in shown)
        stable = now - self.seen_since > (STUCK if wrong else STABLE)
        return (final and stable) or now - self.begun > LIMIT

    def clear(self) -> None:
        """Cancel what is left."""
        jobs = (str(self.run.job_id), str(self.dependent))
        self.cluster.run("scancel", *jobs, as_root=True, check=False)

    def details(self, jobs: dict[int, ShownJob]) -> str:
        """Return what there is to find out why a result is wrong."""
        numbers = (self.run.job_id, self.dependent)
        log = [
            line
            for line in self.cluster.hook_log().splitlines()
            if any(f"job {number}:" in line for number in numbers)
        ]
        journals: list[str] = []
        for number in numbers:
            for path in self.cluster.state_dir.glob(f"journal/*/{number}-*.jsonl"):
                journals += [path.name, *path.read_text(errors="replace").splitlines()]
        shown = [
            self.cluster.run("scontrol", "show", "job", str(number), as_root=True, check=False)
            for number in numbers
        ]
        parts = {
            "hook's log": log,
            "calls": self.points.trace(self.run.job_id),
            "journals": journals,
            "attempts": [str(attempt) for attempt in self.run.attempts()],
            "squeue": [f"{number}: {jobs.get(number)}" for number in numbers],
            "scontrol": shown,
        }
        return format_details(parts)


def format_details(parts: Mapping[str, Sequence[str]]) -> str:
    """Return the lines of each part, below its name."""
    return "\n".join(f"== {name}\n" + "\n".join(lines) for name, lines in parts.items())


def set_partition(cluster: ScriptedCluster, partition: int, state: str) -> None:
    """Let jobs of a partition start (UP), or not (DOWN)."""
    cluster.run("scontrol", "update", f"PartitionName=p{partition}", f"State={state}", as_root=True)


def start(cluster: ScriptedCluster, partition: int, point: Point) -> Trial:
    """Submit the run of a point and its dependent, with the interruption planned."""
    scenario = SCENARIOS[point.scenario]
    if point.mode is Mode.SLURMCTLD_START:
        set_partition(cluster, partition, "DOWN")
    where = (f"--partition=p{partition}",)
    run = cluster.submit_run(
        *scenario.attempts,
        nodes=scenario.nodes,
        min_nodes=scenario.min_nodes,
        max_restarts=scenario.max_restarts,
        fields=scenario.fields,
        options=where,
    )
    if scenario.later_phase:
        later = cluster.submit_run(
            DONE, nodes=scenario.nodes, fields=scenario.fields, options=where, phase_of=run
        )
        later.signal("submitted")
        dependent = later.job_id
    else:
        waits = (f"--dependency=afterok:{run.job_id}", "--kill-on-invalid-dep=yes")
        dependent = cluster.submit("exit 0", "--nodes=1", "--output=/dev/null", *waits, *where)
    trial = Trial(
        point=point,
        cluster=cluster,
        partition=partition,
        run=run,
        dependent=dependent,
        begun=time.monotonic(),
    )
    _plan(trial)
    return trial


def _plan(trial: Trial) -> None:
    point, job_id = trial.point, trial.run.job_id
    if point.mode is Mode.RECONCILER:
        for caller in (Caller.HOOK, Caller.HELPER):
            trial.points.plan(
                job_id, Interruption(caller=caller, call=EVERY_CALL, when=When.BEFORE)
            )
    if point.call:
        cancel = f"{trial.cluster.bin_dir}/scancel {job_id}"
        trial.points.plan(
            job_id,
            Interruption(
                caller=point.mode.caller,
                call=point.call,
                when=point.when,
                act=point.mode.act,
                command=cancel,
            ),
        )


def make_free(cluster: ScriptedCluster, partition: int) -> bool:
    """Bring the nodes of a partition back into service; return whether all are idle."""
    names = cluster.partition_nodes(partition)
    rows = cluster.run("sinfo", "-h", "-N", "-n", ",".join(names), "-o", "%N %T").splitlines()
    # A node has a row for each of its partitions.
    states = dict(line.split() for line in rows)
    for node, state in states.items():
        if re.match("down|drain|fail", state):
            cluster.run("scontrol", "update", f"NodeName={node}", "State=RESUME", as_root=True)
    return len(states) == len(names) and set(states.values()) == {"idle"}
