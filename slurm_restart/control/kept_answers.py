"""Slurm's commands for many jobs in a row: read together, and kept for a moment."""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from functools import cached_property, partial
from typing import Any, TypeVar, cast

from slurm_restart.control.site import Site
from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.core.job import Job, NodeState, PartitionState
from slurm_restart.errors import CsxError
from slurm_restart.slurm.commands import Commands
from slurm_restart.slurm.interface import Slurm

KEEP, KEEP_CLUSTER = 1.0, 10.0
"""Seconds that answers on jobs and nodes, and on the configuration, are kept. Both may also change
while a decision is carried out."""
FEWEST, MOST = 3, 16
"""Jobs that are read together. For several jobs, squeue gets all jobs of the cluster from
slurmctld, so a few are read one by one; of many, the last would be too old when they are used."""
_T = TypeVar("_T")
_Facts = tuple[Job, tuple[NodeState, ...]]


class KeptAnswers(Commands):
    """Commands that asks for jobs in advance, and seldom for what all jobs have in common."""

    _query: "_Query | None" = None
    _announced: Sequence[int] = ()

    @cached_property
    def _kept(self) -> dict[str, tuple[float, Any]]:
        """Answers by name, each with the time when it was asked for, in epoch seconds."""
        return {}

    def announce(self, job_ids: Sequence[int]) -> None:
        """Note the jobs that will be expected next, in this order: they are read together."""
        self._announced = job_ids

    def expect(self, job_id: int) -> None:
        """Ask for a job and the nodes in a thread while this process goes on.

        Jobs that are announced after it are read by the same calls, and serve their own `expect`.
        """
        if self._query is not None and self._query.serves(job_id):
            return
        together: Collection[int] = ()
        if job_id in self._announced:
            at = self._announced.index(job_id)
            together = self._announced[at : at + MOST]
        self._query = _Query(self, together if len(together) >= FEWEST else (job_id,))

    def forget(self, job_id: int, since: float = float("inf")) -> None:
        """Do not use what was asked about a job before a moment, in epoch seconds."""
        if self._query is not None and self._query.began < since:
            self._query.drop(job_id)

    def drop(self, name: str, *, before: float) -> None:
        """Read `nodes` or `cluster` again if it was read before a moment, in epoch seconds."""
        at, _ = self._kept.get(name, (before, None))
        if at < before:
            del self._kept[name]

    def job_end_facts(self, job_id: int) -> _Facts:
        """Return one job with every field, and all nodes, at most `KEEP` seconds old.

        What was asked in advance is used once.
        """
        job = self._asked(job_id)
        if job is None or self._query is None:
            return self.read_facts(job_id)
        self._query.drop(job_id)
        return job, self.nodes()

    def job(self, job_id: int) -> Job:
        """Return one job with every field; before 24.11 `state` is None while COMPLETING."""
        job = self._asked(job_id)
        return super().job(job_id) if job is None else job

    def jobs(self, *, uid: int | None = None) -> tuple[Job, ...]:
        """Return all jobs (of one user), at most `KEEP` seconds old."""
        return self._keep(f"jobs of {uid}", KEEP, partial(super().jobs, uid=uid))

    def nodes(self) -> tuple[NodeState, ...]:
        """Return all nodes, at most `KEEP` seconds old."""
        return self._keep("nodes", KEEP, super().nodes)

    def partitions(self) -> tuple[PartitionState, ...]:
        """Return all partitions, at most `KEEP` seconds old."""
        return self._keep("partitions", KEEP, super().partitions)

    def cluster_facts(self) -> ClusterFacts:
        """Return the facts of the configuration, at most `KEEP_CLUSTER` seconds old."""
        return self._keep("cluster", KEEP_CLUSTER, super().cluster_facts)

    def read_facts(self, job_id: int) -> _Facts:
        """Return one job, read now, and all nodes."""
        at, nodes = self._kept.get("nodes", (float("-inf"), ()))
        if 0 <= time.time() - at < KEEP:
            return super().job(job_id), nodes
        began = time.time()
        job, nodes = super().job_end_facts(job_id)
        self._kept["nodes"] = began, nodes
        return job, nodes

    def _keep(self, name: str, seconds: float, read: Callable[[], _T]) -> _T:
        at, kept = self._kept.get(name, (float("-inf"), None))
        if 0 <= time.time() - at < seconds:
            return cast("_T", kept)
        began = time.time()
        answer = read()
        self._kept[name] = began, answer
        return answer

    def _asked(self, job_id: int) -> Job | None:
        """Return the job as it was asked for in advance; None: it was not, or long ago."""
        query = self._query
        return query.job(job_id) if query is not None and query.serves(job_id) else None


class _Query(threading.Thread):
    """A query about one or several jobs that runs while this process does something else."""

    def __init__(self, slurm: KeptAnswers, job_ids: Collection[int]) -> None:
        super().__init__(daemon=True)
        self.began = time.time()
        self._kept_from = time.monotonic()
        self._slurm, self._job_ids = slurm, tuple(job_ids)
        self._unused = set(job_ids)
        self._jobs: dict[int, Job] = {}
        self._error: CsxError | None = None
        self.start()

    @property
    def _is_for_one(self) -> bool:
        return len(self._job_ids) == 1

    def run(self) -> None:
        try:
            if self._is_for_one:
                job, _ = self._slurm.read_facts(self._job_ids[0])
                self._jobs = {job.job_id: job}
            else:
                self._jobs = self._slurm.known_jobs(self._job_ids)
                # Else answers of a slow slurmctld would be too old for all but the first job.
                self._kept_from = time.monotonic()
        except CsxError as error:
            self._error = error

    def serves(self, job_id: int) -> bool:
        """Return whether the answer is to contain a job, and is not too old."""
        waits = self.is_alive() and not self._is_for_one
        return job_id in self._unused and (waits or time.monotonic() - self._kept_from < KEEP)

    def job(self, job_id: int) -> Job | None:
        """Return a job; None: it has to be read by itself.

        Raises:
            CsxError: the query was about this job alone, and failed.
        """
        self.join()
        if job_id in self._jobs:
            return self._jobs[job_id] if self.serves(job_id) else None
        self.drop(job_id)
        if self._is_for_one and self._error is not None:
            raise self._error
        return None

    def drop(self, job_id: int) -> None:
        """Do not use the answer about a job."""
        self._unused.discard(job_id)


def announce(slurm: Slurm, job_ids: Sequence[int]) -> None:
    """Tell a back end that can ask in advance which jobs will be expected next."""
    if isinstance(slurm, KeptAnswers):
        slurm.announce(job_ids)


def expect(slurm: Slurm, job_id: int) -> None:
    """Let a back end that can ask in advance ask for a job that is needed soon."""
    if isinstance(slurm, KeptAnswers):
        slurm.expect(job_id)


def commands_with_kept_answers(site: Site) -> KeptAnswers:
    """Return Slurm's commands, configured by the site's settings."""
    return KeptAnswers(
        bin_dir=site.slurm_bin, slurm_conf=site.slurm_conf, timeout=site.limits.command_timeout
    )
