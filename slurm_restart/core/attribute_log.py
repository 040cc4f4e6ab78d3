"""Why a program ended, from its log and whatever is known of its exit."""

from collections.abc import Sequence
from dataclasses import dataclass

from slurm_restart.core.attribution import Attribution, Blame, RootCause
from slurm_restart.core.category import TREATMENTS, Category, Confidence, Nodes, Restart
from slurm_restart.core.finding import Finding, Naming, Role
from slurm_restart.core.job import CRASH_SIGNALS
from slurm_restart.core.root_cause import choose, in_order, is_sure

NOT_RUN = frozenset({126, 127})
"""Exit codes of a shell that found no such command, or could not run it (POSIX, 2.8.2)."""


@dataclass(frozen=True, kw_only=True)
class ExitFacts:
    """What is known of an end besides the log.

    Args:
        state: Slurm's state of the job, in its spelling; None where there was no Slurm.
        exit_code: None where it is not known.
        signal: the signal that ended the job, or 0.
        nodes: those of the job; empty: not known.
        down: those that Slurm shows down.
    """

    state: str | None = None
    exit_code: int | None = None
    signal: int = 0
    nodes: tuple[str, ...] = ()
    down: tuple[str, ...] = ()

    @property
    def crashed(self) -> bool:
        """Whether a signal that a program brings upon itself ended it."""
        return self.signal in CRASH_SIGNALS or (self.exit_code or 0) - 128 in CRASH_SIGNALS


_BY_STATE = {
    "COMPLETED": Category.COMPLETED,
    "CANCELLED": Category.CANCELLED,
    "DEADLINE": Category.DEADLINE,
    "TIMEOUT": Category.TIMEOUT,
    "PREEMPTED": Category.PREEMPTION,
    "REQUEUED": Category.PREEMPTION,
    "REQUEUE_HOLD": Category.HELD,
    "OUT_OF_MEMORY": Category.OOM_HOST,
    "NODE_FAIL": Category.HARDWARE_NODE,
    "BOOT_FAIL": Category.HARDWARE_NODE,
}
_HARDWARE = frozenset({Category.HARDWARE_NODE, Category.HARDWARE_ACCELERATOR})
_ORDERS = frozenset({Category.TIMEOUT, Category.CANCELLED, Category.PREEMPTION})
"""What somebody else does to a job."""
_LATE = frozenset({Category.TIMEOUT, Category.CANCELLED})
"""What ends a job that hangs as well as one that runs."""


def attribute_log(facts: ExitFacts, findings: Sequence[Finding]) -> Attribution:
    """Judge one end.

    Slurm's state stands above the text, except where a fatal error came first and the program did
    not get any further; exit status 0 is completed whatever the text says.
    """
    judged = _by_state(facts, findings) or _by_text(facts, findings)
    root = judged.root
    blamed, reported = _names(judged, facts, findings)
    return Attribution(
        category=judged.category,
        rule=judged.rule,
        confidence=judged.confidence,
        blamed=blamed,
        reported=reported,
        root_cause=None
        if root is None
        else RootCause(line=root.line, text=root.text, file=root.file or None),
        secondary=tuple(one for one in in_order(findings) if root is None or one.line != root.line),
    )


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """What it was, and what says so."""

    category: Category
    rule: str
    confidence: Confidence
    root: Finding | None = None


def _by_state(facts: ExitFacts, findings: Sequence[Finding]) -> _Judged | None:
    """What Slurm's state says, where it says why."""
    category = _BY_STATE.get(facts.state or "")
    if facts.state is None and (facts.exit_code, facts.signal) == (0, 0):
        return _Judged(category=Category.COMPLETED, rule="exit.zero", confidence=Confidence.CERTAIN)
    if category is None:
        return None
    error = _before(category, findings) if category in _LATE else None
    if error is not None:
        return _of(error)
    line = _said(category, findings)
    if category is Category.HARDWARE_NODE and line is not None:
        category = line.category
    return _Judged(
        category=category,
        rule=f"slurm.{(facts.state or '').lower()}",
        confidence=Confidence.CERTAIN,
        root=line,
    )


def _before(category: Category, findings: Sequence[Finding]) -> Finding | None:
    """The error that had stopped the program before Slurm did, if there is one."""
    error = choose(findings)
    if error is None or not is_sure(error) or error.went_on or error.category in _ORDERS:
        return None
    if error.category is Category.DEPENDENCY_SERVICE:
        # A tracker or a hub may fail and training go on.
        return None
    known = in_order(findings)
    ends = [n for n, one in enumerate(known) if one.category is category]
    return error if not ends or known.index(error) < ends[0] else None


