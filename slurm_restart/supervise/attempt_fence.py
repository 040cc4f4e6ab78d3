"""The fence of an attempt: once it is taken, no earlier attempt of the run is the current one.

It is a file in the attempt's directory, whose number is the order. A start of the job that Slurm
has given up, and that takes its fence late, gets a higher number: the restart count shows it.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from slurm_restart.errors import CsxError, SlurmError
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.trainer.atomic_file import write_atomic
from slurm_restart.trainer.attempt_records import Fence, to_json
from slurm_restart.trainer.rundir import AttemptDir, RunDir

SUPERSEDED = "supervisor.superseded"
"""Rule of an end that a later attempt has brought about."""


class OvertakenError(CsxError):
    """A later start of the job has taken its fence already."""


class Fences:
    """The fences of a run's attempts, each read once: one that was taken does not change.

    Args:
        run_dir: the phase's directory.
    """

    def __init__(self, run_dir: RunDir) -> None:
        self.run_dir = run_dir
        self._known: dict[int, Fence] = {}

    def read(self) -> tuple[Fence, ...]:
        """Return all that have been taken by now.

        Raises:
            OSError: the attempts cannot be listed.
        """
        for attempt in self.run_dir.attempts():
            if attempt.number not in self._known and (fence := attempt.fence()) is not None:
                self._known[attempt.number] = fence
        return tuple(self._known.values())


def may_run(attempt: AttemptDir) -> bool:
    """Return whether an attempt's program may still run.

    One whose supervisor recorded its end has none that runs.
    """
    start, end = attempt.start(), attempt.end()
    if start is None:
        return False  # it has started no program
    return end is None or end.backfilled or end.rule == SUPERSEDED


def is_overtaken(attempts: Sequence[AttemptDir], job: JobEnvironment) -> bool:
    """Return whether a start of the job with a higher restart count has taken its fence."""
    fences = (attempt.fence() for attempt in attempts)
    return _highest((fence for fence in fences if fence is not None), job) > job.restarts


def count_of_start(fences: Fences, job: JobEnvironment, slurm: Callable[[], Slurm]) -> int:
    """Return the restart count of this start of the job, unless Slurm has given it up.

    Slurm is asked where a fence has a higher one, as it may have lost its state and count anew; the
    higher one is then returned. Without an answer the fence is believed.

    Raises:
        OvertakenError: it is.
        OSError: the attempts cannot be listed.
    """
    highest = _highest(fences.read(), job)
    if highest <= job.restarts or job.job_id is None:
        return job.restarts
    try:
        counts_anew = slurm().job(job.job_id).restarts <= job.restarts
    except SlurmError:
        counts_anew = False
    if not counts_anew:
        raise OvertakenError(f"{fences.run_dir.path}: a later start of job {job.job_id} has begun")
    return highest


def take_fence(
    fences: Fences,
    attempt: AttemptDir,
    job: JobEnvironment,
    *,
    restarts: int,
    saved: Mapping[str, int] | None = None,
) -> Fence:
    """Take the fence of a new attempt; once this returns, it is on disk.

    Args:
        fences: the run's.
        attempt: the attempt's directory.
        job: the allocation.
        restarts: as `count_of_start` has returned it.
        saved: as `Fence.saved`; None: nothing.

    Raises:
        OvertakenError: a later start of the job has taken its fence meanwhile.
        OSError: the fence cannot be written.
    """
    fence = Fence(
        attempt=attempt.number,
        token=os.urandom(16).hex(),
        at=time.time(),
        job_id=job.job_id,
        restarts=restarts,
        node=job.node_name,
        saved=dict(saved or {}),
    )
    write_atomic(attempt.fence_file, to_json(fence))
    if any(fence.is_before(other) for other in fences.read()):
        raise OvertakenError(f"{fences.run_dir.path}: a later start of job {job.job_id} has begun")
    return fence


def _highest(fences: Iterable[Fence], job: JobEnvironment) -> int:
    own = (fence.restarts for fence in fences if fence.job_id == job.job_id)
    return max(own, default=0)
