"""How the phases of a run were submitted, submission.json, for `csx-restart resume`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurm_restart.core.record_reader import (
    Argument,
    parse_json,
    read_object,
    to_data,
    unknown_keys,
)
from slurm_restart.errors import RecordError, StateError
from slurm_restart.safe_files import read_bounded
from slurm_restart.trainer.atomic_file import write_atomic

FILE_NAME = "submission.json"
SCHEMA = 1
MAX_BYTES = 4 << 20


@dataclass(frozen=True, kw_only=True)
class SubmissionRecord:
    """How one phase was submitted."""

    schema: int = SCHEMA
    directory: Argument
    """The working directory of sbatch."""
    script: Argument
    """Name of the batch script in the run directory."""
    arguments: tuple[Argument, ...]
    """Of sbatch, before the script."""
    phases: tuple[Argument, ...]
    """The run directories of all phases, in order."""
    unknown: dict[str, Any] = unknown_keys()

    @classmethod
    def load(cls, run_dir: Path) -> "SubmissionRecord":
        """Read the record of a run directory.

        Raises:
            StateError: there is none, as in runs of releases up to 0.2, or it cannot be used.
        """
        path = run_dir / FILE_NAME
        try:
            record = read_object(cls, parse_json(read_bounded(path, MAX_BYTES, follow=False)))[0]
        except FileNotFoundError:
            raise StateError(
                f"{path}: not there: the run was submitted by an earlier release, or its "
                "submission was interrupted; submit it again with csx-sbatch"
            ) from None
        except OSError as error:
            raise StateError(f"{path}: {error.strerror}") from error
        except RecordError as error:
            raise error.at(str(path)) from None
        if record.schema != SCHEMA:
            raise RecordError("schema", str(SCHEMA), str(record.schema), file=str(path))
        return record

    def save(self, run_dir: Path) -> None:
        """Write the record.

        Raises:
            OSError: it cannot be written.
        """
        data = json.dumps(to_data(self), indent=2)
        write_atomic(run_dir / FILE_NAME, f"{data}\n".encode())
