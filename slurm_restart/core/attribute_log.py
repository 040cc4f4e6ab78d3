"""Attribute the end of a program to a cause, from its log and what is known of its exit."""

from collections.abc import Iterable, Sequence
from signal import SIGABRT, SIGKILL, SIGSYS

from slurm_restart.core.attribution import Attribution, Blame, RootCause
from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.checkpoint_in_text import names_broken_part, names_taken_name
from slurm_restart.core.fall_back import NAME_TAKEN
from slurm_restart.core.finding import Finding, Role, Speaker
from slurm_restart.core.first_death import is_outlived
from slurm_restart.core.job import JobFlag, JobState
from slurm_restart.core.log_blame import HARDWARE, blame_nodes
from slurm_restart.core.node_faults import assign_node_faults
from slurm_restart.core.program_start import KnownProgress, with_known_progress
from slurm_restart.core.root_cause import DEATHS, find_root_cause, is_sure, sort_findings
from slurm_restart.core.slurm_state import NONZERO, STATE_CAUSES, Cause, exit_cause
from slurm_restart.core.task_layout import place_tasks
from slurm_restart.frozen import frozen

HANG_SECONDS = 3600.0
"""Seconds without output before the time limit that count as a hang.

Longer than any training step or checkpoint takes.
"""

_EXIT_ZERO = Cause("exit.zero", Category.COMPLETED, Confidence.CERTAIN)
_NO_OUTPUT = Cause("log.no_output", Category.HANG, Confidence.LIKELY)
_NODE_DOWN = Cause("slurm.node_down", Category.HARDWARE_NODE, Confidence.LIKELY)
_NOTHING_KNOWN = Cause("nothing.known", Category.UNKNOWN, Confidence.GUESS)
_IN_CHECKPOINT = Cause("checkpoint.named", Category.CHECKPOINT_CORRUPT, Confidence.LIKELY)
_NAME_TAKEN = Cause(NAME_TAKEN, Category.UNKNOWN, Confidence.GUESS)
_MAY_BE_CHECKPOINT = frozenset(category for category in Category if category.suspects_checkpoint)
_BY_SIGNAL = 128
"""A shell's exit code for the end of a program by a signal, less its number."""
_EXTERNAL = frozenset(
    {Category.TIMEOUT, Category.CANCELLED, Category.PREEMPTION, Category.REQUEUED}
)
"""Ends that are imposed on a program from outside."""
_ALSO_ENDS_HUNG_JOBS = frozenset({Category.TIMEOUT, Category.CANCELLED, Category.REQUEUED})
"""Ends imposed on a program that hangs after an error as well as on one that runs."""
_MISTAKES = frozenset({Category.COMPILE, Category.CONFIG, Category.CODE})
_STOPS = _MISTAKES | {Category.AUTH, Category.STORAGE_FULL, Category.DEVICE_OOM}
"""Causes that stop a run, as far as a log can show them."""
_IN_LOG: dict[Category, frozenset[Category]] = {
    Category.COMPLETED: frozenset(),
    Category.HARDWARE_NODE: HARDWARE,
    Category.REQUEUED: frozenset({Category.PREEMPTION}),
}
"""Categories of the lines that confirm, and may refine, Slurm's state; others: the same one."""


@frozen
class ExitFacts:
    """What is known of an end besides the log.

    Args:
        state: Slurm's base state or state flag of the job; None where there was no Slurm.
        exit_code: None where it is not known.
        signal: the signal that ended the job, or 0.
        nodes: those of the job; empty: not known.
        down: those that Slurm shows down.
        seconds_without_output: time between the last output and the end; 0: not known.
        checkpoint: absolute path of the one that the program started from; None: none.
        layout: the node of each task of the job, see `task_layout`; empty: not known.
        progress: how far the program got.
    """

    state: JobState | JobFlag | None = None
    exit_code: int | None = None
    signal: int = 0
    nodes: tuple[str, ...] = ()
    down: tuple[str, ...] = ()
    seconds_without_output: float = 0.0
    checkpoint: str | None = None
    layout: tuple[str, ...] = ()
    progress: KnownProgress = KnownProgress()


