"""Attribute the end of the trainer to a cause, from its exit, its output and the stop reason."""

import re
import zlib
from enum import Enum

from slurm_restart.core.attribute_log import ExitFacts, attribute_log
from slurm_restart.core.attribution import Attribution
from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.finding import Finding
from slurm_restart.core.hang import HangReport
from slurm_restart.core.job import JobState
from slurm_restart.core.nan_flow import CHECKED
from slurm_restart.core.program_start import KnownProgress
from slurm_restart.frozen import frozen
from slurm_restart.logs.lines import split_label

SIGTERM = 15
_SIGABRT = 6
EXIT_CHECKED = 1
MAX_EXIT_CODE = 255
# Parts that differ each time one error is printed: addresses, CSX cluster jobs, process ids.
_VARYING = re.compile(r"0x[0-9a-fA-F]+|wsjob-[\w-]+|\bpid[= :]*\d+", re.ASCII)


class StopReason(Enum):
    """Why the supervisor ended the trainer; the values are texts for people."""

    TIME_LIMIT = "the job's time limit is near"
    TERMINATED = "the job was told to end"
    CANCELLED = "a person told the batch script to end (scancel --batch)"
    STOPPED = "a person wanted the run to end after this checkpoint (csx-restart stop)"
    SUPERSEDED = "another attempt of this run has begun elsewhere"
    NODE_DRAINED = "the site drains a node of the job"
    NODES_LOST = "Slurm has lost nodes of the job"
    NODE_SEARCH = "the search for a faulty node goes on"
    HUNG = "the run hung"
    SLOW = "the run was much slower than before"


@frozen
class TrainerEnd:
    """The facts about the trainer's end. `exit_code` is None if a signal ended it."""

    exit_code: int | None
    signal: int | None
    stop: StopReason | None
    """Why the supervisor ended it; None: the trainer ended by itself."""
    findings: tuple[Finding, ...]
    """Findings in the output up to the moment when the trainer was asked to end."""
    last_step_reached: bool
    """Whether there is a complete checkpoint at the last step of the run."""
    quiet_time: float = 0.0
    """Seconds without output before the trainer was asked to end."""
    nodes: tuple[str, ...] = ()
    """The job's nodes; empty: not known."""
    layout: tuple[str, ...] = ()
    """The node of each task of the job; empty: not known."""
    checkpoint: str | None = None
    """What the trainer started from, if an earlier attempt wrote it."""
    hang: HangReport | None = None
    """What the watchdog found, if it ended the trainer."""
    checked: bool = False
    """It exited with 0 before the last step, as its check for NaN was done."""
    progress: KnownProgress = KnownProgress()
    """How far it got."""

    @property
    def claims_success(self) -> bool:
        """Whether the exit code alone says that the run has finished."""
        ended_well = self.exit_code == 0 and self.stop is None and not self.checked
        return ended_well and not self.last_step_reached

    @property
    def job_exit_code(self) -> int:
        """The exit code of the job: the trainer's, or 128 + N for signal N.

        If the supervisor ended a trainer that then exits with 0 before its last step, the code is
        143 (128 + SIGTERM): with 0 the run would count as finished. For the same reason it is 1
        once a check for NaN is done. SIGABRT ended a trainer that hung in place of TERM.
        """
        if self.stop is StopReason.HUNG and _SIGABRT in (self.signal, (self.exit_code or 0) - 128):
            return 128 + SIGTERM
        if self.signal is not None:
            return min(128 + self.signal, MAX_EXIT_CODE)
        if self.exit_code == 0 and self.checked:
            return EXIT_CHECKED
        if self.exit_code == 0 and self.stop is not None and not self.last_step_reached:
            return 128 + SIGTERM
        return self.exit_code or 0


NOTHING_TO_DO = TrainerEnd(exit_code=0, signal=None, stop=None, findings=(), last_step_reached=True)
"""In place of the trainer's end where the last step was reached before its start."""


