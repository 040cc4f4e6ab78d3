"""Write this attempt's self-report to the comment record in the job's Comment."""

import threading
import time
from collections.abc import Callable
from dataclasses import fields, replace
from enum import Enum
from typing import Any

from slurm_restart.core import job_comment
from slurm_restart.core.in_place_ends import NONE_IN_PLACE
from slurm_restart.core.job_comment import CommentRecord, in_place_fields
from slurm_restart.errors import CommentRecordError, SlurmError, SlurmUnavailableError
from slurm_restart.frozen import frozen
from slurm_restart.slurm.interface import Slurm

MAX_COMMENT = 1024
"""Bytes of a Comment that all releases of Slurm accept."""
INTERVAL = 30.0
"""Seconds between two updates while the attempt runs."""
RETRY = 5.0
FINAL_RETRY = 1.0
STATE_SAVE_TIME = 6.0
"""Seconds after which slurmctld has written a Comment to its state directory.

It saves up to 5 s after a change (SAVE_MAX_WAIT in slurmctld/state_save.c); if it is killed, it
loses what was not saved.
"""
_MAX_REFUSED = 2
"""Refusals after which the final update is given up: Slurm is already ending the job."""
_OF_ALLOCATION = frozenset({*in_place_fields(NONE_IN_PLACE), "left_out", "said"})
"""Fields that stay until the job starts again, if an attempt fails before it can write them."""
_OWN_FIELDS = _OF_ALLOCATION | frozenset(
    "attempt submit restarts earlier from_step step ended exit cause rule root nodes".split()  # noqa: SIM905
)
"""Fields that the supervisor writes; the others are policy, which people may change."""


class _Outcome(Enum):
    FAILED = "failed"
    WRITTEN = "written"
    UNCHANGED = "unchanged"
    """The Comment already has the wanted content."""


@frozen
class SelfReport:
    """What this attempt reports: values for the supervisor's own fields of the comment record."""

    values: dict[str, Any]

    def is_overtaken(self, present: str) -> bool:
        """Return whether the Comment has the record of a later attempt, which runs elsewhere.

        Its number alone does not tell: attempts count anew where their directory was removed.
        """
        base = _parse_or_none(present)
        attempt, submit = self.values.get("attempt"), self.values.get("submit")
        if base is None or base.attempt is None or base.submit is None:
            return False
        if attempt is None or submit is None:
            return False
        return bool(base.attempt > attempt and base.submit > submit)

    def merge_into(self, present: str, fallback: CommentRecord | None) -> str:
        """Return the new Comment; the present policy and the user's own text are kept.

        Args:
            present: the job's Comment now.
            fallback: the comment record at submission, used if `present` has no valid one.

        Raises:
            SlurmError: there is no comment record at all.
        """
        base = _parse_or_none(present) or fallback
        if base is None:
            raise SlurmError("it holds no comment record of this plugin")
        kept = _OF_ALLOCATION if base.submit == self.values.get("submit") else frozenset()
        cleared: dict[str, Any] = {
            field.name: field.default for field in fields(base) if field.name in _OWN_FIELDS - kept
        }
        comment_record = replace(base, **(cleared | self.values))
        text = job_comment.format_comment(comment_record, job_comment.split_user_comment(present))
        return text.encode()[:MAX_COMMENT].decode(errors="ignore")


def _parse_or_none(comment: str) -> CommentRecord | None:
    try:
        return job_comment.parse_comment(comment)
    except CommentRecordError:
        return None


class CommentWriter(threading.Thread):
    """Writes the self-report of one attempt in its own thread, as Slurm may not answer.

    Args:
        slurm: the cluster.
        job_id: this job.
        fallback: the comment record at submission.
        warn: called with a message for Slurm's log.
        interval: seconds between two updates.
    """

    def __init__(
        self,
        slurm: Slurm,
        job_id: int,
        *,
        fallback: CommentRecord | None,
        warn: Callable[[str], None],
        interval: float = INTERVAL,
    ) -> None:
        super().__init__(name="comment-writer", daemon=True)
        self._slurm = slurm
        self._job_id = job_id
        self._fallback = fallback
        self._warn = warn
        self._interval = interval
        self._changed = threading.Condition()
        self._report = SelfReport(values={})
        self._dirty = False
        self._final = False
        self._durable = False
        self._urgent = False
        self._written = threading.Event()
        self._refused = 0
        self._failing = False
        self._submit_time: int | None = None

    def update(self, **values: Any) -> None:
        """Change fields of the self-report; the thread writes them at its next update."""
        with self._changed:
            self._report = SelfReport(values=self._report.values | values)
            self._dirty = True
            self._changed.notify()

    def flush(self, timeout: float, **values: Any) -> bool:
        """Change fields and write them at once; return whether that was done within `timeout` s."""
        self._written.clear()
        self._urgent = True
        self.update(**values)
        return self._written.wait(timeout)

    def finish(self, timeout: float, *, durable: bool = False, **values: Any) -> bool:
        """Flush the final update; return whether it was written within `timeout` seconds.

        Args:
            timeout: in seconds.
            durable: wait until slurmctld has saved it, and write it again if slurmctld lost it.
            values: fields of the comment record.
        """
        with self._changed:
            self._final, self._durable = True, durable
        self.update(**values)
        self.join(timeout)
        return self.is_written

    @property
    def is_written(self) -> bool:
        """Whether the final update has been written."""
        return not self.is_alive() and not self._dirty

    def run(self) -> None:
        """Write updates until the final one is written or was refused too often."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._dirty)
                self._dirty, self._urgent = False, False
                report, final = self._report, self._final
            outcome = self._write(report)
            with self._changed:
                if outcome is _Outcome.FAILED:
                    self._dirty = True
                elif report is self._report:
                    self._written.set()
            if final and (self._is_complete(outcome) or self._refused >= _MAX_REFUSED):
                return
            if final and outcome is _Outcome.WRITTEN:
                time.sleep(STATE_SAVE_TIME)
                self._dirty = True
            else:
                self._pause(RETRY if outcome is _Outcome.FAILED else self._interval)

    def _is_complete(self, outcome: _Outcome) -> bool:
        """Return whether the final update needs no further check."""
        return outcome is _Outcome.UNCHANGED or (outcome is _Outcome.WRITTEN and not self._durable)

    def _pause(self, seconds: float) -> None:
        """Wait before the next update; a final update shortens or ends the wait."""
        with self._changed:
            if self._final:
                self._changed.wait(min(seconds, FINAL_RETRY))
            else:
                self._changed.wait_for(lambda: self._final or self._urgent, timeout=seconds)

    def _write(self, report: SelfReport) -> _Outcome:
        try:
            job = self._slurm.job(self._job_id)
            # Read only once: a requeue changes it while this attempt is still ending.
            self._submit_time = self._submit_time or job.submit_time
            identified = SelfReport(values=report.values | {"submit": self._submit_time})
            if identified.is_overtaken(job.comment):
                return _Outcome.UNCHANGED
            comment = identified.merge_into(job.comment, self._fallback)
            if comment != job.comment:
                self._slurm.update(job.name, {"Comment": comment})
        except SlurmError as error:
            self._refused += not isinstance(error, SlurmUnavailableError)
            if not self._failing:
                self._warn(f"the job's Comment cannot be written now: {error}")
            self._failing = True
            return _Outcome.FAILED
        self._failing, self._refused = False, 0
        return _Outcome.UNCHANGED if comment == job.comment else _Outcome.WRITTEN
