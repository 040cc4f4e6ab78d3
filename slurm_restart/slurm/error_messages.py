"""What Slurm's error messages mean. Its commands' exit codes say little: 1, or even 0."""

import re

from slurm_restart.errors import JobNotFoundError, SlurmError, SlurmUnavailableError
from slurm_restart.slurm.process import Completed

# First match wins. The texts are Slurm's own, the same from 22.05 to 26.05.
_MEANINGS: tuple[tuple[tuple[str, ...], type[SlurmError]], ...] = (
    (("Invalid job id specified",), JobNotFoundError),
    (
        (
            "Unable to contact slurm controller",
            "Connection refused",
            "Connection reset by peer",
            "Connection timed out",
            "Socket timed out",
            "Zero Bytes were transmitted",
            "in standby mode",
        ),
        SlurmUnavailableError,
    ),
    (("",), SlurmError),
)
# The same request may succeed in a moment.
_TRANSIENT = (
    "DB index is being set",
    "Connection refused",
    "Connection reset by peer",
    "Zero Bytes were transmitted",
    "Resource temporarily unavailable",
)
# `scontrol update` passes over a number that it cannot read with this, and exit code 0.
_IGNORED_VALUE = r"^scontrol: error: .*(?:[Ii]nvalid|not a valid|out of range)"


def failed(done: Completed) -> bool:
    """Whether a command says by its exit code that it did not do what it was asked."""
    return done.code != 0


def ignored_a_value(done: Completed) -> bool:
    """Whether `scontrol update` succeeded, but left a value out."""
    return re.search(_IGNORED_VALUE, done.stderr, re.MULTILINE) is not None


def is_transient(done: Completed) -> bool:
    """Whether the same request is worth repeating."""
    return failed(done) and any(text in done.stderr for text in _TRANSIENT)


def error_for(done: Completed, what: str) -> SlurmError:
    """The error that a failed command means.

    Args:
        done: the command's answer.
        what: what was asked, for the message: `requeue job 7`.
    """
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    kind = next(kind for texts, kind in _MEANINGS if any(text in done.stderr for text in texts))
    reason = "; ".join(line.strip() for line in said) or f"exit code {done.code}"
    return kind(f"{what}: {reason}", stderr=done.stderr)
