"""The result of an attempt: its end record, its self-report and the exit code of the job."""

import errno
import re
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from slurm_restart.core.attribution import Attribution, Blame
from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.count_in_place import count_in_place
from slurm_restart.core.hostlist import expand
from slurm_restart.core.in_place_ends import InPlaceEnds
from slurm_restart.core.job_comment import MAX_HOSTLIST, MAX_NAMED, in_place_fields
from slurm_restart.core.journal_events import EndEvent
from slurm_restart.core.nan_flow import NOT_FOUND
from slurm_restart.core.ran_before import RunSoFar, doubted
from slurm_restart.errors import CsxError
from slurm_restart.frozen import frozen
from slurm_restart.slurm.format_hostlist import format_hostlist
from slurm_restart.supervise.excluded_nodes import RULE as EXCLUDED_RULE
from slurm_restart.supervise.excluded_nodes import ExcludedNodesError
from slurm_restart.supervise.last_look import RULE as LOST_RULE
from slurm_restart.supervise.last_look import LostNodesError
from slurm_restart.supervise.node_health import RULE as HEALTH_RULE
from slurm_restart.supervise.node_health import NodesError
from slurm_restart.supervise.prepare_attempt import PreparedAttempt
from slurm_restart.supervise.run_over import RULE as RUN_OVER_RULE
from slurm_restart.supervise.run_over import RunOverError
from slurm_restart.supervise.trainer_end import (
    StopReason,
    TrainerEnd,
    attribute_trainer_end,
    cause_of_stop,
    explain,
    fingerprint,
)
from slurm_restart.trainer.attempt_records import (
    AttemptEnd,
    AttemptStart,
    RootCauseLine,
    highest_step,
)
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import AttemptDir

EXIT_IO_ERROR = 74
EXIT_TERMINATED = 128 + 15
EXIT_INTERNAL = 70
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_MAX_SAID = 80
_NOT_IN_COMMENT = re.compile(r"[^A-Za-z0-9_.,:/+%()-]+", re.ASCII)
_RULE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


@frozen
class AttemptResult:
    """How an attempt ended, for the records, the job's Comment and Slurm."""

    exit_code: int
    """Exit code of the job."""
    stop: StopReason | None
    attempt: AttemptDir | None
    start: AttemptStart | None
    end: AttemptEnd
    attribution: Attribution
    in_place: tuple[EndEvent, ...] = ()
    """The ends of earlier attempts in this allocation."""
    unhealthy: Mapping[str, str] = field(default_factory=dict)
    """Nodes of the job that have failed the health check in it, with what was found there."""

    @property
    def in_place_ends(self) -> InPlaceEnds:
        """Their counters, as the hook needs them to judge this end."""
        return count_in_place(
            self.in_place,
            cause=self.attribution.category,
            root=self.end.root,
            step=self._reached,
        )

    @property
    def is_final(self) -> bool:
        """Whether a restart cannot help: if this report is lost, the hook may restart the job."""
        category = self.attribution.category
        return category is not Category.COMPLETED and not category.recoverable

    @property
    def _reached(self) -> int | None:
        """The highest step of the run: the attempt may have started before it."""
        return highest_step(self.start, self.end.step)

    @property
    def self_report(self) -> Mapping[str, Any]:
        """Values for the supervisor's fields of the comment record."""
        end, attribution = self.end, self.attribution
        nodes = _named(attribution)
        return {
            "ended": True,
            "exit": self.exit_code,
            "cause": attribution.category,
            "rule": attribution.rule if _RULE.fullmatch(attribution.rule) else None,
            "root": end.root,
            "likely": attribution.confidence is Confidence.LIKELY,
            "put_off": attribution.put_off,
            "nodes": nodes or None,
            **_evidence(attribution, nodes),
            **({} if (step := self._reached) is None else {"step": step}),
            **({} if self.start is None else in_place_fields(self.in_place_ends)),
        }


def _named(attribution: Attribution) -> str:
    """Return the hostlist for the comment record; empty: no node is named, or too many are.

    Of nodes that failed the health check it is as many as possible: others fail it again.
    """
    names = attribution.names
    if attribution.category is not Category.HEALTH_CHECK:
        nodes = format_hostlist(names) if names else ""
        return nodes if len(nodes) <= MAX_HOSTLIST else ""
    for count in range(min(len(names), MAX_NAMED), 0, -1):
        nodes = format_hostlist(tuple(names[:count]))
        if len(nodes) <= MAX_HOSTLIST:
            return nodes
    return ""


def _evidence(attribution: Attribution, nodes: str) -> dict[str, str | None]:
    """Return what the health check found on the nodes that are named.

    Otherwise the record keeps what was found on nodes that the attempt has not used.
    """
    if attribution.category is not Category.HEALTH_CHECK:
        return {}
    return {"said": said_of(nodes, {blame.node: blame.evidence for blame in attribution.blamed})}


def said_of(nodes: str | None, found: Mapping[str, str]) -> str | None:
    """Return what was found on the first of some nodes, in the comment record's form.

    Args:
        nodes: a hostlist of the comment record.
        found: what was found, by node; None is returned if nothing was found on that one.
    """
    text = found.get(expand(nodes)[0], "") if nodes else ""
    return _NOT_IN_COMMENT.sub("_", text)[:_MAX_SAID] or None


