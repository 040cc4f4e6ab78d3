"""Check checkpoints in a short-lived process, so that a crash of HDF5 does no harm."""

from collections.abc import Iterator, Sequence

from slurm_restart.core.checkpoint_url import is_url
from slurm_restart.supervise.child_process import run_module
from slurm_restart.trainer.checkpoint_probe import SECONDS, Probe, Soundness, from_json
from slurm_restart.trainer.run_plan import CheckpointFormat

_MODULE = "slurm_restart.trainer.checkpoint_probe"
TIMEOUT: float = SECONDS
_MAX_PATHS = 200
"""Paths in one command line; more unusable checkpoints in a row have another reason."""


def check(paths: Sequence[str], form: CheckpointFormat, *, first: bool) -> tuple[Probe, ...]:
    """Check checkpoints and return the results in the order of the paths.

    Args:
        paths: checkpoints to check.
        form: their format.
        first: stop at the first complete one.

    Raises:
        TimeoutError: the file system does not answer.
    """
    remaining = list(paths[:_MAX_PATHS])
    found: list[Probe] = []
    while remaining:
        args = [*(["--first"] if first else []), form.value, *remaining]
        done = run_module(_MODULE, args, timeout=TIMEOUT)
        results = list(_parse_results(done.stdout))
        found += results
        remaining = remaining[len(results) :]
        if first and found and found[-1].soundness is Soundness.COMPLETE:
            break
        if remaining:
            # HDF5 may crash on a damaged file, but a crash is no proof that the file is damaged.
            last_line = done.stderr.strip().rpartition("\n")[2]
            reason = f"the check died: exit code {done.code} {last_line}".strip()
            path = remaining.pop(0)
            found.append(Probe(path=path, soundness=Soundness.UNREADABLE, reason=reason))
    return tuple(found)


def _parse_results(output: str) -> Iterator[Probe]:
    """Yield the results up to the first line that is cut off or not written by the check."""
    for line in output.splitlines():
        try:
            yield from_json(line)
        except (ValueError, KeyError, TypeError):
            return


def first_complete(
    paths: Sequence[str], form: CheckpointFormat = CheckpointFormat.MDL
) -> tuple[Probe, ...]:
    """Check checkpoints in order and stop at the first complete one.

    One at a URL is not read: it counts as complete.

    Raises:
        TimeoutError: the file system does not answer.
    """
    if paths and is_url(paths[0]):
        return (Probe(path=paths[0], soundness=Soundness.COMPLETE),)
    return check(paths, form, first=True)
