"""The exceptions of the package; the class of an error sets the exit code of a command."""

from collections.abc import Sequence


class CsxError(Exception):
    """Anything that a command reports in one message, without a traceback. Exit code 1."""

    exit_code = 1


class UsageError(CsxError):
    """The command line asks for something that cannot be done. Exit code 2, as click's own."""

    exit_code = 2


class ConfigError(CsxError):
    """A file that a person wrote is wrong. Exit code 3; `problems` are whole lines, all of them."""

    exit_code = 3

    def __init__(self, path: str, problems: Sequence[str]) -> None:
        self.path = path
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class SlurmError(CsxError):
    """Slurm refused what was asked. Exit code 4; `stderr` is Slurm's own answer."""

    exit_code = 4

    def __init__(self, message: str, *, stderr: str = "") -> None:
        self.stderr = stderr
        super().__init__(message)


class SlurmUnavailableError(SlurmError):
    """The controller did not answer in time, or not at all. Exit code 75 (EX_TEMPFAIL)."""

    exit_code = 75


class NoJobIdError(SlurmUnavailableError):
    """sbatch succeeded and printed no job id: the job is in the queue, as far as is known."""


class JobNotFoundError(SlurmError):
    """The job is unknown: Slurm does not know it (any more), nor does any record. Exit code 5."""

    exit_code = 5


class JobNotPendingError(SlurmError):
    """The job has started, so that its fields cannot be changed any more. Exit code 4."""


class CheckpointError(CsxError):
    """A checkpoint cannot be used: missing, incomplete, or not readable. Exit code 6."""

    exit_code = 6


class StateError(CsxError):
    """The plugin's own records cannot be read or written. Exit code 7."""

    exit_code = 7


class RecordError(StateError):
    """A record is not of the form that this package writes. Exit code 7.

    Attributes:
        key: the key, such as `policy.max_restarts`; empty: the record as a whole.
        expected: what is allowed there.
        found: what is there.
        file: the file, where that is known.
        line: the line from 1, in a file with a record a line.
    """

    def __init__(
        self, key: str, expected: str, found: str, *, file: str = "", line: int | None = None
    ) -> None:
        self.key, self.expected, self.found = key, expected, found
        self.file, self.line = file, line
        where = [file] if file else []
        where += [] if line is None else [str(line) if file else f"line {line}"]
        place = ":".join(where)
        super().__init__(
            ": ".join(part for part in (place, key, f"expected {expected}, got {found}") if part)
        )

    def at(self, file: str, line: int | None = None) -> "RecordError":
        """Return the same error with the place of the record."""
        return RecordError(self.key, self.expected, self.found, file=file, line=line)


class CommentRecordError(CsxError):
    """The record in a job's Comment is not one that this plugin writes."""

    exit_code = 8
