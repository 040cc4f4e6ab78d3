"""Record what a person wanted of a run: in run.log for its owner, in the journal for others."""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from slurm_restart.cli.administrator import become_controller, person
from slurm_restart.cli.job_record import record_of
from slurm_restart.core.job import Job
from slurm_restart.core.printable import escape_controls
from slurm_restart.errors import CsxError, UsageError
from slurm_restart.safe_files import open_own_directory
from slurm_restart.trainer import runlog
from slurm_restart.trainer.rundir import RunDir


def record_wish(run_dir: Path | None, jobs: Sequence[Job], text: str, *, site_path: Path) -> None:
    """Record what a person wanted of jobs, after it was done.

    The owner's wishes stand in run.log. An administrator only reads in the owner's directory, where
    the owner could direct the writes elsewhere: their wishes stand in the journals, on the
    controller. Where there are none, a warning says so.

    Args:
        run_dir: of the phase that was named; None: not known here.
        jobs: those that were changed.
        text: the command with what was asked for: `stop`.
        site_path: the site's settings.
    """
    if not jobs:
        return
    if jobs[0].uid == os.getuid() != 0:
        note(run_dir, text)
        return
    try:
        _write_journals(jobs, text, site_path)
    except CsxError as error:
        click.echo(
            f"csx-restart: {text}: done, but not recorded with your name: {escape_controls(error)}",
            err=True,
        )


def _write_journals(jobs: Sequence[Job], text: str, site_path: Path) -> None:
    from slurm_restart.control.person_note import write_note  # noqa: PLC0415 - slow to import

    if any((found := record_of(job)) is not None and found.self_requeue for job in jobs):
        raise UsageError("the job requeues itself, and has no journal")
    who = person()  # before the user changes
    controller = become_controller(site_path, f"csx-restart {text.partition(' ')[0]}")
    for job in jobs:
        write_note(controller, job, text, who=who)


def note(run_dir: Path | None, text: str) -> None:
    """Add a line to run.log, if the caller owns the run directory and is not root.

    An error is ignored, as what was wanted has been done.
    """
    if run_dir is None:
        return
    with suppress(OSError):
        directory = open_own_directory(run_dir)
        try:
            line = runlog.line(runlog.MAIN, f"{person()}: {text}", at=time.time())
            runlog.append(RunDir(run_dir).log.name, line, directory=directory)
        finally:
            os.close(directory)