def attribute_trainer_end(end: TrainerEnd) -> Attribution:
    """Return the cause of the end; the hook may change it, as it also has Slurm's facts."""
    if end.checked and end.stop is None:
        return Attribution(category=Category.UNKNOWN, rule=CHECKED, confidence=Confidence.CERTAIN)
    if end.stop is None or end.job_exit_code == 0:
        facts = ExitFacts(
            exit_code=end.exit_code or 0,
            signal=end.signal or 0,
            nodes=end.nodes,
            checkpoint=end.checkpoint,
            layout=end.layout,
            progress=end.progress,
        )
        return attribute_log(facts, end.findings)
    hung = end.stop is StopReason.HUNG
    if hung or end.stop is StopReason.TIME_LIMIT:
        # If an error was printed and the trainer then hung, the error is the cause.
        facts = ExitFacts(
            state=JobState.TIMEOUT,
            seconds_without_output=0.0 if hung else end.quiet_time,
            nodes=end.nodes,
            layout=end.layout,
            progress=end.progress,
        )
        cause = attribute_log(facts, end.findings)
        if cause.category is not Category.TIMEOUT:
            return cause
    category, confidence = cause_of_stop(end.stop)
    return Attribution(
        category=category,
        rule=f"supervisor.{end.stop.name.lower()}",
        confidence=confidence,
        blamed=() if end.hang is None else end.hang.blamed,
    )


_CAUSES_OF_STOPS: dict[StopReason, tuple[Category, Confidence]] = {
    StopReason.TIME_LIMIT: (Category.TIMEOUT, Confidence.CERTAIN),
    StopReason.HUNG: (Category.HANG, Confidence.LIKELY),
    StopReason.SLOW: (Category.HANG, Confidence.LIKELY),
    StopReason.CANCELLED: (Category.CANCELLED, Confidence.LIKELY),
    StopReason.STOPPED: (Category.CANCELLED, Confidence.CERTAIN),
    StopReason.NODE_DRAINED: (Category.NODE_DRAINED, Confidence.CERTAIN),
    StopReason.NODES_LOST: (Category.HARDWARE_NODE, Confidence.CERTAIN),
    StopReason.NODE_SEARCH: (Category.NODE_SEARCH, Confidence.CERTAIN),
    StopReason.TERMINATED: (Category.UNKNOWN, Confidence.GUESS),
    StopReason.SUPERSEDED: (Category.UNKNOWN, Confidence.GUESS),
}


def cause_of_stop(stop: StopReason) -> tuple[Category, Confidence]:
    """Return the category of an end that the supervisor brought about, and its confidence."""
    return _CAUSES_OF_STOPS[stop]


_PUT_OFF = "what the output blames would end the run, and does if it repeats"

_OF_ONE_NODE = "what the processes of one node alone report may be the fault of that node"


def explain(end: TrainerEnd, attribution: Attribution) -> str:
    """Return the reason of the end for people; empty for success."""
    category = attribution.category
    if category is Category.COMPLETED:
        return ""
    if attribution.rule == CHECKED:
        return "the check for NaN is done, and the run goes on without it"
    status = f"exit code {end.exit_code}" if end.signal is None else f"signal {end.signal}"
    if end.stop is not None and end.hang is not None and end.job_exit_code != 0:
        cause = attribution.root_cause
        first = "" if cause is None else f"; before that: {cause.text}"
        what = f"{end.stop.value}: {end.hang.reason} ({status}){first}"
        return "; ".join([what, *end.hang.lines[:1]])
    if end.stop is not None and end.job_exit_code != 0:
        return f"{end.stop.value} ({status})"
    meaning = _PUT_OFF if attribution.put_off else category.meaning
    if attribution.of_one_node:
        meaning = _OF_ONE_NODE
    text = f"{category.value}: {meaning} ({status})"
    cause = attribution.root_cause
    return text if cause is None else f"{text}: {cause.text}"


def fingerprint(line: str) -> str:
    """Return eight hexadecimal digits that are equal each time the same error is printed."""
    text = _VARYING.sub("*", split_label(line)[1].strip())
    # hashlib would load 3 MB of OpenSSL into the supervisor.
    return f"{zlib.crc32(text.encode('utf-8', 'replace')):08x}"
