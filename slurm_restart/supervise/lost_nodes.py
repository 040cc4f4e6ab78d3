"""Notice that Slurm has lost nodes of a job that goes on without them (--no-kill)."""

import threading
import time
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
from slurm_restart.supervise.srun_processes import SrunEnds
from slurm_restart.trainer.attempt_records import AttemptEnd

INTERVAL = 10.0
"""Seconds between two questions to Slurm, which must not become a load on slurmctld."""
FIRST_INTERVALS = (1.0, 1.0, 2.0, 4.0)
"""Seconds before the first questions. Between the last look before the start and the program's own
job step nothing else notices the loss of a node."""
SRUN_INTERVAL = 3.0
"""Seconds between two questions because an srun has ended, as it does at once when Slurm finds one
of its nodes down: a script may run many short ones."""
QUESTIONS = 2
"""Questions after the end of an srun: it may come before Slurm shows the loss."""


class QuestionTimes:
    """When Slurm is to be asked, by `time.monotonic`."""

    def __init__(self, now: float) -> None:
        self._intervals = chain(FIRST_INTERVALS, repeat(INTERVAL))
        self._regular = now + next(self._intervals)
        self._left = 0
        """Questions to come because an srun has ended."""
        self._earliest = now

    def note_srun_end(self) -> None:
        """An srun has ended while the program runs on."""
        self._left = QUESTIONS

    def due(self, now: float) -> float:
        """Return the seconds until the next question, at least 0."""
        next_one = min(self._regular, self._earliest) if self._left else self._regular
        return max(0.0, next_one - now)

    def note_answer(self, now: float) -> None:
        """A question that was due was asked, and has been answered now."""
        if self._left and now >= self._earliest:
            self._left -= 1
            self._earliest = now + SRUN_INTERVAL
        if now >= self._regular:
            self._regular = now + next(self._intervals)


class NodeWatch(threading.Thread):
    """Asks Slurm every few seconds whether the job still has the nodes of the attempt.

    And soon after an srun has ended, which may be the only sign of the loss here: its output may go
    to a file of its own, and the program wait for the others.

    Args:
        slurm: returns the cluster.
        job: the allocation with the attempt's nodes.
        events: receives `NodesLost` at most once.
        report: called with a line for the user.
        sruns: of the program.
    """

    def __init__(
        self,
        slurm: Callable[[], Slurm],
        job: JobEnvironment,
        events: Events,
        report: Callable[[str], None],
        sruns: SrunEnds,
    ) -> None:
        super().__init__(name="node-watch", daemon=True)
        self._slurm = slurm
        self._job = job
        self._events = events
        self._report = report
        self._sruns = sruns
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the looks."""
        self._stopped.set()

    def run(self) -> None:
        """Look until nodes are lost or `stop` is called."""
        times = QuestionTimes(time.monotonic())
        while not self._stopped.wait(min(times.due(time.monotonic()), self._sruns.pause)):
            now = time.monotonic()
            if self._sruns.look(now):
                times.note_srun_end()
            if times.due(now):
                continue
            if lost := self._lost():
                self._report(f"Slurm has lost {format_hostlist(lost)}: the program is ended")
                self._events.put(NodesLost())
                return
            times.note_answer(time.monotonic())

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