def attempt_result(
    plan: RunPlan,
    prepared: PreparedAttempt,
    trainer_end: TrainerEnd,
    *,
    step: int | None,
    now: float,
    job_ids: Mapping[str, Sequence[str]] | None = None,
) -> AttemptResult:
    """Return the result of an attempt whose trainer was started.

    Args:
        plan: the phase.
        prepared: the attempt.
        trainer_end: how its trainer ended.
        step: step of the newest complete checkpoint of the run; None: there is none.
        now: epoch seconds.
        job_ids: ids of the CSX cluster's jobs, by `compile` and `execute`.
    """
    start, attribution = prepared.start, attribute_trainer_end(trainer_end)
    cause, ids = attribution.root_cause, job_ids or {}
    root = None if cause is None else fingerprint(cause.text)
    progress = _made_progress(plan, start, step)
    so_far = RunSoFar(
        ends=prepared.ends,
        step=highest_step(start, step),
        made=progress,
        nodes=start.nodes,
    )
    attribution = doubted(attribution, so_far)
    if prepared.unexplained_nan and attribution.category is Category.HANG and not progress:
        # The check finds nothing: what has to be judged is the NaN itself, which repeats.
        attribution = replace(
            attribution,
            category=Category.NUMERIC_NAN,
            rule=NOT_FOUND,
            confidence=Confidence.CERTAIN,
        )
        root = prepared.unexplained_nan
    end = AttemptEnd(
        attempt=start.attempt,
        at=now,
        category=attribution.category.value,
        rule=attribution.rule,
        reason=explain(trainer_end, attribution),
        confidence=attribution.confidence.value,
        exit_code=trainer_end.exit_code,
        signal=trainer_end.signal,
        root_cause=None
        if cause is None
        else RootCauseLine(line=cause.line, text=cause.text, file=str(prepared.attempt.output)),
        root=root,
        blamed_nodes=attribution.names,
        step=step,
        progress=progress,
        recoverable=attribution.recoverable,
        stuck=() if trainer_end.hang is None else trainer_end.hang.lines,
        compile_job_ids=tuple(ids.get("compile", ())),
        execute_job_ids=tuple(ids.get("execute", ())),
    )
    return AttemptResult(
        exit_code=trainer_end.job_exit_code,
        stop=trainer_end.stop,
        attempt=prepared.attempt,
        start=start,
        end=end,
        attribution=attribution,
        in_place=prepared.in_place,
        unhealthy=prepared.unhealthy,
    )


def _made_progress(plan: RunPlan, start: AttemptStart, step: int | None) -> bool:
    if plan.mode.is_evaluation or start.to_exceed is None:
        return False
    return step is not None and step > start.to_exceed


def preparation_failure(
    failure: Exception | StopReason, attempt: AttemptDir | None, *, now: float
) -> AttemptResult:
    """Return the result of an attempt whose trainer was not started.

    Args:
        failure: what prevented the start.
        attempt: its directory; None: it was not created.
        now: epoch seconds.
    """
    category, exit_code = _attribute_failure(failure)
    certain = category is not Category.UNKNOWN
    left = failure.left if isinstance(failure, NodesError) else {}
    attribution = Attribution(
        category=category,
        rule=_failure_rule(failure),
        confidence=Confidence.CERTAIN if certain else Confidence.GUESS,
        blamed=tuple(Blame(node=node, evidence=text) for node, text in left.items()),
    )
    end = AttemptEnd(
        attempt=-1 if attempt is None else attempt.number,
        at=now,
        category=category.value,
        rule=attribution.rule,
        reason=f"the program was not started: {_format_failure(failure)}",
        confidence=attribution.confidence.value,
        exit_code=exit_code,
        blamed_nodes=attribution.names,
        progress=False,
        recoverable=category.recoverable,
    )
    return AttemptResult(
        exit_code=exit_code,
        stop=failure if isinstance(failure, StopReason) else None,
        attempt=attempt,
        start=None,
        end=end,
        attribution=attribution,
    )


def _failure_rule(failure: Exception | StopReason) -> str:
    match failure:
        case ExcludedNodesError():
            return EXCLUDED_RULE
        case LostNodesError():
            return LOST_RULE
        case NodesError() if failure.left:
            return HEALTH_RULE
        case RunOverError():
            return RUN_OVER_RULE
        case _:
            return "supervisor.prepare"


def _format_failure(failure: Exception | StopReason) -> str:
    if isinstance(failure, StopReason):
        return failure.value
    return f"{failure}" if isinstance(failure, CsxError | OSError) else repr(failure)


def _attribute_failure(failure: Exception | StopReason) -> tuple[Category, int]:
    match failure:
        case StopReason():
            return cause_of_stop(failure)[0], EXIT_TERMINATED
        case OSError() if failure.errno in _NO_SPACE:
            return Category.STORAGE_FULL, EXIT_IO_ERROR
        case OSError():
            return Category.STORAGE_IO, EXIT_IO_ERROR
        case NodesError() | RunOverError():
            return failure.category, failure.exit_code
        case CsxError():
            # The plan, the config or the checkpoint that it names: the user must correct it.
            return Category.CONFIG, failure.exit_code
        case _:
            return Category.UNKNOWN, EXIT_INTERNAL
