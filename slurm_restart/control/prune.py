"""Remove journals that are no longer needed, and other old files of the state directory."""

import os
import re
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from slurm_restart.control.cluster_folder import folder_name
from slurm_restart.control.locked_file import try_lock
from slurm_restart.control.report_count import FOLDER as REPORTED
from slurm_restart.control.state_dir import state_error

MARK = "pruned"
"""The file whose time is that of the last removal."""
INTERVAL = 3600
"""Seconds between two removals: they read every folder of journals."""
DAY = 86_400
REPORTS_KEPT = DAY
"""Seconds for which reports about a job that Slurm no longer knows are counted."""
_JOURNAL = re.compile(r"([0-9]+)-[0-9]+-[0-9a-f]{16}\.(jsonl|damaged|compact|tmp)", re.ASCII)
_REPORT = re.compile(r"([0-9]+)\.[a-z_-]+", re.ASCII)


def prune(
    state_dir: Path,
    export_dir: Path | None,
    known_jobs: Collection[int],
    now: float,
    keep: int,
    *,
    cluster: str,
) -> int:
    """Remove what has not changed for `keep` days and belongs to no job of Slurm, once an hour.

    That are the journals of this cluster with the lists of their unreadable lines, their exported
    copies, and what was left in the hook's queue.

    Args:
        state_dir: the state directory.
        export_dir: the directory of exported copies, if the site has one.
        known_jobs: ids of all jobs in slurmctld's memory, ended ones included.
        now: epoch seconds.
        keep: days; 0 keeps journals for ever.
        cluster: its name; the journals of other clusters are left alone.

    Returns:
        How many journals were removed.

    Raises:
        StateError: the state directory cannot be used.
    """
    try:
        if not _is_due(state_dir / MARK, now):
            return 0
    except OSError as error:
        raise state_error(state_dir / MARK, error) from error
    _remove_reports(state_dir, known_jobs, now)
    if keep == 0:
        return 0
    before, folder = now - keep * DAY, folder_name(cluster)
    count = 0
    for path, name in _old_files(state_dir / "journal" / folder, before):
        if _is_of_gone_job(_JOURNAL, name, known_jobs):
            count += _remove_journal(path, before)
    if export_dir is not None:
        for path, name in _old_files(export_dir / folder, before):
            if _is_of_gone_job(_JOURNAL, name, known_jobs):
                _remove(path)
    for path, _ in _old_files(state_dir / "queue", before):
        _remove(path)
    return count


def _is_due(mark: Path, now: float) -> bool:
    """Whether the last removal was an hour ago; if so, the next one is due in an hour."""
    with suppress(FileNotFoundError):
        if 0 <= now - mark.lstat().st_mtime < INTERVAL:
            return False
    mark.touch(mode=0o600)
    os.utime(mark, (now, now), follow_symlinks=False)
    return True


def _old_files(folder: Path, before: float) -> Iterator[tuple[Path, str]]:
    """Yield the regular files of a folder that were last changed before a time."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode) and status.st_mtime < before:
                        yield folder / entry.name, entry.name
    except OSError:
        return  # there is none, or it may not be read


def _is_of_gone_job(pattern: re.Pattern[str], name: str, known_jobs: Collection[int]) -> bool:
    match = pattern.fullmatch(name)
    return match is not None and int(match[1]) not in known_jobs


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False  # removed meanwhile, or of another user, which the check of owners reports
    return True


def _remove_journal(path: Path, before: float) -> bool:
    """Remove a journal under its lock, unless it has changed, or a file beside it."""
    if path.suffix != ".jsonl":
        _remove(path)
        return False
    try:
        descriptor = try_lock(path)
    except OSError:
        return False
    if descriptor is None:
        return False
    try:
        return os.fstat(descriptor).st_mtime < before and _remove(path)
    finally:
        os.close(descriptor)


def _remove_reports(state_dir: Path, known_jobs: Collection[int], now: float) -> None:
    """Remove the counts of reports about jobs that Slurm no longer knows."""
    for path, name in _old_files(state_dir / REPORTED, now - REPORTS_KEPT):
        if _is_of_gone_job(_REPORT, name, known_jobs):
            _remove(path)
