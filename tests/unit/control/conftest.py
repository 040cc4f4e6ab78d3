"""A fake of Slurm that records what it is asked for, a clock that tests move, and a controller."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from slurm_restart.control import (
    advance,
    apply,
    journal,
    observe,
    reconcile,
    requeue_helper,
    run_phases,
)
from slurm_restart.control.controller import Controller
from slurm_restart.control.journal import RunKey, open_journal
from slurm_restart.control.site import Site
from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.core.history import History
from slurm_restart.core.hostlist import expand
from slurm_restart.core.job import Job, JobFlag, JobState, NodeState, PartitionState
from slurm_restart.core.journal_events import Event
from slurm_restart.errors import JobNotFoundError, JobNotPendingError, SlurmError
from slurm_restart.slurm.interface import JobName
from tests.unit.core import facts

CLUSTER = "c"
UPDATE = "update"


@dataclass(frozen=True)
class Request:
    """One change that Slurm was asked for."""

    name: str
    job_id: int | str
    fields: Mapping[str, str] = field(default_factory=dict)


class FakeSlurm:
    """The interface `Slurm` over jobs and nodes in memory. A request changes no job by itself.

    Attributes:
        calls: the names of all calls in order, and of what a test adds itself.
        requests: the changes that were asked for, in order.
        jobs_by_id: what Slurm shows; a list is shown one after the other, the last one for good.
        refused: the error for a request, by its name.
        on_request: called before each request is carried out.
    """

    def __init__(self, *jobs: Job, nodes: tuple[NodeState, ...] | None = None) -> None:
        self.calls: list[str] = []
        self.requests: list[Request] = []
        self.jobs_by_id: dict[int, list[Job]] = {job.job_id: [job] for job in jobs}
        self.all_nodes = facts.nodes() if nodes is None else nodes
        self.cluster = ClusterFacts(release=(24, 11))
        self.limit: int | None = None
        self.reservations: dict[str, tuple[str, ...]] = {}
        self.refused: dict[str, SlurmError] = {}
        self.on_request: Callable[[Request], None] = lambda _request: None

    def names(self) -> list[str]:
        """The names of the requests, in order."""
        return [request.name for request in self.requests]

    def fields(self, name: str) -> list[str]:
        """The values that the updates gave to one field, in order."""
        return [request.fields[name] for request in self.requests if name in request.fields]

    def show(self, *shown: Job) -> None:
        """Show a job from now on: these states, one at each query."""
        self.jobs_by_id[shown[0].job_id] = list(shown)

    def _request(self, name: str, job: JobName, fields: Mapping[str, str] | None = None) -> None:
        number = int(job) if str(job).isdecimal() else job
        request = Request(name, number, dict(fields or {}))
        self.calls.append(name)
        self.requests.append(request)
        self.on_request(request)
        if name in self.refused:
            raise self.refused[name]

    def release(self) -> tuple[int, int]:
        return (24, 11)

    def job(self, job_id: int) -> Job:
        self.calls.append("job")
        if job_id not in self.jobs_by_id:
            raise JobNotFoundError(f"job {job_id}: Invalid job id specified")
        shown = self.jobs_by_id[job_id]
        return shown.pop(0) if len(shown) > 1 else shown[0]

    def job_end_facts(self, job_id: int) -> tuple[Job, tuple[NodeState, ...]]:
        return self.job(job_id), self.all_nodes

    def jobs(self, *, uid: int | None = None) -> tuple[Job, ...]:
        self.calls.append("jobs")
        shown = [jobs[0] for jobs in self.jobs_by_id.values()]
        return tuple(job for job in shown if uid in (None, job.uid))

    def nodes(self) -> tuple[NodeState, ...]:
        return self.all_nodes

    def partitions(self) -> tuple[PartitionState, ...]:
        return ()

    def cluster_facts(self) -> ClusterFacts:
        return self.cluster

    def node_limit(self, job: Job) -> int | None:
        assert job.job_id in self.jobs_by_id
        self.calls.append("node_limit")
        return self.limit

    def reservation_nodes(self, name: str) -> tuple[str, ...]:
        if name not in self.reservations:
            raise SlurmError(f"reservation {name}: not found")
        return self.reservations[name]

    def update(self, job: JobName, fields: Mapping[str, str]) -> None:
        self._request(UPDATE, job, fields)

    def requeue(self, job: JobName) -> None:
        self._request("requeue", job)

    def hold(self, job: JobName) -> None:
        self._request("hold", job)

    def release_job(self, job: JobName) -> None:
        self._request("release", job)

    def cancel(self, job: JobName) -> None:
        self._request("cancel", job)

    def submit(self, script: str, options: Sequence[str], *, test_only: bool = False) -> str:
        raise NotImplementedError

    def ping(self) -> bool:
        return True


class Clock:
    """Stands for the module `time`; a sleep moves it and returns at once."""

    def __init__(self) -> None:
        self.now = float(facts.SUBMITTED + 600)
        self.slept: list[float] = []

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class ActingSlurm(FakeSlurm):
    """A Slurm that carries out what it is asked for, as slurmctld does with one job.

    Attributes:
        hides_state: whether it shows COMPLETING in place of the base state, as before 24.11.
    """

    def __init__(self, clock: Clock, *jobs: Job, **settings: Any) -> None:
        super().__init__(*jobs, **settings)
        self.clock = clock
        self.hides_state = False

    def real(self, job_id: int = 7) -> Job:
        """The job with its base state."""
        return self.jobs_by_id[job_id][0]

    def job(self, job_id: int) -> Job:
        shown = super().job(job_id)
        return replace(shown, state=None) if self.hides_state and shown.completing else shown

    def change(self, job_id: int = 7, **changes: Any) -> None:
        """Change the job, as a person or Slurm itself does."""
        self.jobs_by_id[job_id] = [replace(self.real(job_id), **changes)]

    def complete(self, job_id: int = 7) -> None:
        """Let the job leave COMPLETING; a requeued one gets a new SubmitTime and a delay."""
        job, now = self.real(job_id), int(self.clock.now)
        self.change(job_id, flags=frozenset())
        if job.state is JobState.PENDING:
            begin = job.eligible_time or 0
            begin = begin if begin > now else now + self.cluster.requeue_delay
            self.change(job_id, submit_time=now, eligible_time=begin, nodes=())

    def _request(self, name: str, job: JobName, fields: Mapping[str, str] | None = None) -> None:
        super()._request(name, job, fields)
        # As Slurm does: the id of an array names all of its tasks.
        shown = [jobs[0] for jobs in self.jobs_by_id.values()]
        meant = [each.job_id for each in shown if str(job) in (each.name, str(each.array_job_id))]
        if not meant:
            raise JobNotFoundError(f"job {job}: Invalid job id specified")
        for job_id in meant:
            self._carry_out(name, job_id, fields)

    def _carry_out(self, name: str, job_id: int, fields: Mapping[str, str] | None) -> None:
        job = self.real(job_id)
        match name:
            case "requeue" if job.state is not JobState.PENDING:
                waits = job.completing or job.state is JobState.RUNNING
                flags = frozenset({JobFlag.COMPLETING}) if waits else frozenset()
                self.change(job_id, state=JobState.PENDING, restarts=job.restarts + 1, flags=flags)
                if not waits:
                    self.complete(job_id)
            case "release":
                self.change(job_id, priority=100, reason="None")
            case "cancel" if not job.completing:
                flags = job.flags if job.state is JobState.PENDING else {JobFlag.COMPLETING}
                self.change(job_id, state=JobState.CANCELLED, flags=frozenset(flags))
            case "update":
                self._update(job, fields or {})

    def _update(self, job: Job, fields: Mapping[str, str]) -> None:
        if job.state is not JobState.PENDING:
            raise JobNotPendingError(f"job {job.job_id}: Job is no longer pending execution")
        changes: dict[str, Any] = {}
        if "ExcNodeList" in fields:
            listed = fields["ExcNodeList"]
            changes["exc_nodes"] = tuple(expand(listed)) if listed else ()
        if "NumNodes" in fields:
            changes["num_nodes"] = int(fields["NumNodes"].partition("-")[0])
        if "StartTime" in fields:
            seconds = int(fields["StartTime"].removeprefix("now") or 0)
            changes["eligible_time"] = int(self.clock.now) + seconds
        if "AdminComment" in fields:
            changes["admin_comment"] = fields["AdminComment"]
        self.change(job.job_id, **changes)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of everything in `control`: ten minutes after the last attempt was submitted."""
    clock = Clock()
    for module in (advance, apply, observe, run_phases, reconcile, requeue_helper):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def slurm() -> FakeSlurm:
    """A Slurm that shows the pending job 7 of `facts`."""
    return FakeSlurm(facts.pending())


