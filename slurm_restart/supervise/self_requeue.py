"""Judge the end of an attempt and requeue the job with its owner's rights, where no hook does.

What is asked of Slurm is on record before. After a death at any point the batch script's shell, or
the next attempt's supervisor, asks for the same again, or finds it done.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from slurm_restart.core.attribution import Attribution
from slurm_restart.core.category import Confidence
from slurm_restart.core.decision import Decision
from slurm_restart.core.fit_pending import Observation
from slurm_restart.core.history import replay
from slurm_restart.core.job import Job
from slurm_restart.core.job_comment import CommentRecord, parse_comment
from slurm_restart.core.journal_events import Action, EndEvent, Event, ExcludeEvent
from slurm_restart.core.judge_end import Judgement
from slurm_restart.core.own_end import OwnEnd, is_requeued, judge_own_end
from slurm_restart.core.own_requeue import OwnRequeue, plan_own_requeue
from slurm_restart.core.slurm_operations import START
from slurm_restart.errors import CommentRecordError, SlurmError, SlurmUnavailableError
from slurm_restart.frozen import frozen
from slurm_restart.slurm.format_hostlist import format_hostlist
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.attempt_result import AttemptResult
from slurm_restart.supervise.cluster_view import ClusterView
from slurm_restart.supervise.expected_decision import category_of
from slurm_restart.supervise.run_records import exclude_unhealthy, history_of, site_policy
from slurm_restart.trainer import summary
from slurm_restart.trainer.atomic_file import write_atomic
from slurm_restart.trainer.attempt_records import (
    AttemptEnd,
    AttemptStart,
    RequeueRequest,
    highest_step,
    to_json,
)
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import AttemptDir, RunDir


@frozen
class EndedAttempt:
    """An attempt whose end is to be judged."""

    attempt: AttemptDir
    start: AttemptStart | None
    end: AttemptEnd
    exit_code: int
    """Of the job."""
    by_itself: bool
    """Whether its program had ended before the job was told to end."""
    restarts: int
    """Slurm's restart count while it ran."""
    nodes: tuple[str, ...]
    held: int = 0
    """How many nodes the job has started on, spares included; 0: those of the attempt."""
    put_off: bool = False

    @property
    def named(self) -> tuple[str, ...]:
        """The job's nodes that the evidence names."""
        return tuple(name for name in self.end.blamed_nodes if name in self.nodes)


@frozen
class OwnJudgement:
    """The judgement of an end, and what it was judged by."""

    ended: EndedAttempt
    view: ClusterView
    judgement: Judgement
    event: EndEvent
    exclusions: tuple[Event, ...]

    @property
    def decision(self) -> Decision:
        """What is done."""
        return self.judgement.decision

    @property
    def attribution(self) -> Attribution:
        """Why the attempt ended."""
        return self.judgement.attribution

    def amend(self, result: AttemptResult) -> AttemptResult:
        """Return the result of the attempt, as it was judged by Slurm's facts too."""
        end = self.amended()
        if end.category == result.end.category:
            return replace(result, end=end)
        return replace(result, end=end, attribution=self.attribution)

    def amended(self) -> AttemptEnd:
        """Return the end record, as it was judged by Slurm's facts too."""
        end, found = self.ended.end, self.attribution
        blamed = tuple(blame.node for blame in found.blamed)
        if found.category is category_of(end):
            return replace(end, blamed_nodes=blamed or end.blamed_nodes)
        facts = "; ".join(blame.evidence for blame in found.blamed) or found.category.meaning
        return replace(
            end,
            category=found.category.value,
            rule=found.rule,
            confidence=found.confidence.value,
            blamed_nodes=blamed,
            recoverable=found.recoverable,
            reason=f"{facts}; {end.reason}" if end.reason else facts,
        )


def policy_record(plan: RunPlan, job: Job) -> CommentRecord | None:
    """Return the policy of the run, as people may have changed it in the job's Comment."""
    try:
        record = parse_comment(job.comment)
    except CommentRecordError:
        return plan.comment_record
    return record if record.run == plan.run else plan.comment_record


def judge(
    plan: RunPlan, attempts: Sequence[AttemptDir], ended: EndedAttempt, view: ClusterView
) -> OwnJudgement | None:
    """Judge an end; None: the job does not restart.

    Args:
        plan: the phase.
        attempts: all attempts of the run.
        ended: the last one.
        view: what Slurm shows now.

    Raises:
        OSError: the records cannot be read.
    """
    record = policy_record(plan, view.job)
    if record is None:
        return None
    before = [entry for entry in attempts if entry.number < ended.attempt.number]
    found = judge_own_end(
        OwnEnd(
            attempt=ended.attempt.number,
            restarts=ended.restarts,
            nodes=ended.nodes,
            exit_code=ended.exit_code,
            by_itself=ended.by_itself,
            report=_report(record, ended),
            named=ended.named,
        ),
        view.job,
        view.nodes,
        history_of(plan, before, view.job.job_id),
        site=site_policy(plan),
        now=int(time.time()),
    )
    event = next(entry for entry in found.events if isinstance(entry, EndEvent))
    exclusions = tuple(entry for entry in found.events if isinstance(entry, ExcludeEvent))
    return OwnJudgement(
        ended=ended,
        view=view,
        judgement=found,
        event=event,
        exclusions=(*exclude_unhealthy(plan, ended.start), *exclusions),
    )


