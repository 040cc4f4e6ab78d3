"""Note in run.log what a person wanted of a run."""

import os
import pwd
import time
from contextlib import suppress
from pathlib import Path

from slurm_restart.safe_files import open_own_directory
from slurm_restart.trainer import runlog
from slurm_restart.trainer.rundir import RunDir


def note(run_dir: Path | None, text: str) -> None:
    """Add a line to run.log, if the caller owns the run directory and is not root.

    Another user, administrators included, only reads: the owner could direct their writes to
    elsewhere. An error is ignored, as what was wanted has been done.
    """
    if run_dir is None:
        return
    with suppress(OSError):
        directory = open_own_directory(run_dir)
        try:
            line = runlog.line(runlog.MAIN, f"{_user()}: {text}", at=time.time())
            runlog.append(RunDir(run_dir).log.name, line, directory=directory)
        finally:
            os.close(directory)


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