@pytest.fixture
def controller(tmp_path: Path, slurm: FakeSlurm, clock: Clock) -> Controller:  # noqa: ARG001
    """A controller with default settings and a state directory of its own."""
    return controller_of(slurm, tmp_path)


def controller_of(slurm: FakeSlurm, state_dir: Path, **settings: Any) -> Controller:
    """A controller with these settings of the site."""
    site = Site(state_dir=state_dir, **settings)
    return Controller(slurm=slurm, site=site, cluster=CLUSTER)  # type: ignore[arg-type]


def observing(controller: Controller) -> Controller:
    """The same controller in observe mode."""
    return replace(controller, site=replace(controller.site, observe=True))


def run_key_of(job_id: int = 7, run: str = facts.RUN, uid: int = 1000) -> RunKey:
    return RunKey(cluster=CLUSTER, job_id=job_id, uid=uid, run=run)


def put(controller: Controller, *events: Event, key: RunKey | None = None) -> None:
    """Append events to a journal, that of job 7 by default."""
    with open_journal(controller.site.state_dir, key or run_key_of()) as opened:
        opened.append(*events)


def events_of(controller: Controller, key: RunKey | None = None) -> list[Event]:
    """The events of a journal."""
    with open_journal(controller.site.state_dir, key or run_key_of()) as opened:
        return list(opened.events)


def history_of(controller: Controller, key: RunKey | None = None) -> History:
    """The history that a journal amounts to."""
    with open_journal(controller.site.state_dir, key or run_key_of()) as opened:
        return opened.history


def of_kind(events: Iterable[Event], kind: type[Any]) -> list[Any]:
    """The events of one kind."""
    return [event for event in events if isinstance(event, kind)]


def log_of(controller: Controller) -> str:
    """The text of csx-epilog.log."""
    path = controller.site.state_dir / "csx-epilog.log"
    return path.read_text() if path.exists() else ""


@pytest.fixture
def fsyncs(slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record each fsync among the calls of Slurm; returns the calls."""

    def fsync(descriptor: int) -> None:
        slurm.calls.append("fsync")
        real(descriptor)

    real = os.fsync
    monkeypatch.setattr(journal.os, "fsync", fsync)
    return slurm.calls
