"""summary.json: the summary of a run with the vendor's field names and additional ones.

Every write derives the file from the records of all attempts, so a damaged or removed file is
complete again after the next write.
"""

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from slurm_restart.core.category import Category
from slurm_restart.core.job_comment import Mode
from slurm_restart.core.nan_flow import CHECKED
from slurm_restart.core.record_reader import parse_json, read_object
from slurm_restart.errors import RecordError
from slurm_restart.frozen import frozen
from slurm_restart.safe_files import FileTooLargeError, open_directory, read_bounded
from slurm_restart.trainer.atomic_file import set_aside_in, write_atomic_in
from slurm_restart.trainer.attempt_records import AttemptEnd, AttemptStart
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import AttemptDir, RunDir

MAX_BYTES = 64 << 20


@frozen
class _RootCause:
    """The keys of a root cause that commands show."""

    line: int | None = None
    text: str | None = None


@frozen
class _Run:
    """The keys of an attempt that commands show."""

    status: str | None = None
    failure_reason: str | None = None
    starting_step: int | None = None
    ending_step: int | None = None
    category: str | None = None
    rule: str | None = None
    expected_decision: str | None = None
    in_place: int | None = None
    root_cause: _RootCause | None = None


@frozen
class _Summary:
    """The keys of a summary that commands read."""

    runs: tuple[_Run, ...] = ()


_CONFIG_KEYS = {
    "autorestart", "compile_job_ids", "execute_job_ids", "loaded_trainer_state_file", "min_num_csx",
    "model_dir", "nan_checker_enabled", "num_csx", "phase", "validation_only", "workflow_id",
}  # fmt: skip
SUCCESS, FAILED, NON_RECOVERABLE = "success", "failed", "non_recoverable_failure"


def status_of(end: AttemptEnd) -> str:
    """Return the vendor's status; `failed` means that a restart is useful."""
    if end.category == Category.COMPLETED.value or end.rule == CHECKED:
        return SUCCESS
    return FAILED if end.recoverable else NON_RECOVERABLE


def summarize(plan: RunPlan, run_dir: RunDir) -> dict[str, Any]:
    """Return the summary: `runs` has the ended attempts, `running` the current attempt.

    Raises:
        OSError: the attempts cannot be listed.
    """
    known = [(attempt, attempt.start(), attempt.end()) for attempt in run_dir.attempts()]
    runs = [_run(plan, attempt, start, end) for attempt, start, end in known if end is not None]
    running = [
        _started(plan, attempt, start)
        for attempt, start, end in known
        if start is not None and end is None
    ]
    policy = plan.policy
    found = {
        "workflow_id": plan.run,
        "max_num_restarts": policy.max_restarts if policy else 0,
        "min_num_csx": plan.min_nodes * plan.csx_per_node,
        "runs": runs,
        "run_id": plan.run_id,
        "phase": plan.phase,
        "mode": plan.mode.value,
        "autorestart": policy is not None,
        "self_requeue": plan.requeues_itself,
        "config": plan.config_path,
        "model_dir": plan.model_dir,
        "num_csx": plan.num_csx,
        "running": running[-1] if running else None,
    }
    return _of_script(found) if plan.mode is Mode.SCRIPT else found


