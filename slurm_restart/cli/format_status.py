"""The text of `csx-restart status` for one run."""

import time

from slurm_restart.cli.find_run import MAX_PROBLEMS
from slurm_restart.cli.run_status import RunStatus, StatusCompile
from slurm_restart.cli.table import dash, position, reason_of
from slurm_restart.cli.terminal import output_width, wrap_lines
from slurm_restart.core.compile_sizes import CompileOutcome
from slurm_restart.core.printable import escape_controls

_BAR = 20
"""Characters of a whole bar."""
_INDENT = 17
OBSERVE_MODE = "observe: the site judges ends and restarts nothing"


def format_status(status: RunStatus) -> str:
    """Return where a run stands, as lines for the width of the terminal."""
    unknown = "not known to Slurm any more" if status.slurm_answers else "Slurm does not answer"
    lines = [f"job {status.job_id}: {status.state or unknown}"]
    values = [
        ("reason", reason_of(status.reason)),
        ("phase", _phase(status)),
        ("attempt", status.attempt),
        ("step", _step(status)),
        ("restarts", _restarts(status)),
        ("run_dir", status.run_dir),
        ("admin_comment", status.admin_comment),
        ("comment_record", status.comment_record),
        ("nodes", ",".join(status.nodes)),
        ("excluded", ",".join(status.excluded)),
        ("time left", _time_left(status)),
        ("next", _next(status)),
        ("mode", OBSERVE_MODE if status.observed else None),
        ("to stop it", status.to_stop),
        ("to go on", status.to_resume),
    ]
    lines += [_line(name, value) for name, value in values if value not in (None, "", "-")]
    lines += [
        _line("not used", f"{each.node} until {_clock(each.until)}: {each.evidence}")
        for each in status.exclusions
    ]
    lines += [_line("compiled ahead", _compile(each)) for each in status.compiles]
    lines += [
        _line(f"phase {each.phase + 1}", f"job {each.job_id}: {each.state}, {each.reason}")
        for each in status.other_phases
    ]
    lines += [*_attempts(status), *_notes(status)]
    return "\n".join(wrap_lines(map(escape_controls, lines), output_width(), _INDENT))


def _line(name: str, value: object) -> str:
    return f"  {name:<14} {value}"


def _phase(status: RunStatus) -> str | None:
    if status.phase is None or (status.phases or 1) == 1:
        return None
    return f"{status.phase + 1} of {status.phases}"


def _step(status: RunStatus) -> str | None:
    if status.step is None:
        return None
    shown = position(status.step, status.unit)
    if status.last_step is None or status.unit != "step":
        return shown
    return f"{shown} of {status.last_step}  {bar(status.step, status.first_step, status.last_step)}"


def bar(step: int, first: int | None, last: int) -> str:
    """Return how much is done, as a bar with the share."""
    begun = min(first or 0, last)
    share = 1.0 if last == begun else min(1.0, max(0.0, (step - begun) / (last - begun)))
    done = int(share * _BAR)
    return f"[{'#' * done}{'-' * (_BAR - done)}] {int(share * 100)} %"


def _restarts(status: RunStatus) -> str | None:
    if status.restarts is None:
        return None
    in_place = f", {status.in_place} of them in place" if status.in_place else ""
    if status.failures is None or status.max_num_restarts is None:
        return f"{status.restarts}{in_place}"
    failures = f"{status.failures} of {status.max_num_restarts} without progress"
    return f"{status.restarts}{in_place}; {failures}"


def _time_left(status: RunStatus) -> str | None:
    if status.time_left is None or status.time_limit is None:
        return None
    return f"{_duration(status.time_left)} of {_duration(status.time_limit)}"


def _next(status: RunStatus) -> str:
    return status.next if status.next_at is None else f"{status.next}: {_clock(status.next_at)}"


def _compile(compiled: StatusCompile) -> str:
    size = f"num_csx {compiled.num_csx}"
    match compiled.outcome:
        case CompileOutcome.COMPILED.value:
            return f"{size}, in {_duration(round(compiled.seconds))}"
        case CompileOutcome.REFUSED.value:
            return f"{size} does not compile, no restart gets it: {compiled.reason}"
        case _:
            return f"{size} failed, which says nothing about this size: {compiled.reason}"


def _attempts(status: RunStatus) -> list[str]:
    lines = []
    runs = status.summary.get("runs")
    for number, run in enumerate(runs if isinstance(runs, list) else []):
        steps = f"steps {dash(run.get('starting_step'))} to {dash(run.get('ending_step'))}"
        why = f": {run['failure_reason']}" if run.get("failure_reason") else ""
        tier = ", started in place" if run.get("in_place") else ""
        lines.append(_line(f"attempt {number}", f"{run.get('status')}, {steps}{tier}{why}"))
    return lines


def _notes(status: RunStatus) -> list[str]:
    lines = [_line("warning", text) for text in status.warnings[:MAX_PROBLEMS]]
    lines += [_line("problem", text) for text in status.problems[:MAX_PROBLEMS]]
    if (more := len(status.problems) - MAX_PROBLEMS) > 0:
        lines.append(_line("problem", f"{more} more: csx-restart status --json"))
    return lines


def _clock(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _duration(seconds: int) -> str:
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}-{clock}" if days else clock
