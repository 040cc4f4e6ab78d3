"""What the supervisor makes of its trainer's end, and which decision it expects of the hook."""

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from slurm_restart.core.attribute_log import ExitFacts, attribute_log
from slurm_restart.core.attribution import Attribution
from slurm_restart.core.category import TREATMENTS, Category, Confidence, Restart
from slurm_restart.core.decision import Decision, Progress, Situation, decide
from slurm_restart.core.finding import Finding
from slurm_restart.core.history import Action, EndEvent, replay
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.policy import SitePolicy, policy_for
from slurm_restart.logs.lines import split_label
from slurm_restart.trainer.attempt_records import AttemptEnd, AttemptStart

SIGTERM = 15
MAX_EXIT = 255
HUNG = 3600.0
"""Seconds without a word before the time limit: longer than any step or checkpoint takes."""
# What differs between two printings of one error: addresses, the CSX cluster's jobs, process ids.
_VARYING = re.compile(r"0x[0-9a-fA-F]+|wsjob-[\w-]+|\bpid[= :]*\d+", re.ASCII)


class StopReason(Enum):
    """Why the supervisor ended its trainer, where it did."""

    TIME_LIMIT = "the job's time limit is near"
    TERMINATED = "the job was told to end"
    SUPERSEDED = "another attempt of this run has begun elsewhere"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainerEnd:
    """How the trainer ended. `exit_code` is None where a signal ended it."""

    exit_code: int | None
    signal: int | None
    stop: StopReason | None
    findings: tuple[Finding, ...]
    """Of what the trainer had printed before it was told to end."""
    last_step_reached: bool
    """A checkpoint at the step at which the run is done is there."""

    silence: float = 0.0
    """Seconds without output before the trainer was told to end."""

    @property
    def job_exit_code(self) -> int:
        """The exit code of the job: the trainer's, or 128 + N for signal N.

        A trainer that ends with 0 because it was told to end has not finished: with 0, nobody
        could tell it from one that has.
        """
        if self.signal is not None:
            return min(128 + self.signal, MAX_EXIT)
        if self.exit_code == 0 and self.stop is not None and not self.last_step_reached:
            return 128 + SIGTERM
        return self.exit_code or 0


def attribute_trainer_end(it: TrainerEnd) -> Attribution:
    """The verdict, of which Slurm's own facts may make something else in the hook."""
    if it.stop is None or it.job_exit_code == 0:
        facts = ExitFacts(exit_code=it.exit_code or 0, signal=it.signal or 0)
        return attribute_log(facts, it.findings)
    if it.stop is StopReason.TIME_LIMIT:
        # An error after which the trainer only hung is the cause, and not the time limit.
        stopped = attribute_log(ExitFacts(state="TIMEOUT"), it.findings)
        if stopped.category is not Category.TIMEOUT:
            return stopped
        if it.silence >= HUNG:
            return Attribution(
                category=Category.HANG, rule="supervisor.silent", confidence=Confidence.LIKELY
            )
    timeout = it.stop is StopReason.TIME_LIMIT
    return Attribution(
        category=Category.TIMEOUT if timeout else Category.UNKNOWN,
        rule=f"supervisor.{it.stop.name.lower()}",
        confidence=Confidence.CERTAIN if timeout else Confidence.GUESS,
    )


def explain(it: TrainerEnd, attribution: Attribution) -> str:
    """The reason for a person; empty for success."""
    if attribution.category is Category.COMPLETED:
        return ""
    how = f"exit code {it.exit_code}" if it.signal is None else f"signal {it.signal}"
    if it.stop is not None and it.job_exit_code != 0:
        return f"{it.stop.value} ({how})"
    meaning = f"{attribution.category.value}: {TREATMENTS[attribution.category].meaning} ({how})"
    return (
        meaning if attribution.root_cause is None else f"{meaning}: {attribution.root_cause.text}"
    )


def fingerprint(line: str) -> str:
    """Eight hexadecimal digits that are the same for two printings of one error."""
    text = _VARYING.sub("*", split_label(line)[1].strip())
    # hashlib would bring 3 MB of OpenSSL into the supervisor.
    return f"{zlib.crc32(text.encode('utf-8', 'replace')):08x}"


def category_of(end: AttemptEnd) -> Category:
    """The category of a record; one that this release does not know counts as unknown."""
    try:
        return Category(end.category)
    except ValueError:
        return Category.UNKNOWN


def recoverable(category: Category) -> bool:
    """Whether a restart can help."""
    return TREATMENTS[category].restart is not Restart.NO


def expected_decision(
    comment_record: CommentRecord,
    earlier: Iterable[tuple[AttemptStart, AttemptEnd]],
    start: AttemptStart,
    attribution: Attribution,
    *,
    step: int | None,
    root: str | None,
    now: float,
) -> Decision:
    """The decision that the hook would take if Slurm had nothing to add."""
    history = replay(_event(one, end) for one, end in earlier)
    made = start.from_step is not None and step is not None and step > start.from_step
    return decide(
        Situation(
            attribution=Attribution(
                category=attribution.category,
                rule=attribution.rule,
                confidence=attribution.confidence,
                root_hash=root,
            ),
            progress=Progress(
                made=made, attempt=start.attempt, from_step=start.from_step, step=step
            ),
            policy=policy_for(comment_record, SitePolicy()),
            history=history,
            restarts=start.restarts,
            run_time=int(now - start.at),
        )
    )


def _event(start: AttemptStart, end: AttemptEnd) -> EndEvent:
    """An end on record as the journal would have it. Its attempt was followed by another one."""
    return EndEvent(
        at=int(end.at),
        # Attempts are told apart by it; the real one is not on record.
        submit_time=start.attempt,
        restarts=start.restarts,
        requeued=False,
        category=category_of(end),
        rule=end.rule,
        action=Action.REQUEUE,
        reason=end.reason,
        attempt=start.attempt,
        progress=end.progress,
        from_step=start.from_step,
        step=end.step,
        root=end.root,
    )


def format_decision(decision: Decision) -> str:
    """The expected decision in one line."""
    return f"{decision.action.value} ({decision.reason})"
