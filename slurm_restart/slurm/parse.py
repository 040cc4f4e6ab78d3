"""Parse what squeue printed about jobs; pure functions.

Job names, comments, paths and other fields hold any text of a user, newlines included. So each
field ends with a delimiter that is random for each call and is passed to squeue in its environment,
which other users cannot read: text that was stored before cannot contain it. Nothing is read from
`scontrol show job`, whose lines cannot be split safely.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from slurm_restart.core.hostlist import expand
from slurm_restart.core.job import Job, JobFlag, JobState
from slurm_restart.errors import SlurmError
from slurm_restart.slurm.output_path import output_path
from slurm_restart.slurm.parse_values import (
    Base,
    parse_count,
    parse_duration,
    parse_exit,
    parse_megabytes,
    parse_reason,
    parse_state,
    parse_text,
    parse_time,
)

Record = Mapping[str, str]

_COLUMNS = {
    "job_id": "%A",
    "array": "%F",
    "task": "%K",
    "state": "%T",
    "reason": "%r",
    "uid": "%U",
    "partitions": "%P",
    "nodes": "%N",
    "exc_nodes": "%x",
    "num_nodes": "%D",
    "num_cpus": "%C",
    "batch_host": "%B",
    "submit": "%V",
    "start": "%S",
    "end": "%e",
    "limit": "%l",
    "run": "%M",
    "priority": "%Q",
    "features": "%f",
    "reservation": "%v",
    "work_dir": "%Z",
    "comment": "%k",
}
# Fields of `squeue -O` only, by names that are the same in all releases, with their widths.
_DETAILS = {
    "job_id": "jobid:20",
    "state": "state:20",
    "submit": "submittime:20",
    "start": "starttime:20",
    "eligible": "eligibletime:20",
    "preempt": "preempttime:20",
    "restarts": "restartcnt:20",
    "requeue": "requeue:20",
    "exit": "exit_code:20",
    "tres": "tres-alloc:1024",
    "array": "arrayjobid:20",
    "task": "arraytaskid:20",
    "user": "username:256",
    "name": "name:1024",
    "std_out": "stdout:4096",
    "admin_comment": "admin_comment:4096",
    "min_cpus": "mincpus:20",
    "min_memory": "minmemory:20",
    "min_tmp_disk": "mintmpdisk:20",
    "tres_per_node": "tres-per-node:1024",
}
_COUNTS = {
    "job_id": "jobid:20",
    "state": "state:20",
    "submit": "submittime:20",
    "restarts": "restartcnt:20",
}
"""Narrow fields of `squeue -O` for lists: it pads each to its width."""
TASKS_FORMAT = "jobid:20,numtasks:20,ntpernode:20"
"""Fields of `squeue -O` for `parse_tasks`; numbers only, so that blanks separate them."""
_IN_BOTH = ("job_id", "state", "submit", "start")
_REQUESTED_NODES = re.compile(r"(?:^|,)node=([0-9]+)(?:,|$)")


def job_format(delimiter: str) -> str:
    """Return SQUEUE_FORMAT for `job_records`."""
    return "".join(column + delimiter for column in _COLUMNS.values())


def detail_format(delimiter: str) -> str:
    """Return SQUEUE_FORMAT2 for `detail_records`; `delimiter` must not begin with a digit."""
    return ",".join(column + delimiter for column in _DETAILS.values())


def count_format(delimiter: str) -> str:
    """Return SQUEUE_FORMAT2 for `count_records`; `delimiter` must not begin with a digit."""
    return ",".join(column + delimiter for column in _COUNTS.values())


def job_records(text: str, delimiter: str) -> Sequence[Record]:
    """Return the jobs that squeue printed with `job_format`."""
    return _records(text, delimiter, tuple(_COLUMNS))


def detail_records(text: str, delimiter: str) -> Sequence[Record]:
    """Return the jobs that squeue printed with `detail_format`."""
    return _padded_records(text, delimiter, tuple(_DETAILS))


def count_records(text: str, delimiter: str) -> Sequence[Record]:
    """Return the jobs that squeue printed with `count_format`."""
    return _padded_records(text, delimiter, tuple(_COUNTS))


def _padded_records(text: str, delimiter: str, names: tuple[str, ...]) -> list[Record]:
    return [
        {name: value.rstrip(" ") for name, value in record.items()}
        for record in _records(text, delimiter, names)
    ]


def _records(text: str, delimiter: str, names: tuple[str, ...]) -> list[dict[str, str]]:
    fields = text.split(delimiter)
    if len(fields) % len(names) != 1 or fields.pop().strip():
        raise SlurmError(f"squeue: expected {len(names)} fields a job, got {text[-200:]!r}")
    starts = range(0, len(fields), len(names))
    found = [dict(zip(names, fields[at : at + len(names)], strict=True)) for at in starts]
    for record in found:
        # The newline that ends a job precedes the first field of the next job.
        record[names[0]] = record[names[0]].removeprefix("\n")
    return found


def job_of(records: Iterable[Record], job_id: int) -> Record | None:
    """Return the record of one job; other tasks of an array or parts of a job are skipped."""
    return next((record for record in records if record["job_id"] == str(job_id)), None)


def agree(record: Record, detail: Record, base: Base | None) -> bool:
    """Return whether the answers to parallel calls show the job at the same moment."""
    if any(record[name] != detail[name] for name in _IN_BOTH):
        return False
    if base is None:
        return True
    state, flags = parse_state([record["state"]])
    completing = JobFlag.COMPLETING
    return state in (None, base[0]) and (completing in flags) == (completing in base[1])


def restart_counts(records: Iterable[Record], counts: Iterable[Record]) -> tuple[int | None, ...]:
    """Return the restart count of each job of `records`.

    None: the answers to the two calls do not show the job at the same moment.
    """
    by_id = {count["job_id"]: count for count in counts}
    return tuple(
        int(count["restarts"])
        if (count := by_id.get(record["job_id"])) is not None
        and all(count[name] == record[name] for name in ("state", "submit"))
        else None
        for record in records
    )


def parse_bases(text: str) -> dict[int, Base]:
    """Return base state and flags of each job of `squeue --only-job-state --json`.

    A task of an array has its own job id with its number there, such as `124_4` (measured).

    `scontrol show job --json` has them too, but lists every core of every node: 600 kB for 8 nodes
    of 256 cores.
    """
    import json  # noqa: PLC0415 - slow to import, and not needed before 24.11

    found: dict[int, Base] = {}
    try:
        for job in json.loads(text)["jobs"]:
            job_id = int(str(job["job_id"]).partition("_")[0])
            found.setdefault(job_id, parse_state(job["state"]))
    except (ValueError, KeyError, TypeError) as error:
        raise SlurmError(f"squeue: expected job states as JSON, got {text[:200]!r}") from error
    return found


def parse_states(text: str) -> dict[int, tuple[str, int | None]]:
    """Return state and SubmitTime (epoch seconds) of each job of `squeue -o '%A|%T|%V'`."""
    rows = (line.split("|") for line in text.splitlines())
    return {
        int(row[0]): (row[1], int(row[2]) if row[2].isdecimal() else None)
        for row in rows
        if len(row) == 3 and row[0].isdecimal()  # noqa: PLR2004 - the fields asked for
    }


def parse_tasks(text: str, job_id: int) -> tuple[int, int] | None:
    """Return the tasks of a job, and those requested for each node (0: none); None: not shown.

    Args:
        text: what `squeue -O` printed with `TASKS_FORMAT`.
        job_id: the job.
    """
    for line in text.splitlines():
        match line.split():
            case [shown, tasks, per_node] if shown == str(job_id) and tasks.isdecimal():
                return int(tasks), int(per_node) if per_node.isdecimal() else 0
    return None


_WAITS_FOR_NODES = frozenset({"None", "Priority", "Resources"})
"""Slurm's reasons of a pending job that starts once nodes are free; None: not tried yet."""


