"""Check the nodes of a job before its program is started there."""

import errno
import json
import re
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict

from slurm_restart.core.category import Category
from slurm_restart.core.node_answers import (
    HealthResult,
    HealthState,
    NodeAnswer,
    is_due,
    judge_answers,
)
from slurm_restart.core.printable import escape_controls
from slurm_restart.errors import ConfigError, CsxError, SlurmError
from slurm_restart.frozen import frozen
from slurm_restart.slurm.format_hostlist import format_hostlist
from slurm_restart.slurm.interface import Slurm
from slurm_restart.slurm.process import Completed
from slurm_restart.supervise.child_process import ROOT
from slurm_restart.supervise.expected_decision import category_of
from slurm_restart.supervise.health_request import MAX_TEXT, ProbeRequest, one_line
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import AttemptDir, RunDir

RULE = "supervisor.health_check"
LAUNCH_TIME = 30.0
"""Seconds beside the check's own deadline that srun has to start it and to collect the answers."""
_ENDED_BY_US = re.compile(r"tasks? [\d,-]+: (?:Killed|Terminated)\b")
"""What srun says of a task that it has ended on our TERM."""
_BACKLOG = 4096
_CODE = """
import sys
sys.path.append(sys.argv.pop(1))
from slurm_restart.supervise.health_probe import main
main()
"""


class NodesError(CsxError):
    """The nodes are such that the attempt ends before its program is started.

    Args:
        category: why. HEALTH_CHECK and NODE_DRAINED are not counted.
        found: what was found, by node.
    """

    exit_code = 75

    def __init__(self, category: Category, found: Mapping[str, str]) -> None:
        self.category, self.found = category, dict(found)
        super().__init__("; ".join(f"{node}: {text}" for node, text in self.found.items()))

    @property
    def left(self) -> dict[str, str]:
        """The nodes that the next attempt is to avoid, with what was found there."""
        return {} if self.category is Category.NETWORK_FABRIC else self.found


def check_time(plan: RunPlan) -> float:
    """Return how many seconds the check of a run's nodes may take, with all that belongs to it."""
    return plan.health_check.timeout + 2 * LAUNCH_TIME if plan.health_check.is_given else 0.0


@frozen
class DueCheck:
    """A check that is due."""

    plan: RunPlan
    run_dir: RunDir
    left_before: bool
    """The attempt before ended because nodes failed the check."""


def due_check(
    plan: RunPlan, run_dir: RunDir, attempt: AttemptDir, job: JobEnvironment
) -> DueCheck | None:
    """Return the check of an attempt's nodes; None: it is not due, or this is no job.

    Raises:
        OSError: the records of earlier attempts cannot be listed.
    """
    if not plan.health_check.is_given or job.job_id is None or not job.nodes:
        return None
    earlier = [other for other in run_dir.attempts() if other.number < attempt.number]
    end = earlier[-1].end() if earlier else None
    last = None if end is None else category_of(end)
    if not is_due(plan.health_check.when, first=not earlier, last=last):
        return None
    left_before = end is not None and end.rule == RULE
    return DueCheck(plan=plan, run_dir=run_dir, left_before=left_before)


def check_nodes(
    due: DueCheck, job: JobEnvironment, slurm: Slurm, log: Callable[[str], None]
) -> dict[str, str]:
    """Check the nodes of an attempt, and its spares, before its program is started.

    Returns:
        The spares that cannot take the place of a node, with what was found there.

    Args:
        due: the check.
        job: the allocation.
        slurm: the cluster.
        log: called with a line about what could not be checked.

    Raises:
        NodesError: the run goes on without some nodes, or no other node reaches the batch host.
        ConfigError: the check itself is at fault, as it fails on all nodes.
        TimeoutError: no node has answered.
        SlurmError: Slurm cannot start the check.
    """
    result, notes = _ask(due, job, slurm)
    for note, names in notes.items():
        log(f"health check on {format_hostlist(names)}: {note}")
    if not set(result.failed) <= set(job.spares):
        _raise_for(result, due.plan.health_check.timeout)
    return dict(result.failed)


