"""Warnings and notes about a valid submission."""

from collections.abc import Iterator, Sequence

from slurm_restart.submit.compile_prefetch import describe_compiles
from slurm_restart.submit.job_plan import SubmissionRequest
from slurm_restart.submit.plural import count
from slurm_restart.submit.submission import PhaseJob
from slurm_restart.trainer.checkpoints import iterate
from slurm_restart.trainer.near_names import near_names
from slurm_restart.trainer.phases import Phase, misspelt_sections
from slurm_restart.trainer.run_plan import CheckpointFormat, RestartPolicy
from slurm_restart.trainer.settings import Settings
from slurm_restart.trainer.yaml_lines import Document, Key


def warnings(request: SubmissionRequest, phases: Sequence[Phase]) -> Iterator[str]:
    """Yield a warning for each setting that is valid but probably a mistake, with its line."""
    yield from _directives(request.document)
    for phase in phases:
        yield from _similar_sections(request.document, phase.keys[:-1])
        if phase.autorestart is not None:
            yield from _restart_warnings(request.document, phase, request.settings)
        # The file may be written before a later phase, or a job with a dependency, starts.
        early = phase.index == 0 and "dependency" not in request.options
        if early and phase.ckpt_path and not (request.work_dir / phase.ckpt_path).exists():
            keys = (*phase.keys[:-1], "fit", "ckpt_path")
            yield request.document.problem(keys, f"{phase.ckpt_path!r} does not exist now")


def _directives(document: Document) -> Iterator[str]:
    """Yield a warning if the config has lines that only a batch script may have."""
    found = [
        (number, line.split()[0], line)
        for number, line in enumerate(document.text.splitlines(), start=1)
        if line.startswith(("#SBATCH ", "#CSX "))
    ]
    if found:
        number, word, line = found[0]
        others = f", and {len(found) - 1} more" if len(found) > 1 else ""
        place = {"#SBATCH": "slurm.sbatch", "#CSX": "slurm"}[word]
        yield (
            f"{document.path}:{number}: {line!r}{others}: a comment in a config, and not read: "
            f"set it on the command line, or as a key below {place}"
        )


def _similar_sections(document: Document, keys: tuple[Key, ...]) -> Iterator[str]:
    node = document.data
    for key in keys:
        node = node[key]
    for name in misspelt_sections(node):
        yield document.problem((*keys, name), "no section of the Model Zoo, left to the trainer")


def _restart_warnings(document: Document, phase: Phase, settings: Settings) -> Iterator[str]:
    own_names = settings.checkpoint_pattern is not None or settings.checkpoint_format is not None
    if not phase.checkpoint_steps and not own_names:
        yield document.problem(
            (*phase.keys, "checkpoint", "steps"),
            "not set, so no checkpoint is written during training: every restart begins where "
            "the first attempt began and counts as one without progress",
        )
    if phase.loop.unknown_epochs and phase.loop.max_steps is None:
        yield document.problem(
            (*phase.keys, "loop", "num_epochs"),
            "its length in steps is not known: a restart trains this many epochs after "
            "its checkpoint, more than requested; give max_steps, or steps_per_epoch too",
        )


def pattern_warnings(job: PhaseJob) -> Iterator[str]:
    """Yield a warning if no checkpoint is there, but files with names that are much alike."""
    layout = job.plan.checkpoint
    if layout.format is CheckpointFormat.NONE or layout.is_remote:
        return
    try:
        if next(iterate(layout), None) is not None:
            return
        directory, names = near_names(layout)
    except OSError:
        return
    if names:
        shown = ", ".join(map(repr, names))
        expected = layout.written or layout.pattern
        yield f"checkpoints: nothing in {directory} matches {expected!r}, but there are {shown}"


OBSERVES = (
    "this site is in observe mode: it judges how a job ends, and restarts nothing (Slurm's own "
    "requeues happen as always); with --hook=no the job requeues itself"
)


def needs_hook(policy: RestartPolicy | None) -> bool:
    """Return whether only the cluster's hook restarts the job once its allocation is gone."""
    return policy is not None and policy.recovery.requeues and not policy.self_requeue


def observe_warnings(jobs: Sequence[PhaseJob], *, observes: bool | None) -> Iterator[str]:
    """Yield a warning if nobody would restart a job, as the site is in observe mode."""
    if observes and any(needs_hook(job.plan.policy) for job in jobs):
        yield OBSERVES


def condition(policy: RestartPolicy, *, observes: bool | None) -> str:
    """Return under which condition the limit of restarts matters, in front of it."""
    return "once the site acts, " if observes and needs_hook(policy) else ""


def notes(jobs: Sequence[PhaseJob], *, observes: bool | None = False) -> Iterator[str]:
    """Yield a line about the size and the restarts of each phase."""
    for job in jobs:
        plan = job.plan
        phase = f"phase {plan.phase + 1} of {plan.phases}: " if plan.phases > 1 else ""
        nodes = count(plan.num_nodes, "whole node")
        spares = f" and {count(plan.spares, 'spare')}" if plan.spares else ""
        restarting = _restarting(plan.policy, job, observes=observes)
        yield f"{phase}{nodes}{spares} (--exclusive); {restarting}"
        if (compiled := describe_compiles(plan)) is not None:
            yield f"{phase}compiled ahead while it executes: {compiled} (compile_prefetch)"
    unmanaged = any(job.plan.policy is None for job in jobs[:-1])
    if unmanaged and "kill-on-invalid-dep" not in jobs[-1].options:
        yield (
            "if a phase without autorestart fails, the phases after it stay in the queue "
            "(DependencyNeverSatisfied) until you scancel them, or give --kill-on-invalid-dep=yes"
        )


def _restarting(policy: RestartPolicy | None, job: PhaseJob, *, observes: bool | None) -> str:
    if policy is None:
        return "no autorestart in the config: submitted without restarting"
    progress = "" if job.plan.mode.is_evaluation else " in a row without a new checkpoint"
    least = f", with at least {job.plan.min_nodes}" if job.can_shrink else ""
    restarts = count(policy.max_restarts, "restart")
    when = condition(policy, observes=observes)
    return f"{when}at most {restarts}{policy.recovery.where}{progress}{least}"
