"""`csx-restart explain`: show why a run's attempts ended, and what was decided and done."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import click

from slurm_restart.cli.explain_ends import ShownEnd, shown_ends
from slurm_restart.cli.find_run import MAX_PROBLEMS, Target, resolve_known
from slurm_restart.cli.format_status import OBSERVE_MODE
from slurm_restart.cli.options import json_option
from slurm_restart.cli.run_status import observes
from slurm_restart.cli.site import site_option, site_or_defaults
from slurm_restart.cli.stop_advice import stop_advice
from slurm_restart.cli.terminal import output_width, wrap_lines
from slurm_restart.control.find_journal import Found
from slurm_restart.core.end_report import (
    EndReport,
    NextAttempt,
    OtherNote,
    next_attempt,
    other_notes,
)
from slurm_restart.core.printable import escape_controls
from slurm_restart.core.progress_unit import ProgressUnit
from slurm_restart.errors import UsageError
from slurm_restart.slurm.format_hostlist import format_hostlist

_INDENT = 15
_OWN_NAMES = {"expected_decision": "decision"}
"""What a field is called of a job that requeues itself: it has decided."""


@click.command()
@click.argument("target")
@site_option
@json_option
def command(target: str, site_path: Path, as_json: bool) -> None:  # noqa: FBT001 - a flag
    """Show why the attempts of TARGET (a job id or a run directory) ended, and what was done.

    The source is the controller's journal or the public copy of it if you may read one, else the
    run directory; the output names it. For your own runs, missing end records are written; root
    only reads.
    """
    site = site_or_defaults(site_path)
    phase, found = resolve_known(target, site)
    observed = observes(phase, site)
    if found is None and phase.run_dir is None:
        raise UsageError(
            f"{target}: no journal of this job can be read here (settings: {site_path}), and its "
            "run directory is not known: give the run directory"
        )
    if as_json:
        click.echo(json.dumps(_data(phase, found, observed=observed), indent=2))
        return
    lines = map(escape_controls, _lines(phase, found, observed=observed))
    click.echo("\n".join(wrap_lines(lines, output_width(), _INDENT)))


def _data(target: Target, found: Found | None, *, observed: bool) -> dict[str, object]:
    return {
        "job_id": target.job_id,
        "observed": observed,
        "run_dir": str(target.run_dir) if target.run_dir else None,
        "source": str(found.path) if found else str(target.run_dir),
        "damaged_lines": list(found.damaged) if found else [],
        "ends": [asdict(end.report) | {"timing": end.timing} for end in shown_ends(target, found)],
        "notes": [asdict(note) for note in (other_notes(found.events) if found else ())],
        "next": _next_data(found),
        "attempts": target.attempts(),
        "problems": list(target.problems),
    }


def _lines(target: Target, found: Found | None, *, observed: bool) -> list[str]:
    lines = [
        f"job {target.job_id}" + (f", run directory {target.run_dir}" if target.run_dir else "")
    ]
    lines += [f"mode: {OBSERVE_MODE}"] if observed else []
    lines += [f"problem: {text}" for text in target.problems[:MAX_PROBLEMS]]
    if target.job is not None and (advice := stop_advice(target.job)) is not None:
        lines.append(f"to stop it: {advice}")
    if found is None:
        own = bool(target.summary.get("self_requeue"))
        why = "the job's journal cannot be read here, or the controller has not begun one yet"
        why = "the job requeues itself" if own else why
        lines.append(f"source: {target.run_dir} ({why})")
        return [*lines, *_from_run_dir(target)]
    lines.append(f"source: {found.path}")
    if found.damaged:
        lines.append(f"lines that cannot be read: {', '.join(map(str, found.damaged))}")
    notes = other_notes(found.events)
    ends = shown_ends(target, found)
    if not ends:
        lines.append("no attempt has ended yet")
    for end in ends:
        while notes and notes[0].at < end.report.at:
            lines += _note_lines(notes.pop(0))
        lines += ["", *_end_lines(end)]
    lines += [line for note in notes for line in _note_lines(note)]
    following = next_attempt(found.events)
    return lines if following is None else [*lines, "", *_next_lines(following)]


def _note_lines(note: OtherNote) -> list[str]:
    who = "" if note.who is None else f"{note.who}: "
    return ["", f"{_clock(note.at)} {who}{note.text}"]


def _next_data(found: Found | None) -> dict[str, object] | None:
    following = next_attempt(found.events) if found else None
    return None if following is None else asdict(following)


def _next_lines(following: NextAttempt) -> list[str]:
    lines = [f"next attempt waits; wanted since {_clock(following.since)}:"]
    if following.num_nodes is not None:
        count = following.num_nodes
        lines.append(f"  size         {count} {'node' if count == 1 else 'nodes'}")
    if following.exc_nodes is not None:
        nodes = format_hostlist(following.exc_nodes) if following.exc_nodes else "none"
        lines.append(f"  excluded     {nodes}")
    if following.start_time is not None:
        lines.append(f"  not before   {_clock(following.start_time)}")
    if following.reason is not None:
        lines.append(f"  because      {following.reason}")
    return lines


def _clock(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _timing_line(timing: dict[str, float]) -> str | None:
    """Format the stages in the order of time, with the seconds since the one before.

    None: there is only one.
    """
    items = sorted(timing.items(), key=lambda item: item[1])
    if len(items) < 2:  # noqa: PLR2004 - one stage alone
        return None
    parts = [f"{items[0][0]} {_clock(int(items[0][1]))}"]
    for (_, before), (name, at) in pairwise(items):
        parts.append(f"{name} {at - before:+.1f} s")
    return f"  timing       {', '.join(parts)}"


def _end_lines(shown: ShownEnd) -> list[str]:
    end = shown.report
    # Slurm shows no run time of a job that it has requeued itself.
    ran = f" after {end.run_time} s" if end.run_time else ""
    tier = f"; attempt {shown.number + 1} started in place" if shown.is_relaunched else ""
    head = f"attempt {shown.number}{_on(end.nodes)} ended {_clock(end.at)}{ran}: {end.category}"
    lines = [head + tier]
    lines.append(f"  judged by    {end.rule} (found by the {end.found_by})")
    lines += _evidence(shown.attempt)
    lines.append(f"  progress     {_progress(end)}")
    lines.append(f"  decision     {end.action or 'not known'}: {end.reason}")
    lines += _counters(end)
    if end.observed:
        lines.append("  observe mode nothing was done")
    lines += [f"  excluded     {node}: {why}" for node, why in end.excluded.items()]
    lines += [f"  asked Slurm  {operation}" for operation in end.operations]
    lines += [f"  refused      {text}" for text in end.refused]
    lines += [f"  note         {text}" for text in end.notes]
    if end.next_started is not None:
        lines.append(f"  next attempt seen running {_clock(end.next_started)}")
    if (stages := _timing_line(shown.timing)) is not None:
        lines.append(stages)
    if end.final_state is not None:
        lines.append(f"  final state  {end.final_state}")
    return lines


def _counters(end: EndReport) -> list[str]:
    """Format the counters; none of an end that is counted with the next one of the journal."""
    if end.failures is None or end.total_restarts is None:
        return []
    in_place = f", {end.in_place} of them in place before" if end.in_place else ""
    return [
        f"  counters     {end.failures} without progress, {end.total_restarts} in all{in_place}"
    ]


def _on(nodes: Sequence[str]) -> str:
    """Return how many nodes an attempt had; empty: it is not known."""
    return f" on {len(nodes)} {'node' if len(nodes) == 1 else 'nodes'}" if nodes else ""


def _evidence(attempt: dict[str, object]) -> list[str]:
    """Return the root cause in the log, with its place, and how sure it is."""
    root = attempt.get("root_cause")
    if not isinstance(root, dict) or not root.get("text"):
        return []
    place = f"{root.get('file') or 'output.log'}:{root.get('line')}"
    sure = f", {attempt['confidence']}" if attempt.get("confidence") else ""
    return [f"  root cause   {root['text']}", f"  found in     {place}{sure}"]


def _progress(end: EndReport) -> str:
    steps = "steps unknown"
    if end.step is not None:
        unit = ProgressUnit(end.unit)
        start = "None" if end.from_step is None else unit.format(end.from_step)
        steps = f"from {start} to {unit.format(end.step).removeprefix('step ')}"
    match end.progress:
        case True:
            return f"yes, {steps}"
        case False:
            return f"none, {steps}"
        case None:
            return f"not known, {steps}"


def _from_run_dir(target: Target) -> list[str]:
    lines: list[str] = []
    own = bool(target.summary.get("self_requeue"))
    for number, attempt in enumerate(target.attempts()):
        status, reason = attempt.get("status"), attempt.get("failure_reason")
        tier = ", started in place" if attempt.get("in_place") else ""
        lines.append(f"attempt {number}{tier}: {status}" + (f": {reason}" if reason else ""))
        lines += [
            f"  {_OWN_NAMES.get(name, name) if own else name:<18} {attempt[name]}"
            for name in ("category", "rule", "starting_step", "ending_step", "expected_decision")
            if attempt.get(name) is not None
        ]
        lines += [f"  {'blamed':<18} {node}" for node in _texts(attempt.get("blamed_nodes"))]
        lines += _requeue_lines(attempt.get("requeue"))
    return lines or ["no attempt is on record"]


def _requeue_lines(asked: object) -> list[str]:
    """Format what the supervisor has asked of Slurm, where it requeues the job itself."""
    if not isinstance(asked, dict):
        return []
    lines = [f"  {'not before':<18} {asked['not_before']}"] if asked.get("not_before") else []
    # A guess that the search leaves out is among them; a node with evidence is blamed above.
    if nodes := _texts(asked.get("excluded")):
        lines.append(f"  {'ExcNodeList':<18} {format_hostlist(nodes)}")
    if asked.get("num_nodes") is not None:
        lines.append(f"  {'size':<18} {asked['num_nodes']}")
    if asked.get("accepted"):
        return lines
    name = "refused" if asked.get("accepted") is False else "answer not known"
    return [*lines, f"  {name:<18} see run.log"]


def _texts(value: object) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
