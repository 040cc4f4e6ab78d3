"""Report lines of a journal that cannot be read, once, and list them beside the journal."""

import os
from collections.abc import Sequence
from pathlib import Path

from slurm_restart.control.hook_log import HookLog
from slurm_restart.control.state_dir import state_error
from slurm_restart.core.printable import escape_controls
from slurm_restart.errors import RecordError
from slurm_restart.safe_files import open_append, read_bounded

MAX_DAMAGED = 64 * 1024
"""Bytes of the list of a journal, and of the lines themselves in one that is written anew."""
_KIND = "damaged"


def report_damaged(journal: Path, problems: Sequence[RecordError], log: HookLog) -> None:
    """Log once that lines cannot be read; `*.damaged` beside the journal lists what is known.

    The lines themselves stay in the journal, where the next release may be able to read them.

    Args:
        journal: path of the journal, which is locked.
        problems: what is wrong with its lines.
        log: the log of the job.
    """
    path = journal.with_suffix(".damaged")
    try:
        data = read_bounded(path, 2 * MAX_DAMAGED, follow=False)
    except OSError:
        data = b""
    left = MAX_DAMAGED - len(data)
    if left <= 0:
        return
    known = set(data.decode(errors="replace").splitlines())
    new = [text for problem in problems if (text := escape_controls(problem)) not in known]
    if not new:
        return
    more = f"; {len(new) - 1} more in {path}" if len(new) > 1 else ""
    log.once(_KIND, f"line left out: {new[0]}{more}")
    try:
        descriptor = open_append(path, 0o600)
        try:
            os.write(descriptor, "".join(f"{line}\n" for line in new).encode()[:left])
        finally:
            os.close(descriptor)
    except OSError as error:
        log.once(_KIND, str(state_error(path, error)))
