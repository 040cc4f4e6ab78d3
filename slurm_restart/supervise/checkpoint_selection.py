"""Select the checkpoint that an attempt starts from."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from slurm_restart.core.fall_back import CheckpointVersion, FallBack, LeftOut
from slurm_restart.errors import CheckpointError
from slurm_restart.frozen import frozen
from slurm_restart.supervise.remote_checkpoints import RemoteCheckpoints
from slurm_restart.supervise.set_aside_names import find_set_aside, original_path
from slurm_restart.trainer.checkpoint_probe import Probe, Soundness
from slurm_restart.trainer.checkpoints import (
    Checkpoint,
    Mark,
    Marks,
    complete_by_name,
    find,
    step_of,
)
from slurm_restart.trainer.run_plan import CheckpointFormat, CheckpointLayout, RunPlan

Prober = Callable[[Sequence[str]], Sequence[Probe]]
"""Checks checkpoints in order and stops at the first complete checkpoint."""


@frozen
class StartPoint:
    """What the attempt starts from. `step` is None if it cannot be read from the checkpoint."""

    checkpoint: str | None
    """Its path now: it may have been set aside."""
    step: int | None
    resumed: bool = False
    """Whether an earlier attempt of this phase wrote the checkpoint."""
    rejected: tuple[Probe, ...] = ()
    """Newer checkpoints that cannot be used."""
    mark: Mark | None = None
    """The checkpoint's mark; None: the config names it, or an earlier phase may have written it."""
    earlier: bool = False
    """Whether there is an earlier one to go back to, whatever ends the attempt: of this phase."""
    left_out: tuple[LeftOut, ...] = ()
    """Checkpoints that are well-formed and not used, as attempts fail from them."""
    late: tuple[Checkpoint, ...] = ()
    """Those that are not used as an attempt wrote them after a later one had begun."""


@frozen
class Evidence:
    """What the records of earlier attempts say about checkpoints."""

    fall_back: FallBack = FallBack()
    suspects: tuple[CheckpointVersion, ...] = ()
    """Those from which an attempt has ever failed: they may have been set aside."""
    has_written: bool = False
    """Whether the phase has written checkpoints that are not late."""
    only_one: bool = False
    """Whether the phase has written one checkpoint in all, after its first step: before it there is
    where the first attempt started. Of several, the trainer may have removed the others."""
    remote: RemoteCheckpoints = RemoteCheckpoints()
    """What the phase has saved at a URL."""


NO_EVIDENCE = Evidence()


