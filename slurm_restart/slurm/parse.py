"""Slurm's answers as facts: pure functions over what its commands printed.

Job names, comments, paths and more hold whatever a user typed, newlines included. So fields end
with a mark that is drawn anew for each call and that squeue is given through its environment, which
other users cannot read: text that was stored before cannot hold it. Nothing of a job is taken from
`scontrol show job`, whose lines cannot be split safely.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from slurm_restart.core.job import Job, JobFlag, JobState
from slurm_restart.errors import SlurmError
from slurm_restart.slurm.hostlist import expand
from slurm_restart.slurm.output_path import output_path

Record = Mapping[str, str]
Base = tuple[JobState | None, frozenset[JobFlag]]

_COLUMNS = {
    "job_id": "%A",
    "task": "%K",
    "state": "%T",
    "reason": "%r",
    "uid": "%U",
    "partitions": "%P",
    "nodes": "%N",
    "exc_nodes": "%x",
    "num_nodes": "%D",
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
# What only `squeue -O` has, by names that are the same in all releases, with widths.
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
}
_SEEN_BY_BOTH = ("job_id", "state", "submit", "start")
_NOTHING = frozenset({"", "(null)", "N/A", "n/a", "None", "NONE", "Unknown"})
_DURATION = re.compile(r"(?:[0-9]+-)?[0-9]+(?::[0-9]+){0,2}")

_NODES_ASKED = re.compile(r"(?:^|,)node=([0-9]+)(?:,|$)")

_STATES = {state.value: state for state in JobState}
_FLAGS = {flag.value: flag for flag in JobFlag}
# squeue prints a state flag in place of the base state; these go with one base state only.
_BASE_OF_FLAG = {
    "CONFIGURING": JobState.RUNNING,
    "RESIZING": JobState.RUNNING,
    "SIGNALING": JobState.RUNNING,
    "STOPPED": JobState.RUNNING,
    "REQUEUED": JobState.PENDING,
    "REQUEUE_FED": JobState.PENDING,
    "REQUEUE_HOLD": JobState.PENDING,
    "RESV_DEL_HOLD": JobState.PENDING,
    "SPECIAL_EXIT": JobState.PENDING,
}


def job_format(mark: str) -> str:
    """SQUEUE_FORMAT for `job_records`."""
    return "".join(column + mark for column in _COLUMNS.values())


def detail_format(mark: str) -> str:
    """SQUEUE_FORMAT2 for `detail_records`; the mark must not begin with a digit."""
    return ",".join(column + mark for column in _DETAILS.values())


def job_records(text: str, mark: str) -> list[Record]:
    """The jobs that squeue printed with `job_format`."""
    return _records(text, mark, tuple(_COLUMNS))


def detail_records(text: str, mark: str) -> list[Record]:
    """The jobs that squeue printed with `detail_format`."""
    return [
        {name: value.rstrip(" ") for name, value in record.items()}
        for record in _records(text, mark, tuple(_DETAILS))
    ]


def _records(text: str, mark: str, names: tuple[str, ...]) -> list[Record]:
    fields = text.split(mark)
    if len(fields) % len(names) != 1 or fields.pop().strip():
        raise SlurmError(f"squeue: expected {len(names)} fields a job, got {text[-200:]!r}")
    return [
        dict(zip(names, [fields[at].removeprefix("\n"), *fields[at + 1 :]], strict=False))
        for at in range(0, len(fields), len(names))
    ]


def job_of(records: Iterable[Record], job_id: int) -> Record | None:
    """The record of one job; an array's or a heterogeneous job's others are passed over."""
    return next((one for one in records if one["job_id"] == str(job_id)), None)


def agree(record: Record, detail: Record, base: Base | None) -> bool:
    """Whether the answers to calls made side by side show a job at the same moment."""
    if any(record[name] != detail[name] for name in _SEEN_BY_BOTH):
        return False
    if base is None:
        return True
    state, flags = parse_state([record["state"]])
    completing = JobFlag.COMPLETING
    return state in (None, base[0]) and (completing in flags) == (completing in base[1])


def parse_state(words: Iterable[str]) -> Base:
    """Base state and flags from Slurm's words for them.

    None for a base state that is not shown, or is of a release newer than this package.
    """
    words = tuple(words)
    states = [_STATES[word] for word in words if word in _STATES]
    states += [_BASE_OF_FLAG[word] for word in words if word in _BASE_OF_FLAG]
    flags = frozenset(_FLAGS[word] for word in words if word in _FLAGS)
    return (states[0] if states else None), flags


def parse_base(text: str, job_id: int) -> Base | None:
    """Base state and flags of a job from `squeue --only-job-state --json`; None: it is not there.

    `scontrol show job --json` has them too, but with every core of every node of the job: 600 kB
    for 8 nodes of 256 cores.
    """
    import json  # noqa: PLC0415 - slow to import, and not needed before 24.11

    try:
        for job in json.loads(text)["jobs"]:
            if str(job["job_id"]) == str(job_id):
                return parse_state(job["state"])
    except (ValueError, KeyError, TypeError) as error:
        raise SlurmError(f"squeue: expected job states as JSON, got {text[:200]!r}") from error
    return None


def to_job(record: Record, detail: Record | None = None, base: Base | None = None) -> Job:
    """A job from its records.

    Args:
        record: of `job_records`.
        detail: of `detail_records`; without it what stands only there keeps its default.
        base: base state and flags, where Slurm tells both.
    """
    state, flags = base or parse_state([record["state"]])
    job = Job(
        job_id=int(record["job_id"]),
        uid=int(record["uid"]),
        state=state,
        flags=flags,
        reason=parse_reason(record["reason"]),
        comment=_text(record["comment"]) or "",
        submit_time=_time(record["submit"]),
        start_time=_time(record["start"]),
        end_time=_time(record["end"]),
        time_limit=parse_duration(record["limit"]),
        run_time=parse_duration(record["run"]),
        num_nodes=int(record["num_nodes"]),
        nodes=expand(_text(record["nodes"]) or ""),
        exc_nodes=expand(_text(record["exc_nodes"]) or ""),
        batch_host=_text(record["batch_host"]),
        partitions=tuple(record["partitions"].split(",")),
        reservation=_text(record["reservation"]),
        features=_text(record["features"]),
        priority=int(record["priority"]),
        is_array=record["task"] != "N/A",
        work_dir=record["work_dir"],
    )
    return job if detail is None else _with_details(job, record, detail)


def _with_details(job: Job, record: Record, detail: Record) -> Job:
    code, signal = parse_exit(detail["exit"])
    asked = _NODES_ASKED.search(detail["tres"]) if job.state is JobState.PENDING else None
    return replace(
        job,
        # Once a job has been scheduled, 22.05 goes on showing its former size while it is pending.
        num_nodes=int(asked[1]) if asked else job.num_nodes,
        eligible_time=_time(detail["eligible"]),
        preempt_time=_time(detail["preempt"]),
        restarts=int(detail["restarts"]),
        requeue=detail["requeue"] == "1",
        exit_code=code,
        signal=signal,
        std_out=output_path(record, detail),
        admin_comment=_text(detail["admin_comment"]) or "",
    )


def parse_reason(text: str) -> str:
    """A reason as Slurm names it.

    squeue shows blanks where Slurm's names, and scontrol, have underscores, and from 24.11 on the
    signal behind the name: `RaisedSignal:9(Killed)`.
    """
    name = text.replace(" ", "_")
    return "RaisedSignal" if name.startswith("RaisedSignal:") else name


def parse_exit(text: str) -> tuple[int, int]:
    """Exit code and signal from `CODE:SIGNAL`, or from the wait status that 22.05 prints."""
    code, colon, signal = text.partition(":")
    return (int(code), int(signal)) if colon else (int(code) >> 8 & 0xFF, int(code) & 0x7F)


def parse_duration(text: str) -> int | None:
    """Seconds from `[D-][[HH:]MM:]SS`; None: no limit, or not known."""
    if not _DURATION.fullmatch(text):
        return None
    days, _, clock = text.rpartition("-")
    seconds = 0
    for part in clock.split(":"):
        seconds = seconds * 60 + int(part)
    return int(days or 0) * 86400 + seconds


def _text(value: str) -> str | None:
    return None if value in _NOTHING else value


def _time(value: str) -> int | None:
    if value in _NOTHING:
        return None
    if not value.isdecimal():
        raise SlurmError(f"squeue: expected a time in epoch seconds, got {value[:40]!r}")
    return int(value)
