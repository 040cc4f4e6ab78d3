"""Find the end of an attempt that is on record, but not in run.log.

Its supervisor was killed after the one and before the other.
"""

from slurm_restart.safe_files import read_tail
from slurm_restart.trainer import runlog
from slurm_restart.trainer.attempt_records import AttemptEnd
from slurm_restart.trainer.rundir import AttemptDir, RunDir

NO_EXIT_RECORD = "no exit record was written"
"""What run.log says of an end that was put on record afterwards."""
_ENDED = "ended as "
_TAIL = 1 << 16
"""Bytes of the end of run.log that are searched: little follows an end until the next start."""


def format_end(end: AttemptEnd, *, at: str = "") -> str:
    """Return the text of an end; `at`: how far the attempt has got."""
    reason = f": {end.reason}" if end.reason else ""
    return f"{_ENDED}{end.category}{at}{reason}"


def untold_end(run_dir: RunDir, attempt: AttemptDir) -> str | None:
    """Return what run.log does not tell of an attempt's end; None: nothing is missing.

    Args:
        run_dir: the phase's directory.
        attempt: the last one that has ended.

    Raises:
        OSError: run.log cannot be read.
    """
    end = attempt.end()
    if end is None:
        return None
    try:
        text = read_tail(run_dir.log, _TAIL, follow=False).decode(errors="replace")
    except FileNotFoundError:
        text = ""
    name = f"[{runlog.run_name(attempt.number)}] "
    lines = (line for line in text.splitlines() if line.startswith(name))
    if any(_ENDED in line or NO_EXIT_RECORD in line for line in lines):
        return None
    decision = f"; decision on record: {end.expected_decision}" if end.expected_decision else ""
    return f"{format_end(end)}{decision}"
