"""What must hold when a trial of a supervisor's crash point is at rest."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contrib.crash_points_parts.points import Mode
from contrib.crash_points_parts.supervisor_trial import SupervisorTrial
from contrib.crash_points_parts.trial import ABSENT, ShownJob

_LOG_LINE = re.compile(r"\[(main|run_[0-9]+)\] \d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+:   .+")


def violations(trial: SupervisorTrial, jobs: dict[int, ShownJob]) -> list[str]:
    """Return everything that is wrong; empty: nothing is."""
    states = [*_states(trial, jobs)]
    if not trial.is_final(jobs):
        return states
    trial.show()
    return [
        *states,
        *_trainers(trial),
        *_checkpoints(trial),
        *_records(trial),
        *_attempts(trial),
        *_left(trial),
    ]


def _states(trial: SupervisorTrial, jobs: dict[int, ShownJob]) -> Iterator[str]:
    wanted = ("FAILED", "CANCELLED") if trial.scenario.fails else ("COMPLETED", "COMPLETED")
    numbers = {"job": trial.job_id, "dependent job": trial.dependent}
    for (what, number), state in zip(numbers.items(), wanted, strict=True):
        job = jobs.get(number, ABSENT)
        if job.state != state:
            yield f"the {what} is {job.state} ({job.reason}), expected {state}"


def _trainers(trial: SupervisorTrial) -> Iterator[str]:
    starts, wanted = trial.starts(), len(trial.scenario.starts)
    for line in trial.lines("two-at-once"):
        yield f"{line} has started a trainer while another one was running"
    expected = 0 if trial.scenario.fails else 1
    if len(finished := trial.lines("finished")) != expected:
        yield f"{len(finished)} trainers have finished, expected {expected}"
    elif finished and int(finished[0]) != starts[-1][0]:
        yield f"attempt {starts[-1][0]} has started a trainer after attempt {finished[0]} finished"
    fewest = wanted - trial.reached
    # Where each failure counts, a death takes the place of one.
    most = wanted + (trial.reached and not trial.scenario.fails)
    if not fewest <= len(starts) <= most:
        yield f"{len(starts)} trainers were started, expected {wanted}"
    numbers = [number for number, _ in starts]
    if sorted(set(numbers)) != numbers:
        yield f"the trainers were started by the attempts {numbers}"
    steps = tuple(step for _, step in starts)
    if not trial.reached and steps != trial.scenario.starts:
        yield f"the trainers started from the steps {steps}, expected {trial.scenario.starts}"
    if not trial.scenario.falls_back and list(steps) != sorted(steps):
        yield f"progress was lost: the trainers started from the steps {steps}"


def _checkpoints(trial: SupervisorTrial) -> Iterator[str]:
    for step in sorted(set(map(int, trial.lines("saved")))):
        if not (trial.folder / f"model_dir/checkpoint_{step}.mdl").exists():
            yield f"the checkpoint of step {step} is gone"


def _records(trial: SupervisorTrial) -> Iterator[str]:
    for path in sorted(trial.run_dir.rglob("*.json*")):
        if path.name.startswith("."):
            continue  # what a killed process has not renamed yet; nobody reads it
        texts = [path.read_text()] if path.suffix == ".json" else path.read_text().splitlines()
        for text in texts:
            if _parse(text) is None:
                yield f"{path.relative_to(trial.run_dir)} is damaged: {text[:80]!r}"
    for line in _log(trial):
        if not _LOG_LINE.fullmatch(line):
            yield f"run.log has a damaged line: {line[:80]!r}"


def _log(trial: SupervisorTrial) -> list[str]:
    path = trial.run_dir / "run.log"
    return path.read_text().splitlines() if path.exists() else []


def _attempts(trial: SupervisorTrial) -> Iterator[str]:
    attempts = sorted(int(path.name) for path in (trial.run_dir / "attempts").glob("[0-9]*"))
    if attempts != list(range(len(attempts))):
        yield f"the attempts are {attempts}"
    wanted = len(trial.scenario.starts)
    # The hook has no report of an attempt that has started no program: it counts for nothing.
    exact = trial.scenario.fails and trial.point.mode is Mode.SUPERVISOR_ALONE
    fewest, most = (wanted, wanted) if exact else (wanted - trial.reached, wanted + trial.reached)
    if not fewest <= len(attempts) <= most:
        yield f"{len(attempts)} attempts, expected {wanted}"
    tokens = []
    log = "\n".join(_log(trial))
    for number in attempts:
        directory = trial.run_dir / "attempts" / str(number)
        start, end, fence = (
            _read(directory / f"{name}.json") for name in ("start", "end", "fence")
        )
        if start is not None and fence is None:
            yield f"attempt {number} has started without a fence"
        tokens += [] if fence is None else [fence["token"]]
        if end is None:
            yield f"attempt {number} has no end record"
        ending = rf"\[run_{number + 1}\].*(ended as|no exit record)"
        if end is not None and not re.search(ending, log):
            yield f"run.log does not tell how attempt {number} has ended"
    if len(set(tokens)) != len(tokens):
        yield "two attempts have the same token"
    end = _read(trial.run_dir / f"attempts/{attempts[-1]}/end.json") if attempts else None
    category = None if end is None else end["category"]
    if (category == "completed") is trial.scenario.fails:
        yield f"the last end record says {category}"
    yield from _counted(trial, attempts)


def _counted(trial: SupervisorTrial, attempts: list[int]) -> Iterator[str]:
    summary = _read(trial.run_dir / "summary.json") or {}
    listed = [run["attempt"] for run in summary.get("runs", ())]
    if listed != attempts:
        yield f"summary.json has the attempts {listed}, there are {attempts}"
    # An attempt that was killed before its report has no number there.
    judged = [end.get("attempt") for end in trial.cluster.ends(trial.job_id)]
    known = [number for number in judged if number is not None]
    if len(set(known)) != len(known) or len(judged) - len(known) > trial.reached:
        yield f"the journal has ends of the attempts {judged}"
    restarts = int(trial.cluster.job(trial.job_id).get("Restarts", "0"))
    # What follows a death may have no spare for the node that is lost then.
    most = trial.scenario.requeues + trial.reached * (1 + trial.scenario.node_down)
    if restarts > most:
        yield f"Slurm has requeued the job {restarts} times"


def _left(trial: SupervisorTrial) -> Iterator[str]:
    for words in trial.processes():
        yield f"a process is left: {words[:120]}"


def _parse(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _read(path: Path) -> dict[str, Any] | None:
    return _parse(path.read_text()) if path.exists() else None