def attribute_log(facts: ExitFacts, findings: Iterable[Finding]) -> Attribution:
    """Attribute one end.

    Slurm's state stands above the text, except where a fatal error came first and the program made
    no progress after it. Exit status 0 is completed whatever the text says.
    """
    placed = place_tasks(with_known_progress(findings, facts.progress), facts.layout)
    ordered = sort_findings(assign_node_faults(placed))
    candidate = find_root_cause(ordered)
    if candidate is not None and _was_killed_later(facts, ordered, candidate):
        candidate = None
    by_state = _attribute_by_state(facts, ordered, candidate)
    cause, root = by_state or _attribute_by_text(facts, candidate)
    if facts.down and cause.category in _STOPS and cause.confidence is not Confidence.CERTAIN:
        # The text is only likely to be right, and Slurm knows.
        return _node_down(facts.down, ordered)
    cause = _cause_with_checkpoint(facts, cause, root)
    put_off = root is not None and _is_put_off(cause, root)
    if put_off:
        cause = Cause(cause.rule, Category.UNKNOWN, Confidence.GUESS)
    blamed, reported = (
        ((), ())
        if cause.confidence is Confidence.GUESS
        else blame_nodes(cause.category, root, ordered, job_nodes=facts.nodes, down=facts.down)
    )
    return Attribution(
        category=cause.category,
        rule=cause.rule,
        confidence=cause.confidence,
        blamed=blamed,
        reported=reported,
        put_off=put_off,
        root_cause=None
        if root is None
        else RootCause(line=root.line, text=root.text, file=root.file or None),
        secondary=tuple(
            finding
            for finding in ordered
            if finding.role is not Role.MESSAGE
            if root is None or not _same_line(finding, root)
        ),
    )


def _was_killed_later(facts: ExitFacts, ordered: Sequence[Finding], candidate: Finding) -> bool:
    """Return whether the program went on after an error, and KILL has ended it then."""
    if candidate.role is not Role.ROOT or candidate.category in DEATHS:
        return False
    killed = SIGKILL in (facts.signal, (facts.exit_code or 0) - _BY_SIGNAL)
    return killed and is_outlived(candidate, ordered)


def _node_down(down: Sequence[str], ordered: Sequence[Finding]) -> Attribution:
    return Attribution(
        category=_NODE_DOWN.category,
        rule=_NODE_DOWN.rule,
        confidence=_NODE_DOWN.confidence,
        blamed=tuple(Blame(node=node, evidence="Slurm shows the node down") for node in down),
        secondary=tuple(ordered),
    )


def _cause_with_checkpoint(facts: ExitFacts, cause: Cause, root: Finding | None) -> Cause:
    """Return the cause, or another one if the root cause line names a checkpoint of the run."""
    checkpoint = facts.checkpoint
    if root is None or checkpoint is None or cause.category not in _MAY_BE_CHECKPOINT:
        return cause
    if names_taken_name(root.text, checkpoint):
        return _NAME_TAKEN
    # The program failed on what it has loaded, whatever its error looks like.
    return _IN_CHECKPOINT if names_broken_part(root.text, checkpoint) else cause


def _is_put_off(cause: Cause, root: Finding) -> bool:
    """Return whether a stop waits until it repeats: the program had run for long before it.

    What is only likely may be wrong then. And an exception of a program that has run for long, such
    as a file that is gone or a module that cannot be read, need not be a mistake in it.
    """
    if cause.rule != root.rule or root.early or cause.category not in _STOPS:
        return False
    mistake = cause.category in _MISTAKES and root.speaker is Speaker.PROGRAM
    return mistake or cause.confidence is not Confidence.CERTAIN


def _cause_of(finding: Finding) -> Cause:
    return Cause(finding.rule, finding.category, finding.confidence)


def _same_line(first: Finding, second: Finding) -> bool:
    return (first.file, first.line) == (second.file, second.line)


