"""Judge one end and act on it: the same for the hook and for the reconciler's sweep."""

import time
from dataclasses import dataclass

from slurm_restart.control.carry_out import Order, carry_out, order_for
from slurm_restart.control.controller import Controller
from slurm_restart.control.gather import case_for, run_key
from slurm_restart.control.journal import Journal, RunKey, export, open_journal, other_runs
from slurm_restart.control.trace import Trace
from slurm_restart.core.digest import Digest
from slurm_restart.core.history import EndEvent, History, NoteEvent, OutcomeEvent
from slurm_restart.core.job import Job, JobEnd, NodeState
from slurm_restart.core.operations import Operation, Shape, Verb
from slurm_restart.core.verdict import Verdict, judge
from slurm_restart.errors import DigestError, StateError
from slurm_restart.slurm.hostlist import expand


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """An end with the facts around it."""

    end: JobEnd
    job: Job
    digest: Digest
    nodes: tuple[NodeState, ...]
    source: str
    """Who found it: hook or sweep."""

    @property
    def key(self) -> RunKey:
        """What names the run."""
        return run_key(self.end.cluster, self.job, self.digest)


def handle_end(controller: Controller, ended: Ended) -> bool:
    """Judge an end, once, and act; returns whether the job is to run again.

    Raises:
        DigestError: the job has run before under another run id.
        StateError: the journal cannot be used; nothing was done.
    """
    trace = controller.trace(ended.job.job_id)
    with open_journal(controller.site.state_dir, ended.key) as journal:
        if journal.damaged:
            trace(f"{journal.path}: unreadable lines {journal.damaged[:10]} are passed over")
        _refuse_forged(controller, ended, journal)
        history = journal.history
        known = history.end(ended.end.submit_time)
        if known is None:
            restarts = _first_time(controller, ended, journal)
        else:
            restarts = _again(controller, ended, journal, known)
        publish(controller, journal, ended.key)
    return restarts


def publish(controller: Controller, journal: Journal, key: RunKey) -> None:
    """Put the public copy of a journal where the site wants it; a failure is only told."""
    folder = controller.site.export_dir
    if folder is None:
        return
    try:
        export(journal, folder, key)
    except StateError as error:
        controller.trace(key.job_id)(f"no public copy: {error}")


def _refuse_forged(controller: Controller, ended: Ended, journal: Journal) -> None:
    if ended.end.restarts > 0 and not journal.events:
        others = other_runs(controller.site.state_dir, ended.key)
        if others:
            raise DigestError(f"the run id changed from {others[0]} to {ended.digest.run}")


def _verdict(controller: Controller, ended: Ended, history: History) -> Verdict:
    return judge(
        case_for(
            ended.end,
            ended.job,
            ended.digest,
            ended.nodes,
            slurm=controller.slurm,
            history=history,
            site=controller.site,
            now=int(time.time()),
            source=ended.source,
        )
    )


def _tell(trace: Trace, verdict: Verdict) -> None:
    termination, decision = verdict.termination, verdict.decision
    trace(
        f"{termination.category.value} ({termination.rule}) -> {decision.action.value} "
        f"({decision.rule}): {decision.reason}"
    )
    if termination.reported:
        trace(f"named, but no nodes of this job: {', '.join(termination.reported)}")


def _first_time(controller: Controller, ended: Ended, journal: Journal) -> bool:
    trace = controller.trace(ended.job.job_id)
    verdict = _verdict(controller, ended, journal.history)
    _tell(trace, verdict)
    now = int(time.time())
    if controller.site.observe:
        note = NoteEvent(at=now, text="observe mode: nothing was done")
        settled = OutcomeEvent(at=now, submit_time=ended.end.submit_time, done=())
        journal.append(*verdict.events, note, settled)
        return False
    order = order_for(ended.job.job_id, ended.end.submit_time, verdict, now)
    for refused in carry_out(controller.slurm, journal, order, *verdict.events):
        trace(f"refused by Slurm: {refused}")
    return verdict.decision.action.restarts


def _again(controller: Controller, ended: Ended, journal: Journal, known: EndEvent) -> bool:
    """The end is on record: carry out what has no outcome, and nothing twice."""
    history, submit_time = journal.history, ended.end.submit_time
    trace = controller.trace(ended.job.job_id)
    if known is not history.ends[-1] or not known.action.acts or controller.site.observe:
        return False
    if history.settled == submit_time:
        return known.action.restarts
    intended = history.intended
    if intended is not None and intended.submit_time == submit_time:
        trace("found an intent without an outcome: carried out again")
        operations = tuple(Operation.from_text(text) for text in intended.operations)
        order = Order(
            job_id=ended.job.job_id,
            submit_time=submit_time,
            operations=operations,
            shape=_shape_of(operations, known),
        )
        wrong = carry_out(controller.slurm, journal, order)
    else:
        trace("found a verdict without an intent: judged again")
        verdict = _verdict(controller, ended, history.without(submit_time))
        order = order_for(ended.job.job_id, submit_time, verdict, int(time.time()))
        wrong = carry_out(controller.slurm, journal, order, *verdict.events)
    for refused in wrong:
        trace(f"refused by Slurm: {refused}")
    return known.action.restarts


def _shape_of(operations: tuple[Operation, ...], known: EndEvent) -> Shape:
    """The values that journaled operations write."""
    fields = {name: value for operation in operations for name, value in operation.fields}
    number = fields.get("NumNodes", "").partition("-")[0]
    excluded = fields.get("ExcNodeList")
    return Shape(
        exc_nodes=None if excluded is None else expand(excluded),
        num_nodes=int(number) if number.isdecimal() else None,
        start_time=known.start_at,
        held=any(operation.verb is Verb.HOLD for operation in operations) or None,
    )