def _report(record: CommentRecord, ended: EndedAttempt) -> CommentRecord:
    """Return the comment record with the report of the end."""
    start, end = ended.start, ended.end
    return replace(
        record,
        restarts=ended.restarts,
        earlier=start is not None and start.earlier,
        from_step=None if start is None else start.to_exceed,
        step=highest_step(start, end.step),
        exit=ended.exit_code,
        cause=category_of(end),
        rule=end.rule,
        root=end.root,
        likely=end.confidence == Confidence.LIKELY.value,
        put_off=ended.put_off,
        nodes=None,
        said=None,
    )


@frozen
class SelfRequeue:
    """Carries out a judgement.

    Args:
        plan: the phase.
        run_dir: its directory.
        slurm: returns the cluster.
        log: called with what was asked for.
    """

    plan: RunPlan
    run_dir: RunDir
    slurm: Callable[[], Slurm]
    log: Callable[[str], None]

    def carry_out(self, judged: OwnJudgement) -> bool:
        """Do what was decided; return whether Slurm is known to have accepted it.

        Raises:
            OSError: the request cannot be put on record.
            SlurmError: Slurm refuses the requeue.
        """
        if judged.decision.action is Action.CANCEL:
            self.slurm().cancel(judged.view.job.name)
            self.log("cancelled, as Slurm had requeued the job")
            return True
        if not judged.decision.action.restarts:
            return True
        if self._has_begun_anew(judged):
            self.log("nothing is asked of Slurm: a later start of the job has begun")
            return True
        asked = self._plan(judged)
        file = judged.ended.attempt.requeue_file
        request = _request(asked, judged.ended.attempt)
        write_atomic(file, to_json(request))
        if not asked.requeued:
            self.slurm().requeue(judged.view.job.name)
        done = self._update(judged.view.job, asked)
        write_atomic(file, to_json(replace(request, done=done)))
        summary.write(self.plan, self.run_dir, at=time.time())
        return done is True

    def _has_begun_anew(self, judged: OwnJudgement) -> bool:
        """Whether the job runs again: a smaller size would take nodes from that attempt."""
        if not is_requeued(judged.view.job, judged.ended.restarts):
            return False
        try:
            return self.slurm().job(judged.view.job.job_id).running
        except SlurmError:
            return False

    def _plan(self, judged: OwnJudgement) -> OwnRequeue:
        view, record = judged.view, policy_record(self.plan, judged.view.job)
        assert record is not None  # noqa: S101 - the end was judged by it
        before = [
            entry for entry in self.run_dir.attempts() if entry.number < judged.ended.attempt.number
        ]
        earlier = history_of(self.plan, before, view.job.job_id)
        history = replay((judged.event, *judged.exclusions), earlier)
        seen = Observation(
            job=view.job,
            comment_record=record,
            nodes=view.nodes,
            reserved=view.reserved,
            cluster=view.cluster,
            site=site_policy(self.plan),
            now=time.time(),
            partitions=view.partitions,
        )
        requeued = is_requeued(view.job, judged.ended.restarts)
        held = judged.ended.held or len(judged.ended.nodes)
        return plan_own_requeue(seen, history, judged.event, requeued=requeued, held=held)

    def _update(self, job: Job, asked: OwnRequeue) -> bool | None:
        """Write all fields with one request; where Slurm refuses it, each part alone.

        Returns:
            Whether Slurm has accepted all of them; None: it is not known.
        """
        nodes = asked.job_update.exc_nodes
        operations = asked.operations(format_hostlist(nodes) if nodes else "")
        whole = {name: value for each in operations for name, value in each.fields}
        if self._ask(job, whole):
            return True
        parts = [self._ask(job, dict(each.fields)) for each in operations]
        return None if None in parts else all(parts)

    def _ask(self, job: Job, fields: Mapping[str, str]) -> bool | None:
        """Ask for one update; return whether Slurm has accepted it, None if that is not known."""
        try:
            self.slurm().update(job.name, fields)
        except SlurmUnavailableError as error:
            # slurmctld may have received it, and may carry it out.
            self.log(f"not known whether Slurm has accepted: {_format_fields(fields)}: {error}")
            return None
        except SlurmError as error:
            self.log(f"refused by Slurm: {_format_fields(fields)}: {error}")
            return False
        self.log(f"requeued: {_format_fields(fields)}")
        return True


def _request(asked: OwnRequeue, attempt: AttemptDir) -> RequeueRequest:
    earlier = attempt.requeue()
    return RequeueRequest(
        at=time.time() if earlier is None else earlier.at,
        requeued=asked.requeued,
        exc_nodes=asked.job_update.own_nodes,
        num_nodes=asked.job_update.num_nodes,
        start_time=asked.job_update.start_time,
    )


def _format_fields(fields: Mapping[str, str]) -> str:
    named = (f"{name}={value}" for name, value in fields.items() if value or name != START)
    return " ".join(named)
