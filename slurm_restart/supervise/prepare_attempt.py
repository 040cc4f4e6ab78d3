"""Prepare an attempt: select its checkpoint, write its config and record its start."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from typing import Any

from slurm_restart.core.fall_back import NAME_TAKEN, LeftOut
from slurm_restart.core.job_comment import Mode
from slurm_restart.core.journal_events import EndEvent
from slurm_restart.core.nan_flow import needs_checker, unexplained_nan
from slurm_restart.frozen import frozen
from slurm_restart.supervise.checkpoint_check import first_complete
from slurm_restart.supervise.checkpoint_evidence import read_evidence
from slurm_restart.supervise.checkpoint_selection import Prober, StartPoint, choose_start
from slurm_restart.supervise.expected_decision import (
    end_events,
    ended_attempts,
    in_place_events,
)
from slurm_restart.supervise.fault_handler import fault_handler
from slurm_restart.supervise.job_environment import RESTART_COUNT, JobEnvironment
from slurm_restart.supervise.late_checkpoints import (
    AtFence,
    Version,
    recorded,
    save,
    version_of,
)
from slurm_restart.supervise.nan_check import can_check, read_outcomes
from slurm_restart.supervise.progress_monitor import highest_measured
from slurm_restart.supervise.reaper import TrainerCommand
from slurm_restart.supervise.render_config import RenderRequest, render
from slurm_restart.supervise.set_aside import SetAside, bring_back, set_aside, still_running
from slurm_restart.supervise.set_aside_names import original_path
from slurm_restart.supervise.step_environment import step_environment
from slurm_restart.trainer.atomic_file import write_atomic
from slurm_restart.trainer.attempt_records import (
    AttemptStart,
    Fence,
    LateCheckpoint,
    LeftOutCheckpoint,
    to_json,
)
from slurm_restart.trainer.checkpoint_probe import Probe
from slurm_restart.trainer.checkpoints import MAX_FOUND, Checkpoint, Marks, iterate
from slurm_restart.trainer.known_checkpoints import KnownCheckpoints
from slurm_restart.trainer.launch import Launch, validation_command
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import AttemptDir, RunDir


@frozen
class PreparedAttempt:
    """An attempt that is ready to start. `command` is None if nothing is left to do."""

    attempt: AttemptDir
    start: AttemptStart
    job: JobEnvironment
    """The allocation with the nodes of the attempt."""
    command: TrainerCommand | None
    rejected: tuple[Probe, ...]
    """Newer checkpoints that cannot be used."""
    set_aside: SetAside
    present: KnownCheckpoints
    """Marks of all checkpoints that exist now, complete or not, by name."""
    before: Marks = field(default_factory=lambda: KnownCheckpoints.of(()))
    """Of those that existed before the first attempt; in the first attempt it is empty."""
    ends: tuple[EndEvent, ...] = ()
    """The ends of earlier attempts of this job."""
    in_place: tuple[EndEvent, ...] = ()
    """Those in this allocation."""
    late: tuple[LateCheckpoint, ...] = ()
    """Checkpoints that are not used as an attempt wrote them after a later one had begun."""
    late_start: LateCheckpoint | None = None
    """What the attempt starts from, if that is such a one: no other is left."""
    fence: Fence | None = None
    unhealthy: Mapping[str, str] = field(default_factory=dict)
    """Nodes of the job that have failed the health check in this allocation, with what was found;
    the attempt does not use them."""
    unexplained_nan: str | None = None
    """Fingerprint of the NaN that stays unexplained if this attempt comes to a deadlock."""

    @property
    def done(self) -> bool:
        """Whether nothing is left to do: the last step is reached, and no validation is left."""
        return self.command is None


def prepare(
    plan: RunPlan,
    run_dir: RunDir,
    attempt: AttemptDir,
    job: JobEnvironment,
    *,
    clock: Callable[[], float],
    probe: Prober | None = None,
    fence: Fence | None = None,
    at_fence: AtFence | None = None,
    unhealthy: Mapping[str, str] | None = None,
) -> PreparedAttempt:
    """Write the files that the trainer needs into the attempt's new directory.

    Args:
        plan: the phase.
        run_dir: the phase's directory.
        attempt: the new attempt's directory.
        job: the allocation, with the nodes of the attempt.
        clock: returns epoch seconds.
        probe: the check of checkpoints; None: by their form, in a process of its own.
        fence: the attempt's.
        at_fence: what was there when it was taken; None: no earlier attempt can be running.
        unhealthy: nodes of the job that have failed the health check, with what was found there.

    Raises:
        OSError: a file system cannot be used (ENOSPC: it is full; ETIMEDOUT: it hangs).
        ConfigError: the config cannot be rendered.
        CheckpointError: the checkpoint that the config names is certainly broken.
    """
    earlier = [other for other in run_dir.attempts() if other.number < attempt.number]
    ended = ended_attempts(earlier, attempt.number)
    base, before, start_point, known = _choose(
        plan, run_dir, earlier, probe=probe, at_fence=at_fence, attempt=attempt
    )
    passed_over = _passed_over(start_point, earlier)
    aside = SetAside()
    # A later attempt may have begun elsewhere, and use any of them.
    if run_dir.attempts()[-1].number == attempt.number:
        taken = bool(ended) and ended[-1][1].rule == NAME_TAKEN
        start_point = _brought_back(plan, start_point)
        if not plan.mode.is_evaluation:
            aside = set_aside(
                plan.checkpoint,
                start_point,
                before,
                still_running(earlier, job.nodes),
                [entry.path for entry in passed_over] if taken else None,
                named=plan.initial_checkpoint,
                changed=[start.links for other in earlier if (start := other.start())],
                work_dir=plan.work_dir,
            )
    late: list[LateCheckpoint] = []
    there = iterate(plan.checkpoint)
    present = KnownCheckpoints.of(there if at_fence is None else at_fence.noting(there, late))
    on_record = recorded(earlier)
    late += [entry for version, entry in known.items() if version not in on_record]
    known = {version_of(entry): entry for entry in late} | dict(known)
    late_start = known.get((start_point.checkpoint or "", start_point.mark or (0, 0)))
    late = [entry for entry in late if entry is not late_start]
    if late:
        save(attempt, late)
    first_step = (start_point.step or 0) if base is None else base.first_step
    last_step = None if plan.mode.is_evaluation else plan.loop.last_step(first_step)
    from_step = _from_step(plan, start_point, earlier)
    reached = last_step is not None and (from_step or 0) >= last_step
    template: str | None = plan.command
    if reached:
        # An earlier attempt trained to the end, and was not seen to succeed.
        left = plan.validates_at_end and start_point.resumed
        template = validation_command(plan.command) if left else None
    checks_nan = can_check(plan, last_step) and not reached
    outcomes = read_outcomes(earlier) if checks_nan else []
    start = AttemptStart(
        attempt=attempt.number,
        at=clock(),
        job_id=job.job_id,
        restarts=job.restarts,
        in_place=job.in_place,
        nodes=job.nodes,
        unhealthy=dict(unhealthy or {}),
        num_csx=_num_csx(plan, job),
        checkpoint=start_point.checkpoint,
        from_step=from_step,
        beyond=_beyond(plan, start_point),
        mark=start_point.mark,
        # To train once more would not help a validation that fails.
        earlier=start_point.earlier and not reached,
        links={note.path: note.targets for note in aside.links if note.targets is not None},
        left_out=tuple(_left_out(entry, aside.notes) for entry in start_point.left_out),
        unit=plan.progress_unit,
        measured=plan.is_measured,
        resumed=start_point.resumed,
        first_step=first_step,
        last_step=last_step,
        validation_only=reached and template is not None,
        nan_checker=needs_checker(outcomes, job.nodes),
        **({} if base is not None else _as_record(plan, attempt, present)),
    )
    if template is not None and plan.mode is not Mode.SCRIPT:
        render(_render_request(plan, run_dir, attempt, start))
    write_atomic(attempt.start_file, to_json(start))
    return PreparedAttempt(
        attempt=attempt,
        start=start,
        job=job,
        command=None
        if template is None
        else _command(plan, run_dir, attempt, start, job, template=template),
        rejected=start_point.rejected,
        set_aside=aside,
        present=present,
        before=KnownCheckpoints.of(()) if before is None else before,
        ends=tuple(end_events(entry for entry in ended if entry[0].job_id == job.job_id)),
        in_place=in_place_events(ended, attempt.number, job.in_place),
        late=(*passed_over, *late),
        late_start=late_start,
        fence=fence,
        unhealthy={**_unhealthy_before(earlier, job), **start.unhealthy},
        unexplained_nan=unexplained_nan(outcomes, job.nodes),
    )


def _choose(
    plan: RunPlan,
    run_dir: RunDir,
    earlier: Sequence[AttemptDir],
    *,
    probe: Prober | None = None,
    at_fence: AtFence | None = None,
    attempt: AttemptDir | None = None,
) -> tuple[AttemptStart | None, Marks | None, StartPoint, Mapping[Version, LateCheckpoint]]:
    """Return the first start record, what existed before it, and where the next attempt starts.

    And the late checkpoints that the records show.

    Args:
        plan: the phase.
        run_dir: its directory.
        earlier: the attempts before.
        probe: as in `prepare`, and so `at_fence`.
        at_fence: what was there at the fence.
        attempt: the one that starts; None: none has taken its fence.
    """
    # An attempt without start record has never started a trainer.
    first = next(
        ((other, start) for other in earlier if (start := other.start()) is not None), None
    )
    base = None if first is None else first[1]
    before = None if first is None else known_before(*first)
    by_form = partial(first_complete, form=plan.checkpoint.format)
    attempts = earlier if attempt is None else (*earlier, attempt)
    evidence = read_evidence(plan, run_dir, attempts)
    known = {**evidence.remote.late, **recorded(earlier)}

    def is_late(checkpoint: Checkpoint) -> bool:
        if (checkpoint.path, checkpoint.mark) in known:
            return True
        was_set_aside = original_path(plan.checkpoint, checkpoint.path) != checkpoint.path
        return at_fence is not None and not was_set_aside and at_fence.is_late(checkpoint)

    start_point = choose_start(plan, before, probe or by_form, evidence, is_late)
    return base, before, start_point, known


def _brought_back(plan: RunPlan, start_point: StartPoint) -> StartPoint:
    if start_point.checkpoint is None or not start_point.resumed:
        return start_point
    return replace(start_point, checkpoint=bring_back(plan.checkpoint, start_point.checkpoint))


def _left_out(entry: LeftOut, notes: Mapping[str, str]) -> LeftOutCheckpoint:
    path = entry.checkpoint.path
    reason = "; ".join(filter(None, (entry.reason, notes.get(path))))
    return LeftOutCheckpoint(path=path, reason=reason)


def _passed_over(start_point: StartPoint, earlier: Sequence[AttemptDir]) -> list[LateCheckpoint]:
    """Return the late checkpoints on record that are newer than what the attempt starts from."""
    known, step = recorded(earlier), start_point.step or 0
    versions = [(late.path, late.mark) for late in start_point.late if late.step > step]
    return [known[version] for version in versions if version in known]


def reached_step(plan: RunPlan, run_dir: RunDir, earlier: Sequence[AttemptDir]) -> int | None:
    """Return the step from which an attempt after these would start; None: an evaluation.

    Raises:
        OSError: a file system cannot be used.
        CheckpointError: the checkpoint that the config names is certainly broken.
    """
    return _from_step(plan, next_start(plan, run_dir, earlier), earlier)


def next_start(plan: RunPlan, run_dir: RunDir, earlier: Sequence[AttemptDir]) -> StartPoint:
    """Return what an attempt after these would start from; it raises what `reached_step` does."""
    return _choose(plan, run_dir, earlier)[2]


def known_before(attempt: AttemptDir, start: AttemptStart) -> Marks:
    """Return the checkpoints that existed before the first attempt."""
    return KnownCheckpoints.load(attempt.before_file) if start.before_in_file else start.before


def _as_record(plan: RunPlan, attempt: AttemptDir, present: KnownCheckpoints) -> dict[str, Any]:
    """Return the fields of the first start record with the checkpoints that exist.

    Of very many they are written to a file of their own.
    """
    if len(present) <= MAX_FOUND:
        found = iterate(plan.checkpoint)
        marks = {checkpoint.name: checkpoint.mark for checkpoint in found}
        return {"before": {name: mark for name, mark in marks.items() if name in present}}
    present.save(attempt.before_file)
    return {"before_in_file": True}


def _unhealthy_before(earlier: Sequence[AttemptDir], job: JobEnvironment) -> dict[str, str]:
    """Return what earlier attempts in this allocation have found on nodes of the job."""
    starts = [entry.start() for entry in earlier[-job.in_place :]] if job.in_place else []
    return {node: text for start in starts if start for node, text in start.unhealthy.items()}


def _num_csx(plan: RunPlan, job: JobEnvironment) -> int:
    granted = plan.num_nodes if job.num_nodes is None else job.num_nodes
    return min(granted * plan.csx_per_node, plan.num_csx)


def _from_step(plan: RunPlan, start_point: StartPoint, earlier: Sequence[AttemptDir]) -> int | None:
    if plan.is_measured:
        return highest_measured(plan, earlier)
    # A checkpoint without a known step counts as step 0: any later one is progress.
    return None if plan.mode.is_evaluation else start_point.step or 0


def _beyond(plan: RunPlan, start_point: StartPoint) -> int | None:
    """Return the step of the newest checkpoint that is left out, if the attempt starts before it.

    To write that checkpoint again is no progress: a run that always fails after it would never end.
    """
    if plan.mode.is_evaluation or not start_point.left_out:
        return None
    reached = max(entry.step for entry in start_point.left_out)
    return reached if reached > (start_point.step or 0) else None


def _render_request(
    plan: RunPlan, run_dir: RunDir, attempt: AttemptDir, start: AttemptStart
) -> RenderRequest:
    return RenderRequest(
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
        validation_only=start.validation_only,
        nan_checker=start.nan_checker,
    )


def _command(
    plan: RunPlan,
    run_dir: RunDir,
    attempt: AttemptDir,
    start: AttemptStart,
    job: JobEnvironment,
    *,
    template: str,
) -> TrainerCommand:
    launch = Launch(
        config=str(attempt.params),
        checkpoint=start.checkpoint,
        num_csx=start.num_csx,
        nodes=plan.num_nodes if job.num_nodes is None else job.num_nodes,
        model_dir=plan.model_dir,
        run_dir=str(run_dir.path),
        attempt=attempt.number,
        run_id=plan.run_id,
        step=start.from_step,
    )
    return TrainerCommand(
        text=launch.command(template, plan.arguments),
        directory=plan.work_dir,
        variables={
            **launch.environment(script=plan.mode is Mode.SCRIPT),
            **_restart_count(job, attempt),
            **fault_handler(plan),
            **step_environment(job, attempt, plan.slurm.bin_dir),
        },
        own_errors=plan.mode is Mode.SCRIPT and _has_error_log(),
        own_input=plan.mode is Mode.SCRIPT,
    )


def _restart_count(job: JobEnvironment, attempt: AttemptDir) -> dict[str, str]:
    """Return the variable by which programs tell a restart from the first start.

    Slurm counts no restart in place, and begins anew in a job that takes up the run of another.
    """
    count = max(job.restarts, attempt.number)
    return {RESTART_COUNT: str(count)} if count else {}


def _has_error_log() -> bool:
    """Return whether Slurm has given standard error a file of its own (--error of sbatch)."""
    try:
        output, errors = os.fstat(1), os.fstat(2)
    except OSError:
        return False
    return (output.st_dev, output.st_ino) != (errors.st_dev, errors.st_ino)