def _said(category: Category, findings: Sequence[Finding]) -> Finding | None:
    """The line that says what Slurm's state says."""
    if category is Category.COMPLETED:
        return None
    wanted = _HARDWARE if category is Category.HARDWARE_NODE else {category}
    lines = [
        one
        for one in in_order(findings)
        if one.category in wanted and one.role in (Role.ROOT, Role.CASCADE)
    ]
    # Slurm gives up a node whose accelerator has failed, too.
    last = Category.HARDWARE_NODE
    return min(
        lines, key=lambda one: (not is_sure(one), one.category is last, not one.nodes), default=None
    )


def _of(finding: Finding) -> _Judged:
    return _Judged(
        category=finding.category,
        rule=finding.rule,
        confidence=finding.confidence,
        root=finding,
    )


def _by_text(facts: ExitFacts, findings: Sequence[Finding]) -> _Judged:
    """What the log says, and the exit status where the log knows nothing."""
    root = choose(findings)
    if root is not None and root.role is Role.ROOT and root.confidence is not Confidence.GUESS:
        return _of(root)
    if facts.crashed:
        return _Judged(
            category=Category.SOFTWARE_CRASH,
            rule="signal.crash",
            confidence=Confidence.LIKELY,
            root=root,
        )
    if facts.exit_code in NOT_RUN:
        return _Judged(
            category=Category.CONFIG, rule="exit.not_run", confidence=Confidence.LIKELY, root=root
        )
    if root is None:
        known = bool(facts.exit_code or facts.signal)
        rule = "exit.nonzero" if known or facts.state else "nothing.known"
        return _Judged(category=Category.UNKNOWN, rule=rule, confidence=Confidence.GUESS)
    # A guess never stops a run.
    fatal = TREATMENTS[root.category].restart is Restart.NO
    return _Judged(
        category=Category.UNKNOWN if fatal else root.category,
        rule=root.rule,
        confidence=Confidence.GUESS,
        root=root,
    )


def _names(
    judged: _Judged, facts: ExitFacts, findings: Sequence[Finding]
) -> tuple[tuple[Blame, ...], tuple[str, ...]]:
    """(nodes that evidence names, other names that the evidence gives)."""
    if TREATMENTS[judged.category].nodes is Nodes.NONE or judged.confidence is Confidence.GUESS:
        return (), ()
    alike = _HARDWARE if judged.category in _HARDWARE else {judged.category}
    evidence = [one for one in in_order(findings) if is_sure(one) and one.category in alike]
    hosts = _hosts(findings)
    named = [
        (one, Blame(node=name, evidence=one.text))
        for one in evidence
        if _names_a_culprit(one, facts, hosts)
        for name in one.nodes
    ]
    if not named and judged.category in _HARDWARE and judged.root is not None:
        named = _only_host(judged.root, hosts)
    blamed: dict[str, Blame] = {}
    reported: dict[str, None] = {}
    for one, blame in named:
        if one.naming is Naming.SYSTEM or (facts.nodes and blame.node not in facts.nodes):
            reported[blame.node] = None
        else:
            blamed.setdefault(blame.node, blame)
    return tuple(blamed.values()), tuple(reported)


def _hosts(findings: Sequence[Finding]) -> dict[str, Finding]:
    """Where processes ended of themselves, each with the line that says so; deaths first."""
    hosts: dict[str, Finding] = {}
    for one in sorted(findings, key=lambda one: one.role is not Role.ROOT):
        if one.naming is Naming.HOST:
            for name in one.nodes:
                hosts.setdefault(name, one)
    return hosts


def _only_host(root: Finding, hosts: dict[str, Finding]) -> list[tuple[Finding, Blame]]:
    """The node on which a faulty device must be, as processes died nowhere else."""
    if len(hosts) != 1:
        return []
    [(name, death)] = hosts.items()
    if death is root or death.role is not Role.ROOT:
        return []
    return [(death, Blame(node=name, evidence=f"{root.text}; {death.text}"))]


def _names_a_culprit(one: Finding, facts: ExitFacts, hosts: dict[str, Finding]) -> bool:
    if one.naming is Naming.PEER:
        died = {name for name, death in hosts.items() if death.role is Role.ROOT}
        return any(name in facts.down or name in died for name in one.nodes)
    return one.naming is not Naming.HOST
