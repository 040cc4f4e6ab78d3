"""Slurm's commands for many jobs in a row: nodes and configuration are kept for a moment."""

import threading
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar, cast

from slurm_restart.control.site import Site
from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.core.job import Job, NodeState, PartitionState
from slurm_restart.errors import CsxError
from slurm_restart.slurm.commands import Commands

KEEP, KEEP_CLUSTER = 1.0, 10.0
"""Seconds that answers on nodes and on the configuration are kept. Both may also change while a
decision is carried out."""
_T = TypeVar("_T")
_Facts = tuple[Job, tuple[NodeState, ...]]


class KeptAnswers(Commands):
    """Commands that asks for a job in advance, and seldom for what all jobs have in common."""

    _expected: "_Expected | None" = None

    @cached_property
    def _kept(self) -> dict[str, tuple[float, Any]]:
        """Answers by name, each with the time when it was asked for, in epoch seconds."""
        return {}

    def expect(self, job_id: int) -> None:
        """Ask for a job and the nodes in a thread while this process goes on."""
        self._expected = _Expected(self, job_id)

    def drop(self, name: str, *, before: float) -> None:
        """Read `nodes` or `cluster` again if it was read before a moment, in epoch seconds."""
        at, _ = self._kept.get(name, (before, None))
        if at < before:
            del self._kept[name]

    def job_end_facts(self, job_id: int) -> _Facts:
        """Return one job with every field, and all nodes, at most `KEEP` seconds old."""
        return self._take_expected(job_id) or self.read_facts(job_id)

    def job(self, job_id: int) -> Job:
        """Return one job with every field; before 24.11 `state` is None while COMPLETING."""
        expected = self._take_expected(job_id)
        return super().job(job_id) if expected is None else expected[0]

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

    def _take_expected(self, job_id: int) -> _Facts | None:
        """Return the answer that was asked for in advance, once, unless it is old."""
        expected, self._expected = self._expected, None
        if expected is None or expected.job_id != job_id:
            return None
        facts = expected.facts()
        return facts if time.monotonic() - expected.asked_at < KEEP else None


class _Expected(threading.Thread):
    """A query about a job that runs while the rest of the package is imported."""

    def __init__(self, slurm: KeptAnswers, job_id: int) -> None:
        super().__init__(daemon=True)
        self.job_id = job_id
        self.asked_at = time.monotonic()
        self._slurm = slurm
        self._facts: _Facts | CsxError = CsxError("the query to Slurm did not finish")
        self.start()

    def run(self) -> None:
        try:
            self._facts = self._slurm.read_facts(self.job_id)
        except CsxError as error:
            self._facts = error

    def facts(self) -> _Facts:
        """Return the answer.

        Raises:
            CsxError: the query failed.
        """
        self.join()
        if isinstance(self._facts, CsxError):
            raise self._facts
        return self._facts


def commands_with_kept_answers(site: Site) -> KeptAnswers:
    """Return Slurm's commands, configured by the site's settings."""
    return KeptAnswers(
        bin_dir=site.slurm_bin, slurm_conf=site.slurm_conf, timeout=site.limits.command_timeout
    )