def choose_start(
    plan: RunPlan,
    before: Marks | None,
    probe: Prober,
    evidence: Evidence = NO_EVIDENCE,
    is_late: Callable[[Checkpoint], bool] = lambda _: False,
) -> StartPoint:
    """Return the checkpoint to start from.

    A late one is used only if nothing else is left of what the phase wrote, which the attempt that
    wrote it may have removed.

    Args:
        plan: the phase.
        before: marks of the checkpoints that existed before the first attempt of the phase, by
            name; None: this is the first attempt.
        probe: the check of checkpoints by their form.
        evidence: checkpoints to leave out, as long as there is another one.
        is_late: whether an attempt wrote a checkpoint after a later one had begun.

    Raises:
        OSError: the checkpoints cannot be listed or checked.
        CheckpointError: the checkpoint that the config names is certainly broken.
    """
    if plan.mode.is_evaluation:
        return StartPoint(checkpoint=plan.initial_checkpoint, step=None)
    layout = plan.checkpoint
    own, others = _listed(layout, before, evidence)
    rejected: tuple[Probe, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    late: tuple[Checkpoint, ...] = ()
    if own:
        late = tuple(filter(is_late, own))
        timely = [checkpoint for checkpoint in own if checkpoint not in late]
        newest = replace(_newest_usable(layout, timely, probe, evidence), late=late)
        if not newest.resumed and late and evidence.has_written and not layout.is_remote:
            newest = _newest_usable(layout, own, probe, evidence)
        if newest.resumed:
            return newest
        rejected, left_out = newest.rejected, newest.left_out
    first = _first_attempt_start(plan, others, probe, evidence)
    return replace(
        first,
        rejected=(*rejected, *first.rejected),
        left_out=(*left_out, *first.left_out),
        late=late,
    )


def _listed(
    layout: CheckpointLayout, before: Marks | None, evidence: Evidence
) -> tuple[Sequence[Checkpoint], Sequence[Checkpoint]]:
    """Return the checkpoints of the phase, and those that were there before it, the newest first.

    Raises:
        OSError: they cannot be listed.
    """
    if layout.is_remote:
        return evidence.remote.present, evidence.remote.before
    present = find(layout, before)
    if before is None:
        return (), present
    own = [checkpoint for checkpoint in present if before.get(checkpoint.name) != checkpoint.mark]
    others = [checkpoint for checkpoint in present if checkpoint not in own]
    own += find_set_aside(layout, evidence.suspects, {checkpoint.path for checkpoint in present})
    return sorted(own, key=lambda checkpoint: checkpoint.order, reverse=True), others


def _newest_usable(
    layout: CheckpointLayout, own: Sequence[Checkpoint], probe: Prober, evidence: Evidence
) -> StartPoint:
    """Return the newest complete one of these that is not left out, as the phase's own.

    A well-formed one is left out only for another one: the last one may be all that is left of days
    of work.
    """
    found = evidence.fall_back
    versions = {entry.path: _version(layout, entry) for entry in own}
    usable = [entry for entry in own if not found.excludes(versions[entry.path])]
    left_out = tuple(entry for entry in found.left_out if entry.checkpoint in versions.values())
    newest = _newest_complete(layout, usable, probe)
    if newest.checkpoint is None and left_out:
        if evidence.only_one:
            return replace(newest, left_out=left_out)
        usable, left_out = list(own), ()
        newest = _newest_complete(layout, usable, probe)
    if newest.checkpoint is None:
        return newest
    has_older = usable[-1].path != newest.checkpoint
    return replace(
        newest,
        resumed=True,
        mark=versions[newest.checkpoint].mark,
        earlier=found.can_go_back and (has_older or evidence.only_one),
        left_out=left_out,
    )


def _version(layout: CheckpointLayout, entry: Checkpoint) -> CheckpointVersion:
    return CheckpointVersion(path=original_path(layout, entry.path), mark=entry.mark)


def _first_attempt_start(
    plan: RunPlan, present: Sequence[Checkpoint], probe: Prober, evidence: Evidence
) -> StartPoint:
    """Return what the first attempt of the phase starts from, or another one after it failed.

    Before a later phase only the last one of the phase before will do.
    """
    if plan.initial_checkpoint is not None:
        return _configured(plan.checkpoint, plan.initial_checkpoint, probe)
    if not plan.autoload_last_checkpoint:
        return StartPoint(checkpoint=None, step=0)
    if plan.phase > 0:
        newest = _newest_complete(plan.checkpoint, present, probe)
    else:
        newest = _newest_usable(plan.checkpoint, present, probe, replace(evidence, only_one=False))
        newest = replace(newest, resumed=False, earlier=False)
    if newest.checkpoint is not None:
        return newest
    return StartPoint(checkpoint=None, step=0, rejected=newest.rejected)


def _configured(layout: CheckpointLayout, path: str, probe: Prober) -> StartPoint:
    """Return the checkpoint that the config names, unless it is certainly broken.

    The trainer itself reports a checkpoint that is absent or cannot be read.
    """
    step = step_of(layout, path)
    if layout.format is not CheckpointFormat.MDL:
        return StartPoint(checkpoint=path, step=step)
    result = probe([path])[0]
    if result.soundness is Soundness.BROKEN:
        raise CheckpointError(f"{path}: ckpt_path of the config cannot be used: {result.reason}")
    return StartPoint(checkpoint=path, step=step if result.step is None else result.step)


def _newest_complete(
    layout: CheckpointLayout, newest_first: Sequence[Checkpoint], probe: Prober
) -> StartPoint:
    results = _results(layout, newest_first, probe)
    steps = {checkpoint.path: checkpoint.step for checkpoint in newest_first}
    rejected: list[Probe] = []
    for result in results:
        if result.soundness is Soundness.COMPLETE:
            step = steps[result.path] if result.step is None else result.step
            return StartPoint(checkpoint=result.path, step=step, rejected=tuple(rejected))
        rejected.append(result)
    return StartPoint(checkpoint=None, step=None, rejected=tuple(rejected))


def _results(
    layout: CheckpointLayout, newest_first: Sequence[Checkpoint], probe: Prober
) -> Iterator[Probe]:
    """Yield the check of each checkpoint, those without the file that marks it as complete too."""
    opened: dict[str, Probe] = {}
    if layout.format.is_opened:
        marked = [
            checkpoint.path for checkpoint in newest_first if _is_marked(layout, checkpoint.path)
        ]
        opened = {result.path: result for result in (probe(marked) if marked else ())}
    for checkpoint in newest_first:
        path = checkpoint.path
        if path in opened:
            yield opened[path]
        elif not _is_marked(layout, path):
            # It may become complete later, so it is not reported as broken.
            reason = f"not complete: {layout.complete} is not there"
            yield Probe(path=path, soundness=Soundness.UNREADABLE, reason=reason)
        elif not layout.format.is_opened:
            yield Probe(path=path, soundness=Soundness.COMPLETE, step=checkpoint.step)


def _is_marked(layout: CheckpointLayout, path: str) -> bool:
    # A marker beside the checkpoint keeps its name when the checkpoint is set aside.
    return complete_by_name(layout, path) or complete_by_name(layout, original_path(layout, path))
