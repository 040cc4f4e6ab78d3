"""Decide on a restart in place when the trainer has ended, and carry it out.

Whatever fails on the way leaves the end as it is without this module: the job ends, and the hook
takes over.
"""

import os
import queue
import signal
import time
from typing import Any

from slurm_restart.core.count_in_place import count_in_place
from slurm_restart.core.decision import Decision
from slurm_restart.core.job_comment import in_place_fields
from slurm_restart.core.journal_events import Action
from slurm_restart.frozen import frozen
from slurm_restart.supervise import ask_allocation, processes
from slurm_restart.supervise.ask_allocation import AllocationQuestion
from slurm_restart.supervise.attempt_result import AttemptResult
from slurm_restart.supervise.ending import Ending
from slurm_restart.supervise.expected_decision import end_event
from slurm_restart.supervise.own_comment import OwnComment
from slurm_restart.supervise.recorder import Recorder
from slurm_restart.supervise.relaunch import block, has_ended_cleanly, relaunch, unblock
from slurm_restart.supervise.stop_request import STOP_REASONS
from slurm_restart.trainer.run_plan import RunPlan

DECISION_TIMEOUT = 5.0
"""Seconds to read the records of earlier attempts."""
COMMENT_TIMEOUT = 5.0
"""Seconds to write the counters to the job's Comment before the restart."""
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
    """

    plan: RunPlan
    result: AttemptResult
    question: AllocationQuestion
    recorder: Recorder
    comment: OwnComment
    reaper: int
    ending: Ending
    doubt: str | None

    def decide(self) -> Decision | None:
        """Return the decision about the end; None: it is not known.

        A restart in place is in the job's Comment then, so that it is counted whatever follows.
        """
        self.question.join(ask_allocation.TIMEOUT)
        answers: queue.SimpleQueue[Decision | None] = queue.SimpleQueue()
        self.recorder.expect(self.plan, self.result, self.question, self._find_doubt(), answers.put)
        try:
            decision = answers.get(timeout=DECISION_TIMEOUT)
        except queue.Empty:
            return None
        if decision is None or decision.action is not Action.RELAUNCH:
            return decision
        written = self.comment.flush(COMMENT_TIMEOUT, **self._counters(decision))
        return decision if written else None

    def _find_doubt(self) -> str | None:
        if self.doubt is not None:
            return self.doubt
        if self.ending.is_asked_to_end():
            return "the job was told to end"
        return None if has_ended_cleanly(self.reaper) else "processes of the program may be left"

    def _counters(self, decision: Decision) -> dict[str, Any]:
        """Return the fields of the comment record with this end as one before a restart."""
        start = self.result.start
        if start is None:
            return {}
        end = end_event(start, self.result.end, fall_back=decision.fall_back)
        return in_place_fields(count_in_place((*self.result.in_place, end)))

    def carry_out(self, delay: float) -> str:
        """Replace this process once `delay` seconds have passed; return only why it cannot be."""
        if not self.ending.await_end(self.recorder, RECORD_TIMEOUT) or self.recorder.is_failing:
            return "the end could not be recorded"
        until = time.monotonic() + delay
        while not self.ending.is_asked_to_end() and time.monotonic() < until:
            time.sleep(_POLL)
        # Checks and commands that hang.
        processes.signal_descendants(os.getpid(), signal.SIGKILL)
        block(STOP_REASONS)
        try:
            if self.ending.is_asked_to_end():
                return "the job was told to end"
            return str(relaunch(len(self.result.in_place) + 1))
        finally:
            unblock(STOP_REASONS)
