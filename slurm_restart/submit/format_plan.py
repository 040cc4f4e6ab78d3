"""Format what csx-sbatch prints: plans and results, as text and as JSON."""

import json
import shlex
from collections.abc import Sequence
from enum import Enum
from typing import Any

from slurm_restart.core.record_reader import to_data
from slurm_restart.submit.compile_prefetch import describe_compiles
from slurm_restart.submit.submission import PhaseJob, Submission
from slurm_restart.submit.submit import SubmittedPhase, preview_run_dir
from slurm_restart.trainer.run_plan import CheckpointFormat

PREVIOUS = "<job id of the phase before>"


def plan_text(submission: Submission) -> str:
    """Return the plan and the script of every phase as text, for --dry-run."""
    return "\n".join(_phase_text(job) for job in submission.jobs)


def _phase_text(job: PhaseJob) -> str:
    plan = job.plan
    run_dir = preview_run_dir(job)
    command = shlex.join(["sbatch", *_preview(job), str(run_dir / job.batch_script)])
    layout = plan.checkpoint
    names = layout.written or layout.pattern
    checkpoints = f"{layout.directory!r}, {names!r}, format {layout.format.value}"
    if layout.is_remote:
        checkpoints = f"{layout.directory!r}, {names!r}, as the output says that they were saved"
    if layout.format is CheckpointFormat.NONE:
        checkpoints = "none known (--checkpoint)"
    compiled = describe_compiles(plan)
    program = shlex.join([plan.config_path, *plan.arguments])
    lines = [
        f"# script:        {program}"
        if job.is_script
        else f"# phase {plan.phase + 1} of {plan.phases}",
        f"# run directory: {str(run_dir)!r}",
        *([] if job.is_script else [f"# trainer:       {plan.command!r}"]),
        f"# checkpoints:   {checkpoints}",
        *([] if compiled is None else [f"# compiles ahead: {compiled}"]),
        command,
        "",
        job.script(run_dir),
    ]
    return "\n".join(lines)


def _preview(job: PhaseJob) -> tuple[str, ...]:
    return job.arguments(None if job.plan.phase == 0 else PREVIOUS)


def plan_json(submission: Submission) -> str:
    """Return the plan and the script of every phase as JSON."""
    phases = [
        _phase(job) | {"sbatch": list(_preview(job)), "script": job.script(preview_run_dir(job))}
        for job in submission.jobs
    ]
    return _json(submission, phases)


def test_json(submission: Submission, answers: Sequence[str]) -> str:
    """Return Slurm's answers to --test-only as JSON."""
    phases = [
        _phase(job) | {"answer": answer}
        for job, answer in zip(submission.jobs, answers, strict=True)
    ]
    return _json(submission, phases)


def result_json(submission: Submission, done: Sequence[SubmittedPhase]) -> str:
    """Return the submitted jobs as JSON."""
    phases = [
        _phase(item.job) | {"job_id": item.job_id, "run_dir": str(item.run_dir)} for item in done
    ]
    return _json(submission, phases)


def _phase(job: PhaseJob) -> dict[str, Any]:
    return {"phase": job.plan.phase, "plan": to_data(job.plan)}


def _json(submission: Submission, phases: Sequence[dict[str, Any]]) -> str:
    data = {
        "run": submission.jobs[0].plan.run,
        "phases": list(phases),
        "observes": submission.observes,
        "warnings": list(submission.warnings),
        "notes": list(submission.notes),
    }
    return json.dumps(data, indent=2, default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"cannot be written as JSON: {value!r}")
