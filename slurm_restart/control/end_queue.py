"""The ends that wait to be judged: a file each, written by csx-epilog before anything else.

A process serves a file under the file's lock, and removes it once the end is judged. A file whose
process has died is free again, and a file that nobody could serve stays for the reconciler.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from slurm_restart.control.hook_environment import HookEnvironment, parse_end
from slurm_restart.control.locked_file import try_lock
from slurm_restart.errors import CsxError
from slurm_restart.frozen import frozen
from slurm_restart.safe_files import read_bounded

_MAX_BYTES = 1 << 20


def queue_dir(state_dir: Path) -> Path:
    """Return the directory of the files; their names are `<job id>.<process id of csx-epilog>`."""
    return state_dir / "queue"


@frozen
class ClaimedEnd:
    """A file that this process has locked, so that no other one serves it."""

    path: Path
    descriptor: int

    @property
    def queued_at(self) -> float:
        """When csx-epilog wrote it, in epoch seconds."""
        return os.fstat(self.descriptor).st_mtime

    def read(self) -> HookEnvironment:
        """Return the facts.

        Raises:
            CsxError: they cannot be read, or csx-epilog did not write them.
        """
        return _read(self.path)

    def release(self, *, done: bool) -> None:
        """Give up the lock; `done` removes the file first, and nobody serves the end again."""
        if done:
            self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


def claim(path: Path, *, wait: bool = False) -> ClaimedEnd | None:
    """Lock a file; return None if it is gone, or locked by another process.

    Args:
        path: the file.
        wait: wait for a process that serves it at this moment.

    Raises:
        OSError: the file cannot be opened.
    """
    descriptor = try_lock(path, wait=wait)
    return None if descriptor is None else ClaimedEnd(path=path, descriptor=descriptor)


def queued(state_dir: Path) -> tuple[Path, ...]:
    """Return the files, the oldest first."""
    ages: list[tuple[int, Path]] = []
    for path in _files(state_dir):
        try:
            ages.append((path.stat().st_mtime_ns, path))
        except FileNotFoundError:
            continue  # served meanwhile
    return tuple(path for _, path in sorted(ages))


def job_of(path: Path) -> int:
    """Return the job of a file, by its name; 0: csx-epilog has not named it."""
    number = path.name.partition(".")[0]
    return int(number) if number.isdecimal() else 0


def read_end(state_dir: Path, job_id: int, *, cluster: str | None = None) -> HookEnvironment | None:
    """Return the facts of a job's oldest end that is not judged; None if there is none.

    Args:
        state_dir: the site's state directory.
        job_id: the job.
        cluster: only an end of this cluster.
    """
    found = [env for _, env in _ends(state_dir, job_id, cluster)]
    return min(found, key=lambda env: env.restarts, default=None)


def remove_end(state_dir: Path, end: HookEnvironment) -> None:
    """Remove the file of an end that is judged now, and those of earlier ends of the job."""
    for path, env in _ends(state_dir, end.job_id, end.cluster):
        if env.restarts <= end.restarts:
            path.unlink(missing_ok=True)


def _ends(
    state_dir: Path, job_id: int, cluster: str | None
) -> Iterator[tuple[Path, HookEnvironment]]:
    for path in _files(state_dir):
        if path.name.startswith(f"{job_id:d}."):
            try:
                env = _read(path)
            except CsxError:
                continue  # served meanwhile; a damaged file is logged by who serves it
            if env.job_id == job_id and cluster in (None, env.cluster):
                yield path, env


def _files(state_dir: Path) -> list[Path]:
    folder = queue_dir(state_dir)
    try:
        names = os.listdir(folder)  # noqa: PTH208 - cheaper than Path objects for each name
    except (FileNotFoundError, NotADirectoryError):
        return []
    # A leading dot: csx-epilog is writing it.
    return [folder / name for name in names if name[0].isdigit()]


def _read(path: Path) -> HookEnvironment:
    try:
        text = read_bounded(path, _MAX_BYTES, follow=False).decode(errors="replace")
        queued_at = path.lstat().st_mtime
    except OSError as error:
        raise CsxError(f"{path}: {error.strerror}") from error
    return replace(parse_end(text), queued_at=queued_at)
