"""Map Slurm's error messages to exceptions. Its exit codes do not suffice: 1 or even 0."""

import re

from slurm_restart.errors import (
    JobNotFoundError,
    JobNotPendingError,
    SlurmError,
    SlurmUnavailableError,
)
from slurm_restart.slurm.process import Completed

# First match wins. The texts are those of Slurm 22.05 to 26.05 (measured).
_ERROR_CLASSES: tuple[tuple[tuple[str, ...], type[SlurmError]], ...] = (
    (("Invalid job id specified",), JobNotFoundError),
    (("Job is no longer pending execution",), JobNotPendingError),
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
_DB_INDEX = "DB index is being set"
# The same request may succeed a moment later.
_TRANSIENT = (
    _DB_INDEX,
    "Connection refused",
    "Connection reset by peer",
    "Zero Bytes were transmitted",
    "Resource temporarily unavailable",
)
# Of a file that SLURM_CONF names, for a minute; and where there is no such variable and no file.
_NO_FILE = re.compile(r"(?:cannot stat|unable to status) file (/[^:\n]+):")
_NO_SOURCE = "DNS SRV lookup failed"
# `scontrol update` ignores a number that it cannot parse, prints this, and exits with 0.
_IGNORED_VALUE = r"^scontrol: error: .*(?:[Ii]nvalid|not a valid|out of range)"


def failed(done: Completed) -> bool:
    """Return whether a command reports failure by its exit code."""
    return done.code != 0


def ignored_a_value(done: Completed) -> bool:
    """Return whether `scontrol update` succeeded but ignored a value."""
    return re.search(_IGNORED_VALUE, done.stderr, re.MULTILINE) is not None


def is_transient(done: Completed) -> bool:
    """Return whether a command failed with an error that may pass if it is repeated."""
    return failed(done) and any(text in done.stderr for text in _TRANSIENT)


def waits_for_database(done: Completed) -> bool:
    """Return whether a command failed because slurmctld waits for the job's record in accounting.

    It takes a moment; but without accounting 22.05 waits for ever after a job has lost a node
    (measured).
    """
    return failed(done) and _DB_INDEX in done.stderr


def missing_configuration(stderr: str) -> str | None:
    """Return what is wrong if Slurm's commands find no slurm.conf; None: they say nothing of it."""
    if (match := _NO_FILE.search(stderr)) is not None:
        return f"there is no {match[1]}, which SLURM_CONF or the site's settings name"
    if _NO_SOURCE in stderr:
        return "Slurm's commands find no slurm.conf on this host: set SLURM_CONF to its path"
    return None


def error_for(done: Completed, what: str) -> SlurmError:
    """Return the exception for a failed command.

    Args:
        done: the command's result.
        what: the request, for the message: `requeue job 7`.
    """
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    kind = next(
        kind for texts, kind in _ERROR_CLASSES if any(text in done.stderr for text in texts)
    )
    reason = missing_configuration(done.stderr) or "; ".join(map(str.strip, lines))
    reason = reason or f"exit code {done.code}"
    if done.code < 0 and kind is SlurmError:
        # Slurm may have received the request, and answers nobody.
        kind, reason = SlurmUnavailableError, f"killed by signal {-done.code} before an answer"
    if kind is JobNotFoundError:
        reason = "Slurm does not know this job (any more)"
    return kind(f"{what}: {reason}", stderr=done.stderr)
