"""Find which process ended first, by what launchers report of the ends of processes."""

import re
from collections.abc import Sequence

from slurm_restart.core.finding import Finding

TASKS = re.compile(r": tasks? (\d{1,8}(?:-\d{1,8})?(?:,\d{1,8}(?:-\d{1,8})?)*):", re.ASCII)
"""What srun reports of tasks: `srun: error: csx3: tasks 4-6,8: Killed`."""
SERIES = 200
"""Lines within which reports of srun are of one step: other tasks print until they are ended."""
KILLED = frozenset({"slurm.task_killed", "signal.kill", "mpi.rank_killed", "workflow.killed"})
"""Rules of lines that report a process that KILL has ended."""
EXITED = "slurm.task_exited"
"""The rule of srun's report of a task that has ended by itself, with an exit code of its own."""


def first_report(report: Finding, findings: Sequence[Finding]) -> Finding:
    """Return srun's first report of the tasks of a step; other findings are returned as they are.

    srun ends the tasks that are left after one has failed, and reports them, too.

    Args:
        report: one of the findings.
        findings: all findings.
    """
    if not TASKS.search(report.text):
        return report
    earlier = (
        finding
        for finding in findings
        if finding.file == report.file and 0 < report.line - finding.line <= SERIES
        if TASKS.search(finding.text)
    )
    return min(earlier, key=lambda finding: finding.line, default=report)


def killed_after(error: Finding, findings: Sequence[Finding]) -> Finding | None:
    """Return the report that a program was killed that had gone on after an error, or None.

    A process that is killed prints nothing more of what it had buffered.
    """
    if not _has_survived(error):
        return None
    kills = (
        finding
        for finding in findings
        if finding.rule in KILLED and finding.file == error.file and finding.line > error.line
    )
    last = max(kills, key=lambda finding: finding.line, default=None)
    if last is None:
        return None
    first = first_report(last, findings)
    return first if first.rule in KILLED and first.line > error.line else None


def is_outlived(error: Finding, findings: Sequence[Finding]) -> bool:
    """Return whether a program that was killed, by its exit status, had gone on after an error."""
    return _has_survived(error) and not any(TASKS.search(finding.text) for finding in findings)


def _has_survived(error: Finding) -> bool:
    # After an exception that has ended a rank, others and its own buffer may print progress.
    return error.went_on > 0 and not error.raised
