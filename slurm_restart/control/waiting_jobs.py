"""The jobs that the cluster's one helper waits for: a file each, and the lock of the helper.

A file is written before the lock is tried, and the helper reads the directory again after it has
given the lock up: so each file is seen by a helper that lives, or by the next one.
"""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from slurm_restart.control.cluster_folder import folder_name
from slurm_restart.control.controller import Controller
from slurm_restart.control.locked_file import try_lock
from slurm_restart.frozen import frozen

HELPER = "from slurm_restart.control.requeue_helper import main; main()"


@frozen
class WaitingJobs:
    """The waiting jobs of one cluster."""

    state_dir: Path
    cluster: str

    @property
    def folder(self) -> Path:
        """The directory of the files, which are named by job id."""
        return self.state_dir / "waiting" / folder_name(self.cluster)

    def add(self, job_id: int) -> None:
        """Add a job, or renew the time at which it was added.

        Raises:
            OSError: the file cannot be written.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.folder / f"{job_id:d}").touch()

    def remove(self, job_id: int) -> None:
        """Remove a job."""
        (self.folder / f"{job_id:d}").unlink(missing_ok=True)

    def added(self) -> dict[int, float]:
        """Return when each job was added, in epoch seconds."""
        found: dict[int, float] = {}
        try:
            names = os.listdir(self.folder)  # noqa: PTH208 - cheaper than Path objects
        except FileNotFoundError:
            return found
        for name in names:
            if name.isdecimal():
                with suppress(FileNotFoundError):
                    found[int(name)] = (self.folder / name).stat().st_mtime
        return found

    def try_lock(self) -> int | None:
        """Return a descriptor that holds the helper's lock; None: there is a helper.

        Raises:
            OSError: the lock cannot be opened.
        """
        return try_lock(self.folder / "lock", create=True)


def hand_over(controller: Controller, job_id: int, site_path: Path) -> None:
    """Let the helper wait for a job; start a helper if there is none. Failures are logged."""
    try:
        waiting = WaitingJobs(state_dir=controller.site.state_dir, cluster=controller.cluster)
        waiting.add(job_id)
        lock = waiting.try_lock()
        if lock is not None:
            try:
                _start_helper(site_path, controller.cluster, lock)
            finally:
                os.close(lock)
    except OSError as error:
        controller.log(job_id)(f"no helper: {error}: left to the reconciler")


def _start_helper(site_path: Path, cluster: str, lock: int) -> None:
    """Start a helper that inherits the lock.

    slurmctld waits for every process that holds the hook's descriptors, and kills the hook's
    process group (both measured), so the helper gets its own session and descriptors.
    """
    subprocess.Popen(
        [sys.executable, "-I", "-c", HELPER, str(site_path), cluster, str(lock)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=(lock,),
    )
