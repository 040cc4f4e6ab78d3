"""Notice that Slurm has lost nodes of a job that goes on without them (--no-kill)."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, repeat

from slurm_restart.core.attribution import Attribution, Blame
from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.job import JobState, NodeState
from slurm_restart.core.slurm_state import STATE_CAUSES
from slurm_restart.errors import SlurmError
from slurm_restart.slurm.format_hostlist import format_hostlist
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.attempt_result import AttemptResult
from slurm_restart.supervise.events import Events, NodesLost
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.last_look import RULE
from slurm_restart.trainer.attempt_records import AttemptEnd

INTERVAL = 10.0
"""Seconds between two looks. srun ends by itself when Slurm finds a node down: this is for programs
that go on without it."""
FIRST_INTERVALS = (1.0, 1.0, 2.0, 4.0)
"""Seconds before the first looks. Between the last look before the start and the program's own job
step nothing else notices the loss of a node."""


class NodeWatch(threading.Thread):
    """Asks Slurm every few seconds whether the job still has the nodes of the attempt.

    Args:
        slurm: returns the cluster.
        job: the allocation with the attempt's nodes.
        events: receives `NodesLost` at most once.
        report: called with a line for the user.
    """

    def __init__(
        self,
        slurm: Callable[[], Slurm],
        job: JobEnvironment,
        events: Events,
        report: Callable[[str], None],
    ) -> None:
        super().__init__(name="node-watch", daemon=True)
        self._slurm = slurm
        self._job = job
        self._events = events
        self._report = report
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the looks."""
        self._stopped.set()

    def run(self) -> None:
        """Look until nodes are lost or `stop` is called."""
        for interval in chain(FIRST_INTERVALS, repeat(INTERVAL)):
            if self._stopped.wait(interval):
                return
            if lost := self._lost():
                self._report(f"Slurm has lost {format_hostlist(lost)}: the program is ended")
                self._events.put(NodesLost())
                return

    def _lost(self) -> list[str]:
        if self._job.job_id is None:
            return []
        try:
            job = self._slurm().job(self._job.job_id)
        except SlurmError:
            return []  # the next look asks again
        if not job.running or not job.nodes:
            return []
        return [name for name in self._job.nodes if name not in job.nodes]


def blame_down(end: AttemptEnd, lost: Sequence[NodeState]) -> AttemptEnd:
    """Return the end record of an attempt whose supervisor has gone with one of these nodes."""
    if not lost:
        return end
    cause = STATE_CAUSES[JobState.NODE_FAIL]
    facts = "; ".join(f"Slurm: {node.name} is {node.state} {node.reason}".strip() for node in lost)
    return replace(
        end,
        category=cause.category.value,
        rule=cause.rule,
        confidence=Confidence.LIKELY.value,
        blamed_nodes=tuple(node.name for node in lost),
        recoverable=True,
        reason=f"{facts}; {end.reason}",
    )


def blame_lost(result: AttemptResult, lost: dict[str, str]) -> AttemptResult:
    """Return the result with the loss of nodes as its cause, unless the program had finished.

    A cause that certainly stops the run stays: with all of its nodes it would have failed too.

    Args:
        result: as the program's end and its output show it.
        lost: the attempt's nodes that Slurm has lost, with what it shows of them.
    """
    found = result.attribution
    stops = not found.recoverable and found.confidence is Confidence.CERTAIN
    if not lost or stops or found.category is Category.COMPLETED:
        return result
    evidence = {node: f"Slurm: {shown}" for node, shown in lost.items()}
    attribution = Attribution(
        category=Category.HARDWARE_NODE,
        rule=RULE,
        confidence=Confidence.CERTAIN,
        blamed=tuple(Blame(node=node, evidence=text) for node, text in evidence.items()),
        root_cause=found.root_cause,
        secondary=found.secondary,
    )
    text = "; ".join(f"{node}: {why}" for node, why in evidence.items())
    end = replace(
        result.end,
        category=attribution.category.value,
        rule=RULE,
        reason=f"{attribution.category.value}: {attribution.category.meaning}: {text}",
        confidence=attribution.confidence.value,
        blamed_nodes=attribution.names,
        recoverable=True,
    )
    return replace(result, attribution=attribution, end=end)
