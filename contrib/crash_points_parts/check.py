"""What must hold when a trial is at rest, wherever the plugin was interrupted."""

import json
from collections.abc import Iterator
from typing import Any

from contrib.crash_points_parts.points import Mode
from contrib.crash_points_parts.trial import ABSENT, ShownJob, Trial
from contrib.testing.crash_points import Act, Caller, When

RESTARTING = frozenset({"requeue", "adjust", "release"})
KILLED_HOOK = frozenset({Mode.HOOK, Mode.RECONCILER})


def violations(trial: Trial, jobs: dict[int, ShownJob]) -> list[str]:
    """Return everything that is wrong; empty: nothing is."""
    if (attempts := cancelled_attempts(trial)) is not None:
        return [*_cancelled(trial, jobs, attempts), *_journal(trial)]
    found = [*_states(trial, jobs), *_attempts(trial), *_exclusions(trial, jobs), *_journal(trial)]
    # What slurmctld has forgotten ends twice, in whatever way Slurm finds it.
    if not trial.forgotten:
        found += _ends(trial)
    return found


def cancelled_attempts(trial: Trial) -> int | None:
    """Return how many attempts there were when the job was cancelled; None: it was not.

    Slurm ignores scancel between the end of an attempt and its requeue. A job that is cancelled
    while its next attempt runs already counts as not cancelled where it ends as if it were not.
    """
    number = trial.points.reached(trial.run.job_id, trial.point.mode.caller)
    if trial.point.mode is not Mode.SCANCEL or number is None:
        return None
    calls = trial.points.timed_calls(trial.run.job_id, trial.point.mode.caller)
    cancelled_at = calls[number - 1][0]
    before = calls[: number if trial.point.when is When.AFTER else number - 1]
    others = [
        call
        for caller in set(Caller) - {trial.point.mode.caller}
        for call in trial.points.timed_calls(trial.run.job_id, caller)
        if call[0] < cancelled_at
    ]
    requeues = sum(call.startswith("scontrol requeue ") for _, call in (*before, *others))
    requeues += trial.scenario.node_down
    attempts = sum(attempt.started < cancelled_at for attempt in trial.run.attempts())
    return attempts if requeues >= attempts else None


def ends(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the ends on record, each once, as it was judged last."""
    found = {
        end["restarts"] - bool(end["requeued"]): end for end in events if end["event"] == "end"
    }
    return list(found.values())


def _cancelled(trial: Trial, jobs: dict[int, ShownJob], attempts: int) -> Iterator[str]:
    job = jobs.get(trial.run.job_id, ABSENT)
    if job.state != "CANCELLED":
        yield f"cancelled by a person after a requeue, but {job.state} ({job.reason})"
    if (more := len(trial.run.attempts()) - attempts) > 0:
        yield f"started {more} times more after a person had cancelled it"


def _states(trial: Trial, jobs: dict[int, ShownJob]) -> Iterator[str]:
    scenario = trial.scenario
    job, dependent = jobs.get(trial.run.job_id, ABSENT), jobs.get(trial.dependent, ABSENT)
    wanted = {scenario.state}
    killed = trial.point.mode in KILLED_HOOK or trial.point.mode.act is Act.SLURMCTLD
    if scenario.state == "FAILED" and killed:
        # Requeued because nobody could judge its end, or shown RUNNING by a slurmctld that had not
        # saved it; then judged and cancelled.
        wanted.add("CANCELLED")
    if job.state not in wanted:
        yield f"the job is {job.state} ({job.reason}), expected {' or '.join(sorted(wanted))}"
    expected = "COMPLETED" if scenario.state == "COMPLETED" else "CANCELLED"
    if dependent.state != expected:
        yield f"the dependent job is {dependent.state} ({dependent.reason}), expected {expected}"


def _attempts(trial: Trial) -> Iterator[str]:
    scenario, attempts = trial.scenario, trial.run.attempts()
    wanted = len(scenario.ends)
    if not wanted <= len(attempts) <= wanted + trial.forgotten:
        yield f"{len(attempts)} attempts, expected {wanted}"
    sizes = tuple(len(attempt.nodes) for attempt in attempts)
    whole = (scenario.nodes,) * len(attempts)
    expected = scenario.sizes or whole
    over = min((event["until"] for event in trial.exclude_events()), default=0)
    # On a busy machine the exclusion may be over before the second attempt starts.
    late = bool(over) and len(attempts) > 1 and attempts[1].started >= over
    if not trial.forgotten and sizes != expected and not (late and sizes == whole):
        yield f"attempts of {sizes} nodes, expected {expected}"
    if trial.blamed and len(attempts) > 1 and not trial.cause_lost:
        second = attempts[1]
        if trial.blamed in second.nodes and (not over or second.started < over):
            yield f"attempt 1 ran on the blamed node {trial.blamed}"


def _ends(trial: Trial) -> Iterator[str]:
    found = [(end["category"], end["action"] in RESTARTING) for end in ends(trial.events())]
    expected = [(end.category, end.restarts) for end in trial.scenario.ends]
    if found != expected:
        yield f"ends {_format(found)}, expected {_format(expected)}"


def _format(listed: list[tuple[str, bool]]) -> str:
    return ", ".join(f"{category} {'restart' if again else 'stop'}" for category, again in listed)


def _exclusions(trial: Trial, jobs: dict[int, ShownJob]) -> Iterator[str]:
    ours = {event["node"] for event in trial.exclude_events()} | trial.requested_exclusions()
    for job_id in (trial.run.job_id, trial.dependent):
        excluded = trial.excluded_at_the_end(jobs, job_id)
        if unknown := sorted(set(excluded) - ours):
            yield f"job {job_id} excludes {unknown}, of which no journal knows"
    # An attempt whose start slurmctld has lost is not followed by one more.
    over = max((event["until"] for event in trial.exclude_events()), default=0)
    early = trial.forgotten and any(each.started < over for each in trial.run.attempts()[-1:])
    left = trial.excluded_at_the_end(jobs, trial.run.job_id)
    if trial.scenario.lifted and left and not early:
        yield f"the exclusion of {left} was never lifted"
    excludes = trial.later_phase_excludes or trial.cause_lost
    if trial.scenario.later_phase and not excludes:
        yield f"the later phase has never excluded {trial.blamed}"


def _journal(trial: Trial) -> Iterator[str]:
    for job_id in (trial.run.job_id, trial.dependent):
        for path in trial.cluster.state_dir.glob(f"journal/*/{job_id}-*.jsonl"):
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                if not _is_object(line):
                    yield f"{path.name}: line {number} is damaged: {line[:80]!r}"


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
