"""Infer the state of a job from its log, where Slurm's own facts are not at hand."""

from collections.abc import Sequence
from dataclasses import replace

from slurm_restart.core.attribute_log import ExitFacts, attribute_log
from slurm_restart.core.attribution import Attribution
from slurm_restart.core.category import Category
from slurm_restart.core.finding import Finding, Role
from slurm_restart.core.job import JobFlag, JobState
from slurm_restart.core.root_cause import DEATHS, is_sure
from slurm_restart.core.slurm_state import STATE_CAUSES
from slurm_restart.frozen import frozen

NEAR = 50
"""Lines within which output of other ranks, or of buffers, can follow the end of a process."""

STATE_RULES: dict[str, JobState] = {
    "slurm.time_limit": JobState.TIMEOUT,
    "slurm.preempted": JobState.PREEMPTED,
    "slurm.cancelled_node_failure": JobState.NODE_FAIL,
    "slurm.node_failure": JobState.NODE_FAIL,
    "slurm.oom_kill": JobState.OUT_OF_MEMORY,
    "slurm.job_cancelled": JobState.CANCELLED,
}
"""Log rules for lines in which Slurm says how it ended the job, the most specific ones first."""
_REQUEUE = "JOB REQUEUE"


@frozen
class InferredState:
    """The likely state of a job, and the line that shows it."""

    state: JobState | JobFlag
    finding: Finding


def attribute_with_inferred_state(
    facts: ExitFacts, findings: Sequence[Finding]
) -> tuple[Attribution, InferredState | None]:
    """Attribute one end; where the state is not known, with the one that the log shows, if any.

    The confidence is then no more than that of the line.
    """
    if facts.state is not None or (facts.exit_code, facts.signal) == (0, 0):
        return attribute_log(facts, findings), None
    ending = None if facts.exit_code else _program_end(findings)
    if ending is not None:
        return _completed(ending, findings), InferredState(state=JobState.COMPLETED, finding=ending)
    imposed = _imposed_end(findings)
    if imposed is None:
        return attribute_log(facts, findings), _failure(findings)
    attribution = attribute_log(replace(facts, state=imposed.state), findings)
    if attribution.rule == STATE_CAUSES[imposed.state].rule:
        attribution = replace(
            attribution, rule=imposed.finding.rule, confidence=imposed.finding.confidence
        )
    return attribution, imposed


def _completed(ending: Finding, findings: Sequence[Finding]) -> Attribution:
    return Attribution(
        category=Category.COMPLETED,
        rule=ending.rule,
        confidence=ending.confidence,
        secondary=tuple(finding for finding in findings if finding is not ending),
    )


def _program_end(findings: Sequence[Finding]) -> Finding | None:
    """Return the program's own last line, unless something there, or after it, shows a failure."""
    endings = {finding.file: finding for finding in findings if finding.role is Role.FINISHED}
    if not endings or any(_contradicts(finding, endings) for finding in findings):
        return None
    return endings[min(endings)]


def _contradicts(finding: Finding, endings: dict[str, Finding]) -> bool:
    """Return whether a finding shows that the program did not end as it says."""
    ending = endings.get(finding.file)
    is_later = ending is None or finding.line > ending.line
    if finding.role is Role.START:
        return ending is not None and is_later
    if finding.role is Role.CASCADE:
        return is_later and not finding.went_on
    if finding.role is not Role.ROOT:
        return False
    if is_later:
        return not finding.went_on or is_sure(finding)
    if not is_sure(finding):
        return False
    # A process that has died leaves output of others behind; a message alone was survived.
    died = finding.raised or finding.category in DEATHS
    return finding.went_on <= NEAR if died else not finding.went_on


def _imposed_end(findings: Sequence[Finding]) -> InferredState | None:
    """Return the state that Slurm's own lines give."""
    said = [finding for finding in findings if finding.went_on <= NEAR]
    for rule, state in STATE_RULES.items():
        finding = next((finding for finding in reversed(said) if finding.rule == rule), None)
        if finding is not None:
            requeued = state is JobState.PREEMPTED and _REQUEUE in finding.text
            return InferredState(state=JobFlag.REQUEUED if requeued else state, finding=finding)
    return None


def _failure(findings: Sequence[Finding]) -> InferredState | None:
    """Return FAILED if a sure cause, or the consequence of one, is in the log."""
    failures = (
        finding
        for finding in findings
        if is_sure(finding) or (finding.role is Role.CASCADE and not finding.went_on)
    )
    finding = next(failures, None)
    return None if finding is None else InferredState(state=JobState.FAILED, finding=finding)
