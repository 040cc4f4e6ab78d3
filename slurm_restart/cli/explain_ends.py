"""The ends that `csx-restart explain` shows, with their stages: every end of the run, in order.

The journal has the ends that hook or reconciler have judged. After one in place the supervisor goes
on by itself, so that only the run directory has it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from slurm_restart.cli.find_run import Target
from slurm_restart.control.find_journal import Found
from slurm_restart.core.end_report import EndReport, end_reports
from slurm_restart.core.journal_events import Action
from slurm_restart.core.progress_unit import ProgressUnit
from slurm_restart.frozen import frozen
from slurm_restart.supervise.expected_decision import split_decision
from slurm_restart.trainer.attempt_records import AttemptEnd, AttemptStart
from slurm_restart.trainer.rundir import RunDir

_SUPERVISOR = "supervisor"
_Numbered = tuple[int, EndReport]
"""The number of an attempt, and its end."""
_Records = Mapping[int, tuple[AttemptStart | None, AttemptEnd | None]]


@frozen
class ShownEnd:
    """An end with what the run directory has of its attempt."""

    number: int
    """Of the attempt, from 0."""
    report: EndReport
    timing: dict[str, float]
    """The stages from the start of the attempt to the next one, in epoch seconds and in order.

    The journal has whole seconds; the times of the trainer are those of its host's clock.
    """
    attempt: dict[str, Any]
    """As in summary.json; empty: not known."""

    @property
    def is_relaunched(self) -> bool:
        """Whether the supervisor restarted the run in place; no hook has seen this end."""
        return self.report.found_by == _SUPERVISOR and _is_in_place(self.report.action)


def shown_ends(target: Target, found: Found | None) -> list[ShownEnd]:
    """Return the ends of a run; those of the run directory alone where no journal can be read."""
    records = {} if target.run_dir is None else _records(RunDir(target.run_dir))
    reports = [] if found is None else end_reports(found.events)
    journaled = [
        (index if report.attempt is None else report.attempt, report)
        for index, report in enumerate(reports)
    ]
    known = {number for number, _ in journaled}
    own = [
        (number, _own_report(number, start, end))
        for number, (start, end) in sorted(records.items())
        if end is not None and number not in known
    ]
    if found is not None:
        own = [(number, report) for number, report in own if _is_in_place(report.action)]
    attempts = dict(enumerate(target.attempts()))
    return [
        ShownEnd(
            number=number,
            report=report,
            timing=_timing(number, report, records),
            attempt=attempts.get(number, {}),
        )
        for number, report in _merged(journaled, own)
    ]


def _merged(journaled: Sequence[_Numbered], own: Sequence[_Numbered]) -> list[_Numbered]:
    """Return the ends of the journal in its order, and each other one before the next attempt's."""
    left, merged = list(own), []
    for number, report in journaled:
        while left and left[0][0] < number:
            merged.append(left.pop(0))
        merged.append((number, report))
    return merged + left


def _is_in_place(action: str | None) -> bool:
    return any(each.in_place and action == each.value for each in Action)


def _records(run_dir: RunDir) -> _Records:
    try:
        return {each.number: (each.start(), each.end()) for each in run_dir.attempts()}
    except OSError:
        return {}


def _own_report(number: int, start: AttemptStart | None, end: AttemptEnd) -> EndReport:
    action, reason = split_decision(end.expected_decision)
    ran = None if start is None or end.backfilled else int(end.at - start.at)
    return EndReport(
        attempt=number,
        at=int(end.at),
        found_by=_SUPERVISOR,
        category=end.category,
        rule=end.rule,
        action=action or None,
        reason=reason or end.reason,
        progress=end.progress,
        from_step=None if start is None else start.from_step,
        step=end.step,
        unit=(ProgressUnit.STEP if start is None else start.unit).value,
        failures=None,
        total_restarts=None,
        in_place=0 if start is None else start.in_place,
        nodes=() if start is None else start.nodes,
        run_time=ran,
        restart_at=None,
    )


def _timing(number: int, report: EndReport, records: _Records) -> dict[str, float]:
    start, end = records.get(number, (None, None))
    following = records.get(number + 1, (None, None))[0]
    judged = report.found_by != _SUPERVISOR
    stages = {
        "started": None if start is None else start.at,
        "ended": None if end is None or end.backfilled else end.at,
        "judged": report.at if judged else None,
        "Slurm asked": report.asked_at,
        "next attempt seen": report.next_started,
        "next started": None if following is None else following.at,
    }
    return {name: at for name, at in stages.items() if at is not None}
