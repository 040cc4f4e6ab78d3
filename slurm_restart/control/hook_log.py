"""The hook's log: csx-epilog.log in the state directory, or syslog if that cannot be written."""

import errno
import fcntl
import os
import re
import syslog
import time
from pathlib import Path

from slurm_restart.control.report_count import count_report, is_due
from slurm_restart.core.printable import escape_controls
from slurm_restart.safe_files import open_append

MAX_LOG_BYTES = 10 * 1024 * 1024
"""A log of this size is set aside as csx-epilog.log.1, in place of the one before."""
MAX_LINE = 2000
_JOB = re.compile(r"[0-9]{1,12}", re.ASCII)


class HookLog:
    """Write one line for each event, with time and job id. It never raises."""

    def __init__(self, state_dir: Path | None, job: str) -> None:
        self._state_dir = state_dir
        self._path = None if state_dir is None else state_dir / "csx-epilog.log"
        self._job = escape_controls(job)

    def __call__(self, text: str) -> None:
        """Write a line; control characters are escaped."""
        shown = escape_controls(text)[:MAX_LINE]
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        try:
            self._append(f"{stamp} job {self._job}: {shown}\n")
        except OSError as error:
            syslog.openlog("csx-epilog", facility=syslog.LOG_DAEMON)
            syslog.syslog(syslog.LOG_ERR, f"job {self._job}: {shown} (no log: {error})")

    def once(self, kind: str, text: str) -> None:
        """Write a line about a problem that may be found again and again, such as at every sweep.

        The first report of a kind for this job is written; then the 10th, the 100th and so on, with
        their number.

        Args:
            kind: a word for the kind of problem, such as `comment`.
            text: the line, which may differ from report to report.
        """
        if self._state_dir is None:
            self(text)
            return
        job = self._job if _JOB.fullmatch(self._job) else "?"
        count = count_report(self._state_dir, f"{job}.{kind}")
        if count == 1:
            self(text)
        elif is_due(count):
            self(f"{text} (report {count} of its kind, only some are written)")

    def _append(self, line: str) -> None:
        if self._path is None:
            raise FileNotFoundError("the state directory is not known yet")
        log = open_append(self._path, 0o600)
        try:
            if os.fstat(log).st_size > MAX_LOG_BYTES and _set_aside(self._path, log):
                os.close(log)
                log = open_append(self._path, 0o600)
            data = line.encode("utf-8", "backslashreplace")
            if os.write(log, data) != len(data):  # one write: lines of several processes stay whole
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        finally:
            os.close(log)


def _set_aside(path: Path, log: int) -> bool:
    """Rename a full log; return whether it was renamed, by this process or another.

    Of several processes, the one with the lock renames the log. The others write to the file that
    they have open, and none waits.
    """
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    try:
        if os.path.samestat(path.lstat(), os.fstat(log)):
            path.replace(path.with_suffix(".log.1"))
    except FileNotFoundError:
        pass  # renamed meanwhile
    return True
