"""Find the journal of a job: the controller's own, or its exported copy."""

from dataclasses import dataclass
from pathlib import Path

from slurm_restart.control.journal import read_journal
from slurm_restart.control.site import Site
from slurm_restart.core.journal_events import Event


@dataclass(frozen=True, kw_only=True)
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
        try:
            paths = sorted(root.glob(f"*/{pattern}"), key=lambda path: path.stat().st_mtime)
        except PermissionError:
            continue
        if paths:
            events, damaged = read_journal(paths[-1])
            return Found(path=paths[-1], events=tuple(events), damaged=tuple(damaged))
    return None
