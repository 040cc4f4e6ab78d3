"""The hook's log: csx-epilog.log in the state directory, or syslog if that cannot be written."""

import syslog
import time
from pathlib import Path

from slurm_restart.core.printable import escape_controls

MAX_LOG_BYTES = 10 * 1024 * 1024
MAX_LINE = 2000


class HookLog:
    """Write one line for each event, with time and job id. It never raises."""

    def __init__(self, state_dir: Path | None, job: str) -> None:
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

    def _append(self, line: str) -> None:
        if self._path is None:
            raise FileNotFoundError("the state directory is not known yet")
        if self._path.exists() and self._path.stat().st_size > MAX_LOG_BYTES:
            self._path.replace(self._path.with_suffix(".log.1"))
        with self._path.open("a", encoding="utf-8") as log:
            log.write(line)