def waits_for_nodes(text: str, *, but: int) -> bool:
    """Return whether a job of `squeue -o '%A|%r'` waits for nodes, other than the job `but`."""
    rows = (line.partition("|") for line in text.splitlines())
    return any(job != str(but) and reason in _WAITS_FOR_NODES for job, _, reason in rows)


def to_job(record: Record, detail: Record | None = None, base: Base | None = None) -> Job:
    """Return a job from its records.

    Args:
        record: of `job_records`.
        detail: of `detail_records`; without it the fields that only it has keep their defaults.
        base: base state and flags, if Slurm shows both.

    Raises:
        SlurmError: a value has another form than in the known releases.
    """
    try:
        job = _job(record, base or parse_state([record["state"]]))
        return job if detail is None else _with_details(job, record, detail)
    except ValueError as error:
        raise SlurmError(f"squeue: job {record['job_id'][:20]}: {error}") from error


def _job(record: Record, base: Base) -> Job:
    state, flags = base
    return Job(
        job_id=int(record["job_id"]),
        uid=int(record["uid"]),
        state=state,
        flags=flags,
        reason=parse_reason(record["reason"]),
        comment=parse_text(record["comment"]) or "",
        submit_time=parse_time(record["submit"]),
        start_time=parse_time(record["start"]),
        end_time=parse_time(record["end"]),
        time_limit=parse_duration(record["limit"]),
        run_time=parse_duration(record["run"]),
        num_nodes=int(record["num_nodes"]),
        num_cpus=parse_count(record["num_cpus"]),
        nodes=expand(parse_text(record["nodes"]) or ""),
        exc_nodes=expand(parse_text(record["exc_nodes"]) or ""),
        batch_host=parse_text(record["batch_host"]),
        partitions=tuple(record["partitions"].split(",")),
        reservation=parse_text(record["reservation"]),
        features=parse_text(record["features"]),
        priority=int(record["priority"]),
        array_job_id=int(record["array"]) if record["task"] != "N/A" else None,
        # A list such as `4-19%4` for the tasks that have never started.
        array_task_id=int(record["task"]) if record["task"].isdecimal() else None,
        work_dir=record["work_dir"],
    )


def _with_details(job: Job, record: Record, detail: Record) -> Job:
    code, signal = parse_exit(detail["exit"])
    requested = _REQUESTED_NODES.search(detail["tres"]) if job.state is JobState.PENDING else None
    # 22.05 shows the former size of a pending job that was scheduled before; 26.05 requests as few
    # nodes as were left of a job that had lost some (--no-kill), and shows its true size: measured.
    num_nodes = int(requested[1]) if requested else job.num_nodes
    return replace(
        job,
        num_nodes=num_nodes,
        shown_nodes=job.num_nodes if job.num_nodes != num_nodes else None,
        eligible_time=parse_time(detail["eligible"]),
        preempt_time=parse_time(detail["preempt"]),
        restarts=int(detail["restarts"]),
        requeue=detail["requeue"] == "1",
        exit_code=code,
        signal=signal,
        std_out=output_path(record, detail),
        admin_comment=parse_text(detail["admin_comment"]) or "",
        min_cpus=parse_count(detail["min_cpus"]),
        min_memory=parse_megabytes(detail["min_memory"]),
        min_tmp_disk=parse_megabytes(detail["min_tmp_disk"]),
        tres_per_node=parse_text(detail["tres_per_node"]),
    )
