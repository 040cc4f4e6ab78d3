"""What a trainer's exit status and log say of its end, without Slurm."""

from collections.abc import Sequence
from dataclasses import dataclass

from slurm_restart.core.category import TREATMENTS, Category, Confidence, Restart
from slurm_restart.core.classify import CRASH_SIGNALS, RootCause
from slurm_restart.core.finding import Finding, Role, choose


@dataclass(frozen=True, kw_only=True)
class LogVerdict:
    """What the supervisor makes of its trainer's end from the exit status and the log."""

    category: Category
    rule: str
    confidence: Confidence
    nodes: tuple[str, ...] = ()
    root_cause: RootCause | None = None
    secondary: tuple[Finding, ...] = ()


def classify_log(
    findings: Sequence[Finding], *, exit_code: int, signal: int, file: str | None = None
) -> LogVerdict:
    """Judge a trainer's end without Slurm: exit status 0 is completed whatever the text says."""
    if exit_code == 0 and signal == 0:
        return LogVerdict(
            category=Category.COMPLETED, rule="exit.zero", confidence=Confidence.CERTAIN
        )
    finding = choose(findings)
    if finding is not None and finding.role is Role.ROOT:
        guess = finding.confidence is Confidence.GUESS
        fatal = TREATMENTS[finding.category].restart is Restart.NO
        return LogVerdict(
            # A guess never stops a run.
            category=Category.UNKNOWN if guess and fatal else finding.category,
            rule=finding.rule,
            confidence=finding.confidence,
            nodes=() if guess else finding.nodes,
            root_cause=RootCause(line=finding.line, text=finding.text, file=file),
            secondary=tuple(other for other in findings if other is not finding),
        )
    if signal in CRASH_SIGNALS or exit_code - 128 in CRASH_SIGNALS:
        return LogVerdict(
            category=Category.SOFTWARE_CRASH, rule="signal.crash", confidence=Confidence.LIKELY
        )
    return LogVerdict(
        category=Category.UNKNOWN,
        rule="exit.nonzero" if finding is None else finding.rule,
        confidence=Confidence.GUESS,
        root_cause=None
        if finding is None
        else RootCause(line=finding.line, text=finding.text, file=file),
        secondary=tuple(findings),
    )
