"""Put an end into words: the record, the digest's values, and the job's exit code."""

import errno
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slurm_restart.core.attribution import Attribution
from slurm_restart.core.category import Category, Confidence
from slurm_restart.errors import CsxError
from slurm_restart.slurm.hostlist import format_hostlist
from slurm_restart.supervise.prepare_attempt import Prepared
from slurm_restart.supervise.trainer_end import (
    StopReason,
    TrainerEnd,
    attribute_trainer_end,
    explain,
    fingerprint,
    recoverable,
)
from slurm_restart.trainer.attempt_records import AttemptEnd, AttemptStart, RootCauseLine
from slurm_restart.trainer.plan import RunPlan
from slurm_restart.trainer.rundir import AttemptDir

EXIT_IO_ERROR = 74
EXIT_TERMINATED = 128 + 15
EXIT_INTERNAL = 70
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_MAX_NODES_TEXT = 160
_RULE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptResult:
    """All that there is to say of an end."""

    exit_code: int
    """Of the job."""
    stop: StopReason | None
    attempt: AttemptDir | None
    start: AttemptStart | None
    end: AttemptEnd
    attribution: Attribution

    @property
    def is_final(self) -> bool:
        """Whether this word alone keeps the job from being restarted in vain."""
        category = self.attribution.category
        return category is not Category.COMPLETED and not recoverable(category)

    @property
    def self_report(self) -> Mapping[str, Any]:
        """The digest's values."""
        end, attribution = self.end, self.attribution
        nodes = format_hostlist(attribution.names) if attribution.names else ""
        return {
            "ended": True,
            "exit": self.exit_code,
            "cause": attribution.category,
            "rule": attribution.rule if _RULE.fullmatch(attribution.rule) else None,
            "root": end.root,
            "nodes": nodes if 0 < len(nodes) <= _MAX_NODES_TEXT else None,
            **({} if end.step is None else {"step": end.step}),
        }


def attempt_result(
    plan: RunPlan,
    prepared: Prepared,
    ending: TrainerEnd,
    *,
    step: int | None,
    now: float,
    job_ids: Mapping[str, Sequence[str]] | None = None,
) -> AttemptResult:
    """The end of an attempt.

    Args:
        plan: the phase.
        prepared: the attempt.
        ending: how its trainer ended.
        step: the newest complete checkpoint of the run; None: there is none.
        now: epoch seconds.
        job_ids: the CSX cluster's jobs, by `compile` and `execute`.
    """
    start, attribution = prepared.start, attribute_trainer_end(ending)
    cause, ids = attribution.root_cause, job_ids or {}
    end = AttemptEnd(
        attempt=start.attempt,
        at=now,
        category=attribution.category.value,
        rule=attribution.rule,
        reason=explain(ending, attribution),
        confidence=attribution.confidence.value,
        exit_code=ending.exit_code,
        signal=ending.signal,
        root_cause=None
        if cause is None
        else RootCauseLine(line=cause.line, text=cause.text, file=str(prepared.attempt.output)),
        root=None if cause is None else fingerprint(cause.text),
        blamed_nodes=attribution.names,
        step=step,
        progress=_progress(plan, start, step),
        recoverable=recoverable(attribution.category),
        compile_job_ids=tuple(ids.get("compile", ())),
        execute_job_ids=tuple(ids.get("execute", ())),
    )
    return AttemptResult(
        exit_code=ending.job_exit_code,
        stop=ending.stop,
        attempt=prepared.attempt,
        start=start,
        end=end,
        attribution=attribution,
    )


def _progress(plan: RunPlan, start: AttemptStart, step: int | None) -> bool:
    if plan.mode.is_evaluation or start.from_step is None:
        return False
    return step is not None and step > start.from_step


def failed_to_prepare(
    failure: Exception | StopReason, attempt: AttemptDir | None, *, now: float
) -> AttemptResult:
    """The end of an attempt whose trainer was never started."""
    category, exit_code = _attribute_failure(failure)
    certain = category is not Category.UNKNOWN
    attribution = Attribution(
        category=category,
        rule="supervisor.prepare",
        confidence=Confidence.CERTAIN if certain else Confidence.GUESS,
    )
    end = AttemptEnd(
        attempt=-1 if attempt is None else attempt.number,
        at=now,
        category=category.value,
        rule=attribution.rule,
        reason=f"the trainer was not started: {_describe(failure)}",
        confidence=attribution.confidence.value,
        exit_code=exit_code,
        progress=False,
        recoverable=recoverable(category),
    )
    return AttemptResult(
        exit_code=exit_code,
        stop=failure if isinstance(failure, StopReason) else None,
        attempt=attempt,
        start=None,
        end=end,
        attribution=attribution,
    )


def _describe(failure: Exception | StopReason) -> str:
    if isinstance(failure, StopReason):
        return failure.value
    return f"{failure}" if isinstance(failure, CsxError | OSError) else repr(failure)


def _attribute_failure(failure: Exception | StopReason) -> tuple[Category, int]:
    match failure:
        case StopReason.TIME_LIMIT:
            return Category.TIMEOUT, EXIT_TERMINATED
        case StopReason():
            return Category.UNKNOWN, EXIT_TERMINATED
        case OSError() if failure.errno in _NO_SPACE:
            return Category.STORAGE_FULL, EXIT_IO_ERROR
        case OSError():
            return Category.STORAGE_IO, EXIT_IO_ERROR
        case CsxError():
            # The plan, the config or the checkpoint it names: a person has to act.
            return Category.CONFIG, failure.exit_code
        case _:
            return Category.UNKNOWN, EXIT_INTERNAL