def _attribute_by_state(
    facts: ExitFacts, ordered: Sequence[Finding], candidate: Finding | None
) -> tuple[Cause, Finding | None] | None:
    """Return the cause that Slurm's state gives and the line that confirms it, or None."""
    if facts.state is None and (facts.exit_code, facts.signal) == (0, 0):
        return _EXIT_ZERO, None
    cause = None if facts.state is None else STATE_CAUSES.get(facts.state)
    if cause is None:
        return None
    if candidate is not None and _stopped_before(cause.category, ordered, candidate):
        return _cause_of(candidate), candidate
    if cause.category is Category.TIMEOUT and facts.seconds_without_output >= HANG_SECONDS:
        return _NO_OUTPUT, None
    line = _confirming_line(cause.category, ordered)
    if line is not None:
        cause = Cause(cause.rule, line.category, cause.confidence)
    return cause, line


def _stopped_before(category: Category, ordered: Sequence[Finding], error: Finding) -> bool:
    """Return whether an error had stopped the program before Slurm ended the job."""
    if category not in _ALSO_ENDS_HUNG_JOBS or error.category in _EXTERNAL:
        return False
    if not is_sure(error) or error.went_on:
        return False
    if error.category is Category.DEPENDENCY_SERVICE:
        # A tracker or a hub may fail while training continues.
        return False
    for finding in ordered:
        if _same_line(finding, error):
            return True
        if finding.category is category:
            return False
    return False


def _confirming_line(category: Category, ordered: Sequence[Finding]) -> Finding | None:
    """Return the line that confirms Slurm's state, perhaps with a more precise category."""
    wanted = _IN_LOG.get(category, frozenset({category}))
    lines = [
        finding
        for finding in ordered
        if finding.category in wanted and finding.role in (Role.ROOT, Role.CASCADE)
    ]

    # Slurm sets a node down whose accelerator has failed, too.
    def weakness(line: Finding) -> tuple[bool, bool, bool]:
        return not is_sure(line), line.category is Category.HARDWARE_NODE, not line.nodes

    return min(lines, key=weakness, default=None)


def _attribute_by_text(facts: ExitFacts, candidate: Finding | None) -> tuple[Cause, Finding | None]:
    """Return what the log says, or what the exit status says where the log knows nothing."""
    if candidate is not None and _tells_cause(facts, candidate):
        return _cause_of(candidate), candidate
    by_exit = exit_cause(facts.exit_code, facts.signal)
    if by_exit is not None and by_exit is not NONZERO and not _aborted_after(facts, candidate):
        return by_exit, candidate
    if candidate is None or _says_nothing(candidate):
        failed = by_exit is not None or facts.state
        return NONZERO if failed else _NOTHING_KNOWN, candidate
    # A guess never stops a run.
    category = candidate.category if candidate.category.recoverable else Category.UNKNOWN
    return Cause(candidate.rule, category, Confidence.GUESS), candidate


def _tells_cause(facts: ExitFacts, candidate: Finding) -> bool:
    """Return whether a line outweighs the exit status.

    What a program of unknown kind says before it is killed, or crashes, is not why.
    """
    if candidate.confidence is Confidence.GUESS:
        return False
    if candidate.role is Role.MESSAGE:
        by_signal = facts.signal or max(0, (facts.exit_code or 0) - _BY_SIGNAL)
        return by_signal in (0, SIGABRT) or by_signal > SIGSYS
    return candidate.role is Role.ROOT


def _says_nothing(candidate: Finding) -> bool:
    """Return whether a line has the words of a failure and none of its kind."""
    return candidate.role is Role.MESSAGE and candidate.category is Category.UNKNOWN


def _aborted_after(facts: ExitFacts, candidate: Finding | None) -> bool:
    """Return whether a program aborted itself as another one of the run had failed."""
    if candidate is None or candidate.role is not Role.CASCADE:
        return False
    aborted = facts.signal == SIGABRT or facts.exit_code == _BY_SIGNAL + SIGABRT
    return aborted and candidate.category is not Category.UNKNOWN
