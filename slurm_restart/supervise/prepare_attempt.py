"""Prepare an attempt: its directory, the checkpoint it starts from, and its config."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from slurm_restart.supervise.checkpoint_check import first_complete
from slurm_restart.supervise.checkpoint_selection import Prober, StartPoint, choose_start, set_aside
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.reaper import Command
from slurm_restart.supervise.render_config import Rendering, render
from slurm_restart.trainer.atomic_file import write_atomic
from slurm_restart.trainer.attempt_records import AttemptStart, to_json
from slurm_restart.trainer.checkpoint_probe import Probe
from slurm_restart.trainer.checkpoints import Mark, find
from slurm_restart.trainer.launch import Launch
from slurm_restart.trainer.plan import RunPlan
from slurm_restart.trainer.rundir import AttemptDir, RunDir


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """An attempt that is ready to start. `command` is None where the run is done already."""

    attempt: AttemptDir
    start: AttemptStart
    command: Command | None
    passed_over: tuple[Probe, ...]
    """Newer checkpoints that cannot be used."""
    set_aside: tuple[Probe, ...]
    present: Mapping[str, Mark]
    """All checkpoints that are there now, complete or not."""

    @property
    def done(self) -> bool:
        """Whether the last step is reached already."""
        return self.command is None


def prepare(
    plan: RunPlan,
    run_dir: RunDir,
    attempt: AttemptDir,
    job: JobEnvironment,
    *,
    clock: Callable[[], float],
    probe: Prober = first_complete,
) -> Prepared:
    """Put into an attempt's new directory all that the trainer needs.

    Raises:
        OSError: a file system cannot be used (ENOSPC: it is full; ETIMEDOUT: it hangs).
        ConfigError: the config cannot be rendered.
        CheckpointError: the checkpoint that the config names is certainly not usable.
    """
    earlier = [one for one in run_dir.attempts() if one.number < attempt.number]
    # An attempt without this record never came as far as starting a trainer.
    base = next((start for one in earlier if (start := one.start()) is not None), None)
    before = None if base is None else base.before
    resume = choose_start(plan, before, probe)
    aside = set_aside(resume, before)
    present = {one.name: one.mark for one in find(plan.checkpoint)}
    first_step = (resume.step or 0) if base is None else base.first_step
    start = AttemptStart(
        attempt=attempt.number,
        at=clock(),
        job_id=job.job_id,
        restarts=job.restarts,
        nodes=job.nodes,
        num_csx=_num_csx(plan, job),
        checkpoint=resume.checkpoint,
        from_step=_from_step(plan, resume),
        resumed=resume.resumed,
        first_step=first_step,
        last_step=None if plan.mode.is_evaluation else plan.loop.last_step(first_step),
        before=present if base is None else {},
    )
    done = start.last_step is not None and (start.from_step or 0) >= start.last_step
    if not done:
        render(_rendering(plan, run_dir, attempt, start))
    write_atomic(attempt.start_file, to_json(start))
    return Prepared(
        attempt=attempt,
        start=start,
        command=None if done else _command(plan, run_dir, attempt, start, job),
        passed_over=resume.passed_over,
        set_aside=aside,
        present=present,
    )


def _num_csx(plan: RunPlan, job: JobEnvironment) -> int:
    granted = plan.num_nodes if job.num_nodes is None else job.num_nodes
    return min(granted * plan.csx_per_node, plan.num_csx)


def _from_step(plan: RunPlan, resume: StartPoint) -> int | None:
    # A checkpoint that does not tell its step is older than any that the attempt writes.
    return None if plan.mode.is_evaluation else resume.step or 0


def _rendering(
    plan: RunPlan, run_dir: RunDir, attempt: AttemptDir, start: AttemptStart
) -> Rendering:
    return Rendering(
        source=str(run_dir.params),
        target=str(attempt.params),
        phase=plan.phase,
        model_dir=plan.model_dir,
        ckpt_path=start.checkpoint,
        num_csx=start.num_csx,
        full_num_csx=plan.num_csx,
        training=not plan.mode.is_evaluation,
        resumed=start.resumed,
        last_step=start.last_step,
        max_restarts=plan.policy.max_restarts if plan.policy else None,
    )


def _command(
    plan: RunPlan, run_dir: RunDir, attempt: AttemptDir, start: AttemptStart, job: JobEnvironment
) -> Command:
    launch = Launch(
        config=str(attempt.params),
        checkpoint=start.checkpoint,
        num_csx=start.num_csx,
        nodes=plan.num_nodes if job.num_nodes is None else job.num_nodes,
        model_dir=plan.model_dir,
        run_dir=str(run_dir.path),
        attempt=attempt.number,
    )
    return Command(
        text=launch.command(plan.command, plan.arguments),
        directory=plan.work_dir,
        variables=dict(launch.environment()),
    )
