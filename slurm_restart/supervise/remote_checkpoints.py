"""The checkpoints at a URL that the attempts of a run have saved, from records and output.

Nothing here reads the URL. A checkpoint has the number of the attempt that saved it as its mark, so
that one that a later attempt saves anew is another one, and no clocks of two nodes are compared.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path

from slurm_restart.errors import StateError
from slurm_restart.frozen import frozen
from slurm_restart.safe_files import open_binary
from slurm_restart.supervise.attempt_fence import may_run
from slurm_restart.supervise.saved_lines import SavedLines
from slurm_restart.trainer import runlog
from slurm_restart.trainer.attempt_records import LateCheckpoint, Saved, to_line
from slurm_restart.trainer.checkpoints import MAX_FOUND, Checkpoint, Mark
from slurm_restart.trainer.run_plan import CheckpointLayout, RunPlan
from slurm_restart.trainer.rundir import AttemptDir, RunDir

MAX_OUTPUT = 16 << 20
"""Bytes of the end of an output that are searched."""


@frozen
class RemoteCheckpoints:
    """What a run has saved at a URL."""

    present: tuple[Checkpoint, ...] = ()
    """The newest first."""
    late: Mapping[tuple[str, Mark], LateCheckpoint] = field(default_factory=dict)
    """Those that an attempt saved after a later one had taken its fence, by path and mark."""
    before: tuple[Checkpoint, ...] = ()
    """What earlier phases of the run saved at the same URL, the newest first."""


@frozen
class BeforeFence:
    """What earlier attempts had said just before a later one took its fence."""

    saved: Mapping[str, int] = field(default_factory=dict)
    """As `Fence.saved`."""
    output: int = 0
    """Bytes of the output of the last attempt that had started a program."""


def look_before_fence(plan: RunPlan, earlier: Sequence[AttemptDir]) -> BeforeFence:
    """Return it; nothing where checkpoints are on a file system.

    Raises:
        OSError: the output cannot be examined.
    """
    if not plan.checkpoint.is_remote:
        return BeforeFence()
    last = _last_started(earlier)
    # One that has not started a program yet may do so before it finds the fence.
    running = [each for each in earlier if each.start() is None or may_run(each)]
    return BeforeFence(
        saved={str(attempt.number): len(attempt.saved()) for attempt in running},
        output=0 if last is None else _size(last),
    )


def complete_records(
    plan: RunPlan, attempt: AttemptDir, earlier: Sequence[AttemptDir], before: BeforeFence
) -> tuple[Saved, ...]:
    """Put on record what the last attempt had said, and its supervisor could not record.

    Only the last one: an attempt completes the records of the one before as it starts.

    Args:
        plan: the phase.
        attempt: the new attempt, which has taken its fence.
        earlier: those before it.
        before: what they had said before the fence.

    Returns:
        The new records.

    Raises:
        OSError: the output cannot be read, or the records not be written.
    """
    last = _last_started(earlier)
    if not plan.checkpoint.is_remote or last is None:
        return ()
    # What its supervisor records after the fence would be taken for late.
    saved = last.saved()
    known = saved[: before.saved.get(str(last.number), len(saved))]
    found = _unrecorded(plan.checkpoint, last, known, before.output, found_by=attempt.number)
    for new in found:
        runlog.append(last.progress_file, to_line(new))
    return found


def read_remote(
    plan: RunPlan, run_dir: RunDir, attempts: Sequence[AttemptDir]
) -> RemoteCheckpoints:
    """Return what a run has saved at the plan's URL; nothing where checkpoints are elsewhere.

    Args:
        plan: the phase.
        run_dir: its directory.
        attempts: of the phase, in order; a new one may be among them, for its fence.

    Raises:
        OSError: the output or the attempts of an earlier phase cannot be read.
    """
    found = _read_phase(plan.checkpoint, attempts)
    return replace(found, before=_before_phase(plan, run_dir))


def _before_phase(plan: RunPlan, run_dir: RunDir) -> tuple[Checkpoint, ...]:
    """Return what earlier phases have saved, as far as their records can be read."""
    if not plan.checkpoint.is_remote or plan.phase == 0:
        return ()
    # Only later phases need it: imported early, it would take memory in all runs.
    from slurm_restart.trainer.submission_record import SubmissionRecord  # noqa: PLC0415

    try:
        phases = SubmissionRecord.load(run_dir.path).phases[: plan.phase]
    except StateError:
        return ()
    saved: list[Checkpoint] = []
    for phase in phases:
        found = _read_phase(plan.checkpoint, RunDir(Path(phase)).attempts())
        saved += [
            checkpoint
            for checkpoint in found.present
            if (checkpoint.path, checkpoint.mark) not in found.late
        ]
    return _newest_first({checkpoint.path: checkpoint for checkpoint in saved})


def _read_phase(layout: CheckpointLayout, attempts: Sequence[AttemptDir]) -> RemoteCheckpoints:
    if not layout.is_remote:
        return RemoteCheckpoints()
    last = _last_started(attempts)
    present: dict[str, Checkpoint] = {}
    late: dict[tuple[str, Mark], LateCheckpoint] = {}
    for attempt in attempts:
        own = list(attempt.saved())
        if attempt is last:
            own += _unrecorded(layout, attempt, own)
        fence = _first_fence(attempts, attempt.number)
        for checkpoint, is_late in _versions(SavedLines(layout), attempt.number, own, fence):
            if is_late:
                assert fence is not None  # noqa: S101 - nothing is late without a fence
                late[checkpoint.path, checkpoint.mark] = _late(checkpoint, attempt.number, fence[0])
                present.setdefault(checkpoint.path, checkpoint)
            else:
                present[checkpoint.path] = checkpoint
    return RemoteCheckpoints(present=_newest_first(present), late=late)


def _newest_first(checkpoints: Mapping[str, Checkpoint]) -> tuple[Checkpoint, ...]:
    newest = sorted(checkpoints.values(), key=lambda checkpoint: checkpoint.order, reverse=True)
    return tuple(newest[:MAX_FOUND])


def saved_since_fence(
    layout: CheckpointLayout, attempts: Sequence[AttemptDir], number: int
) -> list[LateCheckpoint]:
    """Return what an attempt has on record that it saved after a later one had taken its fence."""
    late = _read_phase(layout, attempts).late
    return [entry for (_, mark), entry in late.items() if mark[0] == number]


def _versions(
    lines: SavedLines, number: int, saved: Sequence[Saved], fence: tuple[int, int] | None
) -> Iterator[tuple[Checkpoint, bool]]:
    """Yield the checkpoints of an attempt, each once, and whether they are late.

    The records are files of the user's: what they name is checked as a line of output is.
    """
    timely: dict[str, bool] = {}
    for index, record in enumerate(saved):
        in_time = fence is None or index < fence[1] or record.found_by is not None
        timely[record.path] = timely.get(record.path, False) or in_time
    for path, in_time in timely.items():
        checkpoint = lines.checkpoint(path, (number, 0))
        if checkpoint is not None:
            yield checkpoint, not in_time


def _first_fence(attempts: Sequence[AttemptDir], number: int) -> tuple[int, int] | None:
    """Return the first later attempt that counted this one's records, and how many; None: none."""
    for later in attempts:
        fence = later.fence() if later.number > number else None
        if fence is not None and str(number) in fence.saved:
            return later.number, fence.saved[str(number)]
    return None


