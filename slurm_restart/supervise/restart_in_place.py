"""Decide on a restart in place when the trainer has ended, and carry it out.

Whatever fails on the way leaves the end as it is without this module: the job ends, and the hook
takes over.
"""

import os
import queue
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from slurm_restart.core.count_in_place import count_in_place
from slurm_restart.core.decision import Decision
from slurm_restart.core.job_comment import in_place_fields
from slurm_restart.core.placement import lost_nodes
from slurm_restart.frozen import frozen
from slurm_restart.supervise import ask_allocation, processes
from slurm_restart.supervise.ask_allocation import AllocationQuestion
from slurm_restart.supervise.attempt_result import AttemptResult, said_of
from slurm_restart.supervise.ending import Ending
from slurm_restart.supervise.expected_decision import end_event
from slurm_restart.supervise.lost_nodes import blame_lost
from slurm_restart.supervise.own_comment import OwnComment
from slurm_restart.supervise.recorder import Recorder
from slurm_restart.supervise.relaunch import block, has_ended_cleanly, relaunch, unblock
from slurm_restart.supervise.stop_request import STOP_REASONS
from slurm_restart.trainer.run_plan import RunPlan

if TYPE_CHECKING:
    from slurm_restart.supervise.outage_check import OutageCheck

DECISION_TIMEOUT = 5.0
"""Seconds to read the records of earlier attempts."""
COMMENT_TIMEOUT = 5.0
"""Seconds to write the counters to the job's Comment before the restart."""
LOST_COMMENT_TIMEOUT = 0.5
"""The same where Slurm has lost nodes of the job. The restart does not depend on it then: without
accounting, 22.05 refuses every update of such a job (measured)."""
RECORD_TIMEOUT = 5.0
"""Seconds to record the end."""
_POLL = 0.1
"""Seconds between two looks for a signal."""


@frozen
class RestartInPlace:
    """One possible restart in place.

    Args:
        plan: the phase.
        result: how the attempt has ended.
        question: what Slurm shows of the allocation.
        recorder: reads and writes the records.
        comment: writes the job's Comment.
        reaper: process id of the reaper.
        ending: knows whether the job was told to end.
        doubt: why the supervisor cannot start another attempt, as far as it is known.
        release: called right before this process is replaced: ends what runs beside it.
        outage: tells when a cause outside of the job has passed; None: that is not known.
    """

    plan: RunPlan
    result: AttemptResult
    question: AllocationQuestion
    recorder: Recorder
    comment: OwnComment
    reaper: int
    ending: Ending
    doubt: str | None
    release: Callable[[], None]
    outage: "OutageCheck | None" = None

    def find_lost_nodes(self) -> "RestartInPlace":
        """Return this with the loss of nodes as the cause of the end, if Slurm has lost some."""
        self.question.join(ask_allocation.TIMEOUT)
        lost = lost_nodes(self.question.allocation(doubt=self.doubt))
        return replace(self, result=blame_lost(self.result, lost))

    def decide(self) -> Decision | None:
        """Return the decision about the end; None: it is not known.

        A restart in place is in the job's Comment then, so that it is counted whatever follows. A
        job that has lost nodes may refuse that: its supervisor counts by its own records.
        """
        answers: queue.SimpleQueue[Decision | None] = queue.SimpleQueue()
        self.recorder.expect(self.plan, self.result, self.question, self._find_doubt(), answers.put)
        try:
            decision = answers.get(timeout=DECISION_TIMEOUT)
        except queue.Empty:
            return None
        if decision is None or not decision.action.in_place:
            return decision
        shrunk = self.question.has_lost_nodes
        timeout = LOST_COMMENT_TIMEOUT if shrunk else COMMENT_TIMEOUT
        written = self.comment.flush(timeout, **self._counters(decision))
        return decision if written or shrunk else None

    def _find_doubt(self) -> str | None:
        if self.doubt is not None:
            return self.doubt
        if self.ending.is_asked_to_end():
            return "the job was told to end"
        return None if has_ended_cleanly(self.reaper) else "processes of the program may be left"

    def _counters(self, decision: Decision) -> dict[str, Any]:
        """Return the fields of the comment record with this end as one before a restart."""
        start, placement = self.result.start, decision.placement
        if start is None or placement is None:
            return {}
        left_out = self.question.left_out(placement.nodes, placement.spares)
        end = end_event(start, self.result.end, fall_back=decision.fall_back)
        return {
            **in_place_fields(count_in_place((*self.result.in_place, end))),
            "left_out": left_out,
            "said": said_of(left_out, self.result.unhealthy),
        }

    def _wait(self, delay: int) -> None:
        """Wait so many seconds, less if the job is told to end or the cause has passed."""
        until = time.monotonic() + delay
        check = self.outage if delay else None
        if check is not None:
            check.start()
        while not self.ending.is_asked_to_end() and time.monotonic() < until:
            if check is not None and check.is_over:
                break
            # Two threads may end the wait, one by the queue of events and one by the check.
            time.sleep(_POLL)
        if check is not None:
            check.finish()

    def carry_out(self, decision: Decision) -> str:
        """Replace this process once the decision's delay is over; return only why it cannot be."""
        if not self.ending.await_end(self.recorder, RECORD_TIMEOUT) or self.recorder.is_failing:
            return "the end could not be recorded"
        self._wait(decision.delay)
        self.release()
        # Checks and commands that hang.
        processes.signal_descendants(os.getpid(), signal.SIGKILL)
        block(STOP_REASONS)
        try:
            if self.ending.is_asked_to_end():
                return "the job was told to end"
            placement = decision.placement
            if placement is None:
                return "its nodes are not known"
            return str(relaunch(len(self.result.in_place) + 1, placement.nodes, placement.spares))
        finally:
            unblock(STOP_REASONS)
