"""Put an end into words: the record, the digest's values, and the job's exit code."""

import errno
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.termination import Termination
from slurm_restart.errors import CsxError
from slurm_restart.slurm.hostlist import fold
from slurm_restart.supervise.judge import Ending, Stop, explain, fingerprint, judge, recoverable
from slurm_restart.supervise.prepare import Prepared
from slurm_restart.trainer.plan import RunPlan
from slurm_restart.trainer.records import AttemptEnd, AttemptStart, RootCauseLine
from slurm_restart.trainer.rundir import AttemptDir

EXIT_IO_ERROR = 74
EXIT_TERMINATED = 128 + 15
EXIT_INTERNAL = 70
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_MAX_NODES_TEXT = 160
_RULE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class Conclusion:
    """All that there is to say of an end."""

    exit_code: int
    """Of the job."""
    stop: Stop | None
    attempt: AttemptDir | None
    start: AttemptStart | None
    end: AttemptEnd
    verdict: Termination

    @property
    def is_final(self) -> bool:
        """Whether this word alone keeps the job from being restarted in vain."""
        category = self.verdict.category
        return category is not Category.COMPLETED and not recoverable(category)

    @property
    def word(self) -> Mapping[str, Any]:
        """The digest's values."""
        end, verdict = self.end, self.verdict
        nodes = fold(verdict.names) if verdict.names else ""
        return {
            "ended": True,
            "exit": self.exit_code,
            "cause": verdict.category,
            "rule": verdict.rule if _RULE.fullmatch(verdict.rule) else None,
            "root": end.root,
            "nodes": nodes if 0 < len(nodes) <= _MAX_NODES_TEXT else None,
            **({} if end.step is None else {"step": end.step}),
        }


def conclude(
    plan: RunPlan,
    prepared: Prepared,
    ending: Ending,
    *,
    step: int | None,
    now: float,
    job_ids: Mapping[str, Sequence[str]] | None = None,
) -> Conclusion:
    """The end of an attempt.

    Args:
        plan: the phase.
        prepared: the attempt.
        ending: how its trainer ended.
        step: the newest complete checkpoint of the run; None: there is none.
        now: epoch seconds.
        job_ids: the CSX cluster's jobs, by `compile` and `execute`.
    """
    start, verdict = prepared.start, judge(ending)
    cause, ids = verdict.root_cause, job_ids or {}
    end = AttemptEnd(
        attempt=start.attempt,
        at=now,
        category=verdict.category.value,
        rule=verdict.rule,
        reason=explain(ending, verdict),
        confidence=verdict.confidence.value,
        exit_code=ending.exit_code,
        signal=ending.signal,
        root_cause=None
        if cause is None
        else RootCauseLine(line=cause.line, text=cause.text, file=str(prepared.attempt.output)),
        root=None if cause is None else fingerprint(cause.text),
        blamed_nodes=verdict.names,
        step=step,
        progress=_progress(plan, start, step),
        recoverable=recoverable(verdict.category),
        compile_job_ids=tuple(ids.get("compile", ())),
        execute_job_ids=tuple(ids.get("execute", ())),
    )
    return Conclusion(
        exit_code=ending.job_exit_code,
        stop=ending.stop,
        attempt=prepared.attempt,
        start=start,
        end=end,
        verdict=verdict,
    )


def _progress(plan: RunPlan, start: AttemptStart, step: int | None) -> bool:
    if plan.mode.is_evaluation or start.from_step is None:
        return False
    return step is not None and step > start.from_step


def failed_to_prepare(
    failure: Exception | Stop, attempt: AttemptDir | None, *, now: float
) -> Conclusion:
    """The end of an attempt whose trainer was never started."""
    category, exit_code = _judge_failure(failure)
    certain = category is not Category.UNKNOWN
    verdict = Termination(
        category=category,
        rule="supervisor.prepare",
        confidence=Confidence.CERTAIN if certain else Confidence.GUESS,
    )
    end = AttemptEnd(
        attempt=-1 if attempt is None else attempt.number,
        at=now,
        category=category.value,
        rule=verdict.rule,
        reason=f"the trainer was not started: {_told(failure)}",
        confidence=verdict.confidence.value,
        exit_code=exit_code,
        progress=False,
        recoverable=recoverable(category),
    )
    return Conclusion(
        exit_code=exit_code,
        stop=failure if isinstance(failure, Stop) else None,
        attempt=attempt,
        start=None,
        end=end,
        verdict=verdict,
    )


def _told(failure: Exception | Stop) -> str:
    if isinstance(failure, Stop):
        return failure.value
    return f"{failure}" if isinstance(failure, CsxError | OSError) else repr(failure)


def _judge_failure(failure: Exception | Stop) -> tuple[Category, int]:
    match failure:
        case Stop.TIME_LIMIT:
            return Category.TIMEOUT, EXIT_TERMINATED
        case Stop():
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