def _late(checkpoint: Checkpoint, number: int, later: int) -> LateCheckpoint:
    return LateCheckpoint(
        at=time.time(),
        path=checkpoint.path,
        mark=checkpoint.mark,
        step=checkpoint.step,
        reason=f"attempt {number} saved it after attempt {later} had begun",
    )


def _last_started(attempts: Sequence[AttemptDir]) -> AttemptDir | None:
    """Return the last attempt that has started a program, as far as is on record."""
    return next((each for each in reversed(attempts) if each.start() is not None), None)


def _size(attempt: AttemptDir) -> int:
    try:
        return attempt.output.stat().st_size
    except FileNotFoundError:
        return 0


def _unrecorded(
    layout: CheckpointLayout,
    attempt: AttemptDir,
    saved: Sequence[Saved],
    until: int | None = None,
    *,
    found_by: int | None = None,
) -> tuple[Saved, ...]:
    """Return what the end of an attempt's output names and its records do not.

    Args:
        layout: where checkpoints are.
        attempt: the attempt.
        saved: its records.
        until: bytes of the output that are read; None: all.
        found_by: as in the records.

    Raises:
        OSError: the output cannot be read.
    """
    known = {record.path for record in saved}
    lines = SavedLines(layout)
    found: dict[str, Saved] = {}
    for line in _last_lines(attempt, until):
        if lines.texts and not any(text.encode() in line for text in lines.texts):
            continue
        checkpoint = lines.read(line, (attempt.number, 0))
        if checkpoint is not None and checkpoint.path not in known:
            found[checkpoint.path] = Saved(
                at=time.time(),
                step=checkpoint.step,
                path=checkpoint.path,
                mark=checkpoint.mark,
                found_by=found_by,
            )
    return tuple(found.values())


def _last_lines(attempt: AttemptDir, until: int | None) -> list[bytes]:
    """Return the whole lines at the end of an output; none if there is no output."""
    try:
        with open_binary(attempt.output, follow=False) as stream:
            end = stream.seek(0, os.SEEK_END)
            end = end if until is None else min(end, until)
            begin = max(0, end - MAX_OUTPUT)
            stream.seek(begin)
            data = stream.read(end - begin)
    except FileNotFoundError:
        return []
    lines = data.replace(b"\r", b"\n").split(b"\n")
    # The last one has not ended, and the first may be the end of one.
    return lines[1 if begin else 0 : -1]
