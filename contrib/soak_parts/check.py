"""What must hold of every run of a soak, whatever has struck it."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contrib.soak_parts.run import EVERY, SECOND_STEPS, STEPS, Run
from contrib.testing.checkpoints import same_weights

RESTARTING = frozenset({"requeue", "adjust", "release"})
NEVER_COUNTED = frozenset({"requeued", "preemption", "prolog_failed"})
ORPHANS_END_WITHIN = 40.0


def check(run: Run, reference: Path) -> Iterator[str]:
    """Everything that is wrong with a run that has ended."""
    yield from _check_states(run)
    yield from _check_restarts(run)
    if run.fault.restarts is None:
        yield from _check_result(run, reference)
    yield from _check_blame(run)
    yield from _check_processes(run)


def _check_states(run: Run) -> Iterator[str]:
    wanted = [run.fault.state] * run.phases
    if run.phases > 1 and run.fault.state != "COMPLETED":
        wanted[1] = "CANCELLED"  # its dependency cannot be satisfied any more
    missed = run.moment is None and run.fault.strike and not run.fault.submits
    if missed or _forgotten(run):
        wanted = ["COMPLETED"] * run.phases
    if run.fault.forgettable and run.states[0] == "FAILED":
        wanted[0] = "FAILED"  # Slurm knows of the exit code only; it has not run again
    if run.states != wanted:
        yield f"ended as {run.states}, expected {wanted}"


def _forgotten(run: Run) -> bool:
    return run.fault.forgettable and "cancelled" not in {end["category"] for end in run.ends()}


def _check_restarts(run: Run) -> Iterator[str]:
    ends = run.ends()
    restarts = sum(end["action"] in RESTARTING for end in ends)
    shown = int(run.cluster.job(run.job)["Restarts"])
    # A slurmctld that is killed within a second or so of an end or of a requeue does not know of it
    # any more: it counts too few, or the end that it has forgotten has to be brought about again.
    lost = (run.deaths + 1) // 2
    if not restarts - lost <= shown <= restarts + lost:
        yield f"Slurm counts {shown} restarts, the journal {restarts}"
    requeues = Counter(
        (event["submit_time"], event.get("attempt"))
        for event in run.cluster.journal(run.job)
        if event["event"] == "outcome" and "requeue" in event["done"]
    )
    yield from (
        f"end {key} was requeued {count} times"
        for key, count in requeues.items()
        if count > 1 + lost
    )
    if not ends or ends[-1]["action"] in RESTARTING:
        yield f"the last of {len(ends)} ends does not end the run: {ends[-1:]}"
    counted = sum(
        end["action"] in RESTARTING and end["category"] not in NEVER_COUNTED for end in ends
    )
    if (
        run.fault.restarts
        and counted != run.fault.restarts(run.most)
        and run.states[0] != "COMPLETED"
    ):
        yield f"{counted} restarts, expected exactly {run.fault.restarts(run.most)}"


def _check_result(run: Run, reference: Path) -> Iterator[str]:
    for phase, last in zip(range(run.phases), (STEPS, SECOND_STEPS), strict=False):
        name = f"checkpoint_{last}.mdl"
        if not (run.model_dir / name).exists():
            yield f"phase {phase}: step {last} was not reached"
        elif not same_weights(run.model_dir / name, reference / name):
            yield f"phase {phase}: the weights at step {last} are not the undisturbed run's"
    for folder in sorted(run.model_dir.glob("*_restartable")):
        runs = run.cluster.summary(folder)["runs"]
        yield from (f"{folder.name}: {text}" for text in _check_summary(runs))


def _check_summary(runs: list[dict[str, Any]]) -> Iterator[str]:
    if not runs or runs[-1]["status"] != "success":
        yield f"summary.json does not end in success: {[run['status'] for run in runs]}"
    elif runs[-1]["ending_step"] not in {STEPS, SECOND_STEPS}:
        yield f"summary.json ends at step {runs[-1]['ending_step']}"
    steps = [run["starting_step"] for run in runs if run["starting_step"] is not None]
    if steps != sorted(steps) or any(step % EVERY for step in steps):
        yield f"attempts start at steps {steps}"


def _check_blame(run: Run) -> Iterator[str]:
    if innocent := run.cluster.excluded(run.job) - run.cluster.harmed:
        yield f"excludes {sorted(innocent)}, which nothing has struck"


def _check_processes(run: Run) -> Iterator[str]:
    deadline = time.monotonic() + ORPHANS_END_WITHIN
    for job in run.jobs:
        while left := run.cluster.processes_of(job):
            if time.monotonic() > deadline:
                yield f"job {job} is over, and its processes live: {left}"
                break
            time.sleep(0.5)
