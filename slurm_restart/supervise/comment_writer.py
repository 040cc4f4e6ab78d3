"""Keeps the digest in the job's Comment current, at its own pace and never in anybody's way."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any

from slurm_restart.core import job_comment
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.errors import CommentRecordError, SlurmError, SlurmUnavailableError
from slurm_restart.slurm.interface import Slurm

MAX_COMMENT = 1024
"""What a Comment holds in all releases."""
INTERVAL = 30.0
"""Seconds between two updates while the attempt runs."""
RETRY = 5.0
LAST_RETRY = 1.0
SAVED = 6.0
"""Seconds after which slurmctld has a Comment on its disk.

It saves up to 5 s after a change (SAVE_MAX_WAIT in slurmctld/state_save.c) and forgets what it had
not saved when it is killed.
"""
_MAX_REFUSED = 2
"""Refusals after which the last word is given up: Slurm is ending the job already."""
_OWN = frozenset(
    "attempt submit restarts from_step step ended exit cause rule root nodes".split()  # noqa: SIM905
)
"""Fields that the supervisor writes; the others are policy, which people may change."""


class _Outcome(Enum):
    FAILED = "failed"
    WRITTEN = "written"
    KNOWN = "known"
    """The Comment says so already."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfReport:
    """What this attempt has to say: values of the digest's own fields."""

    values: dict[str, Any]

    def comment(self, present: str, fallback: CommentRecord | None) -> str:
        """The Comment that is to be.

        People win: the policy in the present digest and the text behind it stay as they are.

        Args:
            present: the Comment as it is.
            fallback: the digest at submission, for a Comment whose digest was lost.

        Raises:
            SlurmError: there is no digest to go by.
        """
        base = _parsed(present) or fallback
        if base is None:
            raise SlurmError("it holds no digest of this plugin's")
        cleared: dict[str, Any] = {
            one.name: one.default for one in fields(base) if one.name in _OWN
        }
        comment_record = replace(base, **(cleared | self.values))
        text = job_comment.format_comment(comment_record, job_comment.split_user_comment(present))
        return text.encode()[:MAX_COMMENT].decode(errors="ignore")


def _parsed(comment: str) -> CommentRecord | None:
    try:
        return job_comment.parse_comment(comment)
    except CommentRecordError:
        return None


class CommentWriter(threading.Thread):
    """Writes the word of one attempt.

    Args:
        slurm: the cluster.
        job_id: this job.
        fallback: the digest at submission.
        tell: called with a message for Slurm's log.
        interval: seconds between two updates.
    """

    def __init__(
        self,
        slurm: Slurm,
        job_id: int,
        *,
        fallback: CommentRecord | None,
        tell: Callable[[str], None],
        interval: float = INTERVAL,
    ) -> None:
        super().__init__(name="comment", daemon=True)
        self._slurm = slurm
        self._job_id = job_id
        self._fallback = fallback
        self._tell = tell
        self._interval = interval
        self._changed = threading.Condition()
        self._word = SelfReport(values={})
        self._dirty = False
        self._last = False
        self._durable = False
        self._refused = 0
        self._failing = False
        self._submit_time: int | None = None

    def say(self, **values: Any) -> None:
        """Change what is to be said; it is written when its time has come."""
        with self._changed:
            self._word = SelfReport(values=self._word.values | values)
            self._dirty = True
            self._changed.notify()

    def finish(self, timeout: float, *, durable: bool = False, **values: Any) -> bool:
        """Say the last word at once; whether it was written within `timeout` seconds.

        Args:
            timeout: in seconds.
            durable: stay until slurmctld cannot forget it any more, and say it again if it has.
            values: fields of the digest.
        """
        with self._changed:
            self._last, self._durable = True, durable
        self.say(**values)
        self.join(timeout)
        return not self.is_alive() and not self._dirty

    def run(self) -> None:
        """Write until the last word is written, or can never be."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._dirty)
                self._dirty, self_report, last = False, self._word, self._last
            outcome = self._write(self_report)
            if outcome is _Outcome.FAILED:
                with self._changed:
                    self._dirty = True
            if last and (self._is_done(outcome) or self._refused >= _MAX_REFUSED):
                return
            if last and outcome is _Outcome.WRITTEN:
                time.sleep(SAVED)
                self._dirty = True
            else:
                self._rest(RETRY if outcome is _Outcome.FAILED else self._interval)

    def _is_done(self, outcome: _Outcome) -> bool:
        """Whether the last word needs no more looking after."""
        return outcome is _Outcome.KNOWN or (outcome is _Outcome.WRITTEN and not self._durable)

    def _rest(self, seconds: float) -> None:
        """Wait before the next update; for the last word not long."""
        with self._changed:
            if self._last:
                self._changed.wait(min(seconds, LAST_RETRY))
            else:
                self._changed.wait_for(lambda: self._last, timeout=seconds)

    def _write(self, self_report: SelfReport) -> _Outcome:
        try:
            job = self._slurm.job(self._job_id)
            # Asked once: a requeue gives the job another one while this attempt still dies.
            self._submit_time = self._submit_time or job.submit_time
            named = SelfReport(values=self_report.values | {"submit": self._submit_time})
            comment = named.comment(job.comment, self._fallback)
            if comment != job.comment:
                self._slurm.update(self._job_id, {"Comment": comment})
        except SlurmError as error:
            self._refused += not isinstance(error, SlurmUnavailableError)
            if not self._failing:
                self._tell(f"the job's Comment cannot be written now: {error}")
            self._failing = True
            return _Outcome.FAILED
        self._failing, self._refused = False, 0
        return _Outcome.KNOWN if comment == job.comment else _Outcome.WRITTEN
