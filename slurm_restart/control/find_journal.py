"""Find the journal of a job: the controller's own, or its exported copy."""

import os
from contextlib import suppress
from pathlib import Path

from slurm_restart.control.journal import read_journal
from slurm_restart.control.journal_name import parse_name
from slurm_restart.control.site import Site
from slurm_restart.core.journal_events import Event
from slurm_restart.errors import StateError
from slurm_restart.frozen import frozen


@frozen
class Found:
    """The events of a journal and the file that they were read from."""

    path: Path
    events: tuple[Event, ...]
    damaged: tuple[int, ...]
    """Numbers of lines that cannot be read, from 1."""

    @property
    def run(self) -> str:
        """Run id, from the file name."""
        return self.path.stem.split("-")[2]

    @property
    def uid(self) -> int:
        """Uid of the job's owner, from the file name."""
        return int(self.path.stem.split("-")[1])


def find_journal(
    site: Site, *, job_id: int | None = None, run: str | None = None, uid: int | None = None
) -> Found | None:
    """Return the journal written last among those that match; None: there is none.

    The state directory is searched before the export directory; one that the caller may not read
    is skipped.

    Raises:
        StateError: the journal exists and cannot be read.
    """
    pattern = f"{job_id or '*'}-{'*' if uid is None else uid}-{run or '*'}.jsonl"
    roots = [site.state_dir / "journal"]
    if site.export_dir is not None:
        roots.append(site.export_dir)
    for root in roots:
        for path in _newest_first(root, pattern):
            try:
                events, damaged = read_journal(path)
            except StateError:
                if os.path.lexists(path):
                    raise
                continue  # removed meanwhile
            return Found(path=path, events=tuple(events), damaged=tuple(damaged))
    return None


def _newest_first(root: Path, pattern: str) -> list[Path]:
    """Return the journals of all clusters that match; files that vanish meanwhile are left out."""
    found = []
    try:
        for path in root.glob(f"*/{pattern}"):
            if parse_name(path.name) is not None:
                with suppress(FileNotFoundError):
                    found.append((path.lstat().st_mtime, path))
    except (PermissionError, FileNotFoundError):
        return []
    return [path for _, path in sorted(found, reverse=True)]