def passes(due: DueCheck, job: JobEnvironment, slurm: Callable[[], Slurm]) -> bool | None:
    """Return whether the check passes on all nodes now; None: Slurm cannot start it."""
    try:
        return not set(job.nodes).intersection(_ask(due, job, slurm())[0].failed)
    except SlurmError:
        return None


def drained_nodes(slurm: Slurm, names: Sequence[str]) -> dict[str, str]:
    """Return those of the nodes that the site has drained, with its reason.

    Raises:
        SlurmError: Slurm does not answer.
    """
    found = {node.name: node for node in slurm.nodes_named(names) if node.drained}
    return {
        name: escape_controls(f"drained: {found[name].reason or 'no reason given'}")[:MAX_TEXT]
        for name in names
        if name in found
    }


def _ask(
    due: DueCheck, job: JobEnvironment, slurm: Slurm
) -> tuple[HealthResult, dict[str, list[str]]]:
    """Return the result, and what could not be checked, with the nodes."""
    check, names = due.plan.health_check, (*job.nodes, *job.spares)
    with _listener("network" in check.checks) as port:
        request = ProbeRequest(
            checks=check.checks,
            command=check.command,
            work_dir=due.plan.work_dir,
            run_dir=str(due.run_dir.path),
            timeout=check.timeout,
            host=socket.gethostname(),
            port=port,
        )
        command = [sys.executable, "-I", "-c", _CODE, ROOT, json.dumps(asdict(request))]
        done = slurm.check_nodes(
            job.job_id or 0, names, command, timeout=check.timeout + LAUNCH_TIME
        )
    answers = read_answers(done.stdout)
    if not answers and done.code > 0:
        raise SlurmError(f"srun: {one_line(done.stderr)} (exit code {done.code})")
    result = judge_answers(
        names,
        answers,
        silent={node: _silence(node, done, check.timeout) for node in names},
        batch_host=job.node_name,
        left_before=due.left_before,
    )
    notes: dict[str, list[str]] = {}
    for node, answer in answers.items():
        for note in answer.notes:
            notes.setdefault(note, []).append(node)
    return result, notes


def read_answers(output: str) -> dict[str, NodeAnswer]:
    """Return the answers in srun's output, by node; other lines are left out."""
    answers = {}
    for line in output.splitlines():
        with suppress(ValueError, TypeError, AttributeError, LookupError):
            values = json.loads(line)
            node = values.pop("node")
            answers[node] = NodeAnswer(**values | {"notes": tuple(values["notes"])})
    return answers


def _silence(node: str, done: Completed, timeout: float) -> str:
    """Return what to say of a node that has not answered: srun's line about it, if there is one."""
    about = [
        line
        for line in done.stderr.splitlines()
        if node in re.split(r"[^\w.-]+", line) and not (done.code < 0 and _ENDED_BY_US.search(line))
    ]
    return one_line("\n".join(about)) if about else f"no answer within {timeout:g} s"


@contextmanager
def _listener(wanted: bool) -> Iterator[int]:  # noqa: FBT001 - private
    """Listen at a port while the nodes are checked; the kernel answers. 0: nothing listens."""
    if not wanted:
        yield 0
        return
    try:
        server = socket.create_server(("", 0), backlog=_BACKLOG)
    except OSError:
        yield 0
        return
    with server:
        yield server.getsockname()[1]


def _raise_for(result: HealthResult, timeout: float) -> None:
    failed = result.failed
    if not failed:
        return
    where = format_hostlist(tuple(failed))
    example = next(iter(failed.values()))
    match result.state:
        case HealthState.LEAVE:
            raise NodesError(Category.HEALTH_CHECK, failed)
        case HealthState.NOT_RUN:
            text = f"the command cannot be run on {where}: {example}"
            raise ConfigError("health_check", [f"health_check: {text}; no node is excluded"])
        case HealthState.ALL_FAILED:
            text = f"fails on all nodes, {where}, so that no node is to blame: {example}"
            raise ConfigError("health_check", [f"health_check: {text}; no node is excluded"])
        case HealthState.NO_ANSWER:
            text = f"health check: no end within {timeout:g} s on any node"
            raise TimeoutError(errno.ETIMEDOUT, text, where)
        case HealthState.UNREACHABLE:
            raise NodesError(Category.NETWORK_FABRIC, failed)
        case HealthState.HEALTHY:
            return
