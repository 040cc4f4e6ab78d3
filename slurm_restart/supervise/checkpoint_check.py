"""Have checkpoints checked in a short-lived process, whatever becomes of that process."""

from collections.abc import Iterator, Sequence

from slurm_restart.supervise.child_process import run_module
from slurm_restart.trainer.checkpoint_probe import SECONDS, Probe, Soundness, from_json

_MODULE = "slurm_restart.trainer.checkpoint_probe"
TIMEOUT: float = SECONDS
_MAX_PATHS = 200
"""Paths of one command line; with more unusable ones in a row, something else is wrong."""


def check(paths: Sequence[str], *, first: bool) -> tuple[Probe, ...]:
    """Check `.mdl` files in order; `first`: stop at the first complete one.

    Raises:
        TimeoutError: the file system does not answer.
    """
    left = list(paths[:_MAX_PATHS])
    found: list[Probe] = []
    while left:
        done = run_module(_MODULE, [*(["--first"] if first else []), *left], timeout=TIMEOUT)
        results = list(_read(done.stdout))
        found += results
        left = left[len(results) :]
        if first and found and found[-1].soundness is Soundness.COMPLETE:
            break
        if left:
            # HDF5 may crash on damaged files, which is no proof that it is the file's fault.
            last = done.stderr.strip().rpartition("\n")[2]
            reason = f"the check died: exit code {done.code} {last}".strip()
            path = left.pop(0)
            found.append(Probe(path=path, soundness=Soundness.UNREADABLE, reason=reason))
    return tuple(found)


def _read(answer: str) -> Iterator[Probe]:
    """The results up to a line that was cut off, or that is not the check's own."""
    for line in answer.splitlines():
        try:
            yield from_json(line)
        except (ValueError, KeyError, TypeError):
            return


def first_complete(paths: Sequence[str]) -> tuple[Probe, ...]:
    """Check until one is complete.

    Raises:
        TimeoutError: as `check`.
    """
    return check(paths, first=True)
