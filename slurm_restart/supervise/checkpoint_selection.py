"""Where an attempt starts from: the rule, applied to the checkpoints that there are."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from slurm_restart.errors import CheckpointError
from slurm_restart.trainer.checkpoint_probe import Probe, Soundness
from slurm_restart.trainer.checkpoints import Checkpoint, Mark, complete_by_name, find, step_of
from slurm_restart.trainer.plan import CheckpointFormat, CheckpointLayout, RunPlan

ASIDE = ".unusable"
"""Ending of a broken checkpoint that was set aside."""

Prober = Callable[[Sequence[str]], Sequence[Probe]]
"""Checks files in order until one is complete."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StartPoint:
    """Where to start from. `step` is None where the checkpoint does not tell it."""

    checkpoint: str | None
    step: int | None
    resumed: bool = False
    """An earlier attempt of this phase wrote the checkpoint."""
    passed_over: tuple[Probe, ...] = ()
    """Newer ones that cannot be used."""


def choose_start(plan: RunPlan, before: Mapping[str, Mark] | None, probe: Prober) -> StartPoint:
    """Find the checkpoint to start from.

    Args:
        plan: the phase.
        before: the checkpoints that were there before the phase's first attempt, with their marks;
            None: this is the first attempt.
        probe: the check of `.mdl` files.

    Raises:
        OSError: the checkpoints cannot be listed or checked.
        CheckpointError: the checkpoint that the config names is certainly not usable.
    """
    if plan.mode.is_evaluation:
        return StartPoint(checkpoint=plan.initial_checkpoint, step=None)
    present = find(plan.checkpoint)
    passed_over: tuple[Probe, ...] = ()
    if before is not None:
        ours = [one for one in present if before.get(one.name) != one.mark]
        newest = _newest_complete(plan.checkpoint, ours, probe)
        if newest.checkpoint is not None:
            return replace(newest, resumed=True)
        passed_over = newest.passed_over
        present = tuple(one for one in present if one not in ours)
    first = _first(plan, present, probe)
    return replace(first, passed_over=(*passed_over, *first.passed_over))


def _first(plan: RunPlan, present: Sequence[Checkpoint], probe: Prober) -> StartPoint:
    """Where the first attempt of the phase starts from."""
    if plan.initial_checkpoint is not None:
        return _named(plan.checkpoint, plan.initial_checkpoint, probe)
    if plan.autoload_last_checkpoint:
        newest = _newest_complete(plan.checkpoint, present, probe)
        if newest.checkpoint is not None:
            return newest
        return StartPoint(checkpoint=None, step=0, passed_over=newest.passed_over)
    return StartPoint(checkpoint=None, step=0)


def _named(rule: CheckpointLayout, path: str, probe: Prober) -> StartPoint:
    """The checkpoint that the config names: what is not certain about it is left to the trainer."""
    step = step_of(rule, path)
    if rule.format is not CheckpointFormat.MDL:
        return StartPoint(checkpoint=path, step=step)
    result = probe([path])[0]
    if result.soundness is Soundness.BROKEN:
        raise CheckpointError(f"{path}: ckpt_path of the config cannot be used: {result.reason}")
    return StartPoint(checkpoint=path, step=step if result.step is None else result.step)


def _newest_complete(
    rule: CheckpointLayout, newest_first: Sequence[Checkpoint], probe: Prober
) -> StartPoint:
    if rule.format is CheckpointFormat.MDL:
        results = probe([one.path for one in newest_first]) if newest_first else ()
    else:
        results = [_by_name(rule, one) for one in newest_first]
    steps = {one.path: one.step for one in newest_first}
    passed_over: list[Probe] = []
    for result in results:
        if result.soundness is Soundness.COMPLETE:
            step = steps[result.path] if result.step is None else result.step
            return StartPoint(checkpoint=result.path, step=step, passed_over=tuple(passed_over))
        passed_over.append(result)
    return StartPoint(checkpoint=None, step=None, passed_over=tuple(passed_over))


def _by_name(rule: CheckpointLayout, one: Checkpoint) -> Probe:
    if complete_by_name(rule, one.path):
        return Probe(path=one.path, soundness=Soundness.COMPLETE, step=one.step)
    # It may be complete one day, so it is not broken, only not to be used.
    reason = f"not complete: {rule.complete} is not there"
    return Probe(path=one.path, soundness=Soundness.UNREADABLE, reason=reason)


def set_aside(resume: StartPoint, before: Mapping[str, Mark] | None) -> tuple[Probe, ...]:
    """Rename what is certainly broken and was written by this phase; nothing is ever deleted.

    Returns:
        What was set aside.
    """
    done = []
    for one in resume.passed_over:
        path = Path(one.path)
        if before is None or path.name in before or one.soundness is not Soundness.BROKEN:
            continue
        # A directory that cannot be written to: it is passed over each time, which is as good.
        with suppress(OSError):
            path.rename(_free(path))
            done.append(one)
    return tuple(done)


def _free(path: Path) -> Path:
    target = path.with_name(f"{path.name}{ASIDE}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}{ASIDE}-{number}")
    return target
