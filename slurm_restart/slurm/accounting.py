"""The end of a job from the accounting database, for jobs that slurmctld has forgotten."""

import os
from pathlib import Path

from slurm_restart.core.hostlist import expand
from slurm_restart.core.job import JobFlag, JobState
from slurm_restart.core.slurm_state import STATE_BY_NAME, is_end
from slurm_restart.errors import JobNotFoundError, SlurmError
from slurm_restart.frozen import frozen
from slurm_restart.slurm.client import CommandClient
from slurm_restart.slurm.output_path import output_path
from slurm_restart.slurm.parse_values import parse_exit

_FIELDS = (
    *("JobIDRaw", "JobID", "JobName", "User", "State", "ExitCode", "NodeList", "WorkDir"),
    "ElapsedRaw",
)
_OUTPUT = "StdOut"
"""A field of later releases; before, the name of the output is not in the database."""
_NO_NODES = frozenset({"", "None assigned", "Unknown", "(null)"})


@frozen
class AccountedEnd:
    """How the last attempt of a job ended.

    `std_out` is where its output should be, `seconds` how long it ran (None: not recorded).
    """

    state: JobState | JobFlag
    exit_code: int
    signal: int
    nodes: tuple[str, ...]
    std_out: Path
    seconds: int | None = None


def accounted_end(job_id: int, client: CommandClient) -> AccountedEnd:
    """Return the last end of a job in the accounting database.

    Raises:
        JobNotFoundError: the database has no end of this job.
        SlurmError: there is no database, or it does not answer.
    """
    what = f"accounting of job {job_id}"
    (known,) = client.request(what, client.call("sacct", "--helpformat"))
    fields = (*_FIELDS, *([_OUTPUT] if _OUTPUT in known.stdout.split() else []))
    delimiter = f"~{os.urandom(8).hex()}~"
    # -D: an attempt that was requeued is a record of its own.
    arguments = ("-nPDX", "-j", str(job_id), f"--delimiter={delimiter}", "-o", ",".join(fields))
    (answer,) = client.request(what, client.call("sacct", *arguments))
    ends = parse_ends(answer.stdout, job_id, fields, delimiter)
    if not ends:
        raise JobNotFoundError(f"{what}: no end of it is recorded")
    return ends[-1]


def parse_ends(
    text: str, job_id: int, fields: tuple[str, ...], delimiter: str
) -> list[AccountedEnd]:
    """Return the ends of a job in sacct's output, oldest first.

    Raises:
        SlurmError: a record is not of the form that sacct prints.
    """
    ends = []
    for line in text.split("\n"):
        values = line.split(delimiter)
        if len(values) != len(fields):
            continue  # the end of the output, or a part of a value with a line feed
        record = dict(zip(fields, values, strict=True))
        # `CANCELLED by 1000`
        state = STATE_BY_NAME.get(record["State"].split(" ")[0])
        if record["JobIDRaw"] == str(job_id) and state is not None and is_end(state):
            ends.append(_end(record, state))
    return ends


def _end(record: dict[str, str], state: JobState | JobFlag) -> AccountedEnd:
    try:
        exit_code, signal = parse_exit(record["ExitCode"])
    except ValueError:
        raise SlurmError(f"sacct: expected an exit code, got {record['ExitCode']!r}") from None
    array, is_array, task = record["JobID"].partition("_")
    place = {"work_dir": record["WorkDir"], "job_id": record["JobIDRaw"]}
    names = {
        "std_out": record.get(_OUTPUT, ""),
        "name": record["JobName"],
        "user": record["User"],
        "array": array,
        "task": task if is_array else "N/A",
    }
    return AccountedEnd(
        state=state,
        exit_code=exit_code,
        signal=signal,
        nodes=() if record["NodeList"] in _NO_NODES else expand(record["NodeList"]),
        std_out=Path(output_path(place, names)),
        seconds=int(elapsed) if (elapsed := record["ElapsedRaw"]).isdecimal() else None,
    )
