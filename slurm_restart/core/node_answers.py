"""Decide when the nodes of a job are checked, and what follows from their answers."""

from collections.abc import Mapping, Sequence
from enum import Enum

from slurm_restart.core.category import Category
from slurm_restart.core.slurm_state import NOT_RUN
from slurm_restart.frozen import frozen


class CheckTime(Enum):
    """Before which attempts the nodes are checked."""

    AUTO = "auto"
    """The first one, and those after failures of hardware or network or without a known cause."""
    ALWAYS = "always"
    NEVER = "never"


_SUSPECTS_NODES = frozenset(
    {
        Category.HARDWARE_ACCELERATOR,
        Category.HARDWARE_NODE,
        Category.NETWORK_FABRIC,
        Category.NETWORK_RENDEZVOUS,
        Category.SOFTWARE_CRASH,
        Category.HANG,
        Category.PROLOG_FAILED,
        Category.HEALTH_CHECK,
        Category.NODE_DRAINED,
        Category.UNKNOWN,
        Category.UNLISTED,
    }
)
"""Categories after which the nodes are checked, also as others may have joined them."""


def is_due(when: CheckTime, *, first: bool, last: Category | None) -> bool:
    """Return whether the nodes are checked before an attempt.

    Args:
        when: the setting.
        first: there was no attempt before.
        last: why the last attempt ended; None: not known.
    """
    match when:
        case CheckTime.ALWAYS:
            return True
        case CheckTime.NEVER:
            return False
        case CheckTime.AUTO:
            return first or last is None or last in _SUSPECTS_NODES


@frozen
class NodeAnswer:
    """What the check of one node has found."""

    failure: str | None
    """One printable line; None: the node is healthy."""
    check: str = ""
    """The check that failed: `command`, or the name of a ready-made one."""
    code: int | None = None
    """Exit code of the command; None: it did not end, or another check failed."""
    notes: tuple[str, ...] = ()
    """What could not be checked."""


class HealthState(Enum):
    """What follows from the answers of all nodes."""

    HEALTHY = "healthy"
    LEAVE = "leave"
    """Some nodes have failed: the run goes on without them."""
    NOT_RUN = "not run"
    """No node could run the command: it is wrong."""
    ALL_FAILED = "all failed"
    """The check fails everywhere, so that it says nothing about a node."""
    NO_ANSWER = "no answer"
    """No node has answered: what they have in common, such as a file system, hangs."""
    UNREACHABLE = "unreachable"
    """No other node reaches the batch host: not known which of them is at fault."""


@frozen
class HealthResult:
    """The state of the nodes, with what was found on each node that failed or did not answer."""

    state: HealthState
    failed: Mapping[str, str]


def judge_answers(
    nodes: Sequence[str],
    answers: Mapping[str, NodeAnswer],
    *,
    silent: Mapping[str, str],
    batch_host: str | None,
    left_before: bool,
) -> HealthResult:
    """Return what follows from the answers of the nodes.

    Of a job on one node nobody can tell whether the node or the check is at fault: the node is
    left once, and if the check fails on the next one too, the check is at fault.

    Args:
        nodes: of the job.
        answers: by node.
        silent: what to say of each node that has not answered.
        batch_host: the node that the others have to reach; None: not known.
        left_before: the attempt before ended because a node failed this check.
    """
    found = {node: answers[node] for node in nodes if node in answers}
    failed = {
        node: answer.failure for node, answer in found.items() if answer.failure is not None
    } | {node: silent[node] for node in nodes if node not in answers}
    state = _state(nodes, [found.get(node) for node in failed], batch_host in failed, left_before)
    return HealthResult(state=state, failed=failed)


def _state(
    nodes: Sequence[str],
    failed: Sequence[NodeAnswer | None],
    batch_host_failed: bool,  # noqa: FBT001 - private
    left_before: bool,  # noqa: FBT001
) -> HealthState:
    if not failed:
        return HealthState.HEALTHY
    if len(failed) == len(nodes):
        return _state_of_all(failed, left_before=left_before)
    unreached = all(answer is not None and answer.check == "network" for answer in failed)
    if unreached and len(failed) == len(nodes) - 1 and not batch_host_failed:
        return HealthState.UNREACHABLE
    return HealthState.LEAVE


def _state_of_all(failed: Sequence[NodeAnswer | None], *, left_before: bool) -> HealthState:
    if all(answer is not None and answer.code in NOT_RUN for answer in failed):
        return HealthState.NOT_RUN
    if len(failed) == 1 and not left_before:
        return HealthState.LEAVE
    if all(answer is None or _is_unfinished(answer) for answer in failed):
        return HealthState.NO_ANSWER
    return HealthState.ALL_FAILED


def _is_unfinished(answer: NodeAnswer) -> bool:
    return answer.code is None and answer.check == "deadline"
