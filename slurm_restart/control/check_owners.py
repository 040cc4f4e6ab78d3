"""Report files in the state directory that SlurmUser does not own, each once."""

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from slurm_restart.control.hook_log import HookLog
from slurm_restart.control.report_count import clear_report, count_report, known_problems
from slurm_restart.control.state_dir import foreign_files, format_foreign

_KIND = "owner"
MAX_LINES = 20
"""Files that are named in one go; the others are counted."""


def check_owners(state_dir: Path, report: Callable[[str], None]) -> int:
    """Report the files of other users, with the remedy, to `report` and the log; return how many.

    A file is reported once, and again only if it was put right in between. Such files come from a
    command that was run as root, and the hook can neither read nor write them.

    Args:
        state_dir: the state directory, which belongs to the user of this process.
        report: called with each line.

    Raises:
        StateError: the state directory cannot be read.
    """
    uid, log = os.geteuid(), HookLog(state_dir, "-")
    found: set[str] = set()
    new = 0
    for path, owner in foreign_files(state_dir, uid):
        problem = f"{sha256(os.fsencode(path)).hexdigest()[:32]}.{_KIND}"
        found.add(problem)
        if count_report(state_dir, problem) > 1:
            continue
        new += 1
        if new <= MAX_LINES:
            line = format_foreign(path, owner, uid)
            report(line)
            log(line)
    if new > MAX_LINES:
        report(f"{new - MAX_LINES} more files in {state_dir} belong to other users")
    for problem in set(known_problems(state_dir, _KIND)) - found:
        clear_report(state_dir, problem)
    return len(found)
