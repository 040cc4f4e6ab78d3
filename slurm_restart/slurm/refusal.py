"""What Slurm's error messages mean. Its commands' exit codes say little: 1, or even 0."""

import re

from slurm_restart.errors import JobNotFoundError, SlurmError, SlurmUnavailableError
from slurm_restart.slurm.process import Completed

# First match wins. The texts are those of slurm_errno.c, the same from 22.05 to 26.05.
_MEANINGS: tuple[tuple[re.Pattern[str], type[SlurmError]], ...] = (
    (re.compile("Invalid job id specified"), JobNotFoundError),
    (
        re.compile(
            "Unable to contact slurm controller|Connection refused|Connection reset by peer"
            "|Connection timed out|Socket timed out|Zero Bytes were transmitted"
            "|in standby mode|Communication (?:connection|shutdown|receive|send) fail"
        ),
        SlurmUnavailableError,
    ),
    (re.compile(""), SlurmError),
)
# Slurm says itself that the same request may succeed in a moment.
_TRANSIENT = re.compile(
    "DB index is being set|Connection reset by peer|Zero Bytes were transmitted"
    "|Connection refused|Resource temporarily unavailable"
)
# `scontrol update` passes over a value that it cannot read with this, and exit code 0.
_IGNORED_VALUE = re.compile(r"^scontrol: error: .*(?:Invalid|out of range)", re.MULTILINE)


def failed(done: Completed) -> bool:
    """Whether a command did not do all that it was asked."""
    return done.code != 0 or _IGNORED_VALUE.search(done.stderr) is not None


def is_transient(done: Completed) -> bool:
    """Whether the same request is worth repeating."""
    return failed(done) and _TRANSIENT.search(done.stderr) is not None


def refusal(done: Completed, what: str) -> SlurmError:
    """The error that a failed command means.

    Args:
        done: the command's answer.
        what: what was asked, for the message: `requeue job 7`.
    """
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    kind = next(kind for pattern, kind in _MEANINGS if pattern.search(done.stderr))
    reason = "; ".join(line.strip() for line in said) or f"exit code {done.code}"
    return kind(f"{what}: {reason}", stderr=done.stderr)