def _of_script(value: Any) -> Any:
    """Return the summary of a batch script's run: without the keys that only a config has."""
    if isinstance(value, list):
        return [_of_script(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        "script" if key == "config" else key: _of_script(item)
        for key, item in value.items()
        if key not in _CONFIG_KEYS
    }


def _time(at: float | None) -> str | None:
    return None if at is None else str(datetime.fromtimestamp(at))  # noqa: DTZ006 - local, as theirs


def _started(plan: RunPlan, attempt: AttemptDir, start: AttemptStart | None) -> dict[str, Any]:
    """Return the facts of an attempt's start, with the vendor's names first.

    As there, the first attempt has loaded no state of an earlier one, and an evaluation starts at
    step 0.
    """
    return {
        "artifact_dir": str(attempt.path),
        "start_time": _time(start.at if start else None),
        "starting_step": _first_step(plan, start),
        "loaded_trainer_state_file": start.checkpoint if start and start.resumed else None,
        "num_csx": start.num_csx if start else None,
        "nan_checker_enabled": bool(start and start.nan_checker),
        "attempt": attempt.number,
        "job_id": start.job_id if start else None,
        "restart_count": start.restarts if start else None,
        "in_place": start.in_place if start else None,
        "nodes": list(start.nodes) if start else [],
        "unhealthy_nodes": start.unhealthy if start else {},
        "resumed": start.resumed if start else None,
        "checkpoint": start.checkpoint if start else None,
        "validation_only": start.validation_only if start else None,
        "late_checkpoints": [late.path for late in attempt.late()],
    }


def _first_step(plan: RunPlan, start: AttemptStart | None) -> int | None:
    if start is None:
        return None
    return 0 if plan.mode.is_evaluation else start.from_step


def _run(
    plan: RunPlan, attempt: AttemptDir, start: AttemptStart | None, end: AttemptEnd
) -> dict[str, Any]:
    started = _started(plan, attempt, start)
    first, last = started["starting_step"], end.step
    if last is None:
        last = first
    return started | {
        "end_time": _time(end.at),
        "status": status_of(end),
        "failure_reason": end.reason,
        "ending_step": last,
        "compile_job_ids": list(end.compile_job_ids),
        "execute_job_ids": list(end.execute_job_ids),
        "steps_progressed": None if first is None or last is None else max(0, last - first),
        "category": end.category,
        "rule": end.rule,
        "confidence": end.confidence,
        "root_cause": None
        if end.root_cause is None
        else {"line": end.root_cause.line, "text": end.root_cause.text}
        | {"file": end.root_cause.file},
        "exit_code": end.exit_code,
        "signal": end.signal,
        "blamed_nodes": list(end.blamed_nodes),
        "progress": end.progress,
        "expected_decision": end.expected_decision,
        "requeue": _requeue(attempt),
        "settled_afterwards": end.backfilled,
    }


def _requeue(attempt: AttemptDir) -> dict[str, Any] | None:
    """Return what the supervisor has asked of Slurm after the attempt."""
    asked = attempt.requeue()
    if asked is None:
        return None
    return {
        "excluded": list(asked.exc_nodes),
        "num_nodes": asked.num_nodes,
        "not_before": _time(asked.start_time),
        "accepted": asked.done,
    }


def write(
    plan: RunPlan, run_dir: RunDir, *, at: float, directory: int | None = None
) -> Path | None:
    """Write summary.json; return the new path of a damaged one, None if there was none.

    Args:
        plan: the phase.
        run_dir: the phase's directory.
        at: epoch seconds.
        directory: the open run directory; None: it is opened by its path.

    Raises:
        OSError: it cannot be written.
    """
    if directory is None:
        opened = open_directory(run_dir.path)
        try:
            return write(plan, run_dir, at=at, directory=opened)
        finally:
            os.close(opened)
    path = run_dir.summary
    aside = set_aside_in(directory, path.name, at) if _is_damaged(path) else None
    text = json.dumps(summarize(plan, run_dir), indent=4)
    write_atomic_in(directory, path.name, f"{text}\n".encode())
    return None if aside is None else path.with_name(aside)


def read(path: Path) -> dict[str, Any]:
    """Return the content of a summary, with the keys of other tools, if its form is right.

    Raises:
        RecordError: not JSON, or a value of a wrong type under a key of ours.
        OSError: it cannot be read: not there, no regular file, larger than `MAX_BYTES`.
    """
    try:
        data: dict[str, Any] = parse_json(read_bounded(path, MAX_BYTES, follow=False))
        read_object(_Summary, data)
    except RecordError as error:
        raise error.at(str(path)) from None
    return data


def _is_damaged(path: Path) -> bool:
    try:
        read(path)
    except FileNotFoundError:
        return False
    except (FileTooLargeError, RecordError):
        return True
    return False
