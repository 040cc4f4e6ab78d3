"""What each node of a job is asked by the health check, and the form of the texts in its answer."""

from slurm_restart.core.printable import escape_controls
from slurm_restart.frozen import frozen

MAX_TEXT = 160
"""Characters of the line that says what was found."""


@frozen
class ProbeRequest:
    """What one node is asked. The fields are those of `HealthCheck` and `CheckContext`."""

    checks: tuple[str, ...] = ()
    command: str | None = None
    work_dir: str = "/"
    run_dir: str = "/"
    timeout: float
    host: str = ""
    port: int = 0


def one_line(text: str) -> str:
    """Return the last line that is not empty, printable and cut; `no output` if there is none."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return escape_controls(lines[-1] if lines else "no output")[:MAX_TEXT]
