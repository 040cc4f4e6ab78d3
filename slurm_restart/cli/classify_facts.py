"""What `csx-restart classify` knows of an end besides the log: options, Slurm, accounting."""

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from slurm_restart.core.attribute_log import ExitFacts
from slurm_restart.core.hostlist import expand
from slurm_restart.core.job import JobFlag, JobState
from slurm_restart.core.program_start import KnownProgress
from slurm_restart.core.slurm_state import STATE_BY_NAME, is_end
from slurm_restart.core.task_layout import even_counts, task_layout
from slurm_restart.errors import (
    JobNotFoundError,
    SlurmError,
    SlurmUnavailableError,
    UsageError,
)
from slurm_restart.frozen import frozen

if TYPE_CHECKING:
    from slurm_restart.core.job import Job
    from slurm_restart.slurm.accounting import AccountedEnd
    from slurm_restart.slurm.commands import Commands

_SHORT = {
    "BF": "BOOT_FAIL",
    "CA": "CANCELLED",
    "CD": "COMPLETED",
    "CF": "CONFIGURING",
    "CG": "COMPLETING",
    "DL": "DEADLINE",
    "F": "FAILED",
    "NF": "NODE_FAIL",
    "OOM": "OUT_OF_MEMORY",
    "PD": "PENDING",
    "PR": "PREEMPTED",
    "R": "RUNNING",
    "RQ": "REQUEUED",
    "RH": "REQUEUE_HOLD",
    "RV": "REVOKED",
    "S": "SUSPENDED",
    "SE": "SPECIAL_EXIT",
    "ST": "STOPPED",
    "TO": "TIMEOUT",
}
"""squeue's and sacct's short forms (job_state_codes)."""
_SHOWN = 60
"""Characters of a wrong value that a message repeats."""
_NOTICED = 900
"""Seconds within which Slurm notices a lost node: three times the default SlurmdTimeout."""
_BY_ITSELF = frozenset({JobState.FAILED, JobState.OUT_OF_MEMORY})
"""States of jobs that may have run for so long, and did not only hang until they were ended."""
_SECONDS = 20.0
"""How long the accounting database may take to answer."""


@frozen
class KnownFacts:
    """The facts of an end.

    `source` says where the state is from: `given` on the command line, `slurm`, `accounting`, or
    None if it is not known. `log` is the job's output as Slurm knows it.
    """

    exit: ExitFacts
    source: str | None = None
    log: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def suffice(self) -> bool:
        """Whether an answer is possible without a log."""
        return self.exit.state is not None or self.exit.exit_code is not None


def facts_from_options(state: str | None, code: str | None, nodes: str | None) -> KnownFacts:
    """Return the facts that the command line gives.

    Raises:
        UsageError: a value is wrong, or the state is not that of an end.
    """
    exit_code, signal = _exit_code(code)
    exit_facts = ExitFacts(
        state=None if state is None else _state(state),
        exit_code=exit_code,
        signal=signal,
        nodes=_nodes(nodes),
    )
    return KnownFacts(exit=exit_facts, source=None if state is None else "given")


def _state(text: str) -> JobState | JobFlag:
    """Parse a state as squeue, sacct or scontrol print it: `CANCELLED by 1000`, `CANCELLED+`, `CA`.

    Raises:
        UsageError: not a state of a job, or not that of one that has ended.
    """
    name = text.strip().upper().split(" ")[0].split("+")[0].split(",")[0]
    state = STATE_BY_NAME.get(_SHORT.get(name, name))
    if state is not None and is_end(state):
        return state
    ends = ", ".join(sorted(name for name, known in STATE_BY_NAME.items() if is_end(known)))
    if state is not None:
        raise UsageError(f"--state: a job that is {state.value} has not ended; expected {ends}")
    raise UsageError(f"--state: expected one of {ends}, got {text[:_SHOWN]!r}")


def _exit_code(text: str | None) -> tuple[int | None, int]:
    """Parse `C` or `C:S`; return (exit code, signal).

    Raises:
        UsageError: not one or two numbers.
    """
    if text is None:
        return None, 0
    first, _, second = text.partition(":")
    number = r"[0-9]{1,3}"
    if not (re.fullmatch(number, first) and (re.fullmatch(number, second) or not second)):
        raise UsageError(f"--exit-code: expected C or C:S, as in 1:0, got {text[:_SHOWN]!r}")
    return int(first), int(second or 0)


def _nodes(text: str | None) -> tuple[str, ...]:
    try:
        return expand(text) if text else ()
    except SlurmError as error:
        raise UsageError(f"--nodes: {error}") from None


def facts_from_slurm(job_id: int, given: KnownFacts) -> KnownFacts:
    """Add Slurm's facts about a job, or those of the accounting database; options come first.

    Raises:
        UsageError: the job has not ended.
        SlurmError: neither Slurm nor its accounting knows the job.
    """
    # Imported here: most calls need no Slurm, and its modules take 40 ms.
    from slurm_restart.cli.find_run import slurm_here  # noqa: PLC0415

    slurm = slurm_here()
    try:
        job = slurm.job(job_id)
    except (JobNotFoundError, SlurmUnavailableError) as error:
        return _with_accounting(given, _accounted(job_id, error))
    log = Path(job.work_dir or ".") / job.std_out if job.std_out else None
    nodes = given.exit.nodes or job.nodes
    down, layout = _down(slurm, job, nodes), _layout(slurm, job)
    exit_facts = replace(given.exit, nodes=nodes, down=down, layout=layout)
    if job.state is not None and job.state.is_final:
        status = (job.exit_code, job.signal)
        exit_facts = replace(exit_facts, progress=_known(job.state, job.run_time))
        return replace(_merge(given, exit_facts, "slurm", job.state, status), log=log)
    if given.exit.state is None and _is_first_attempt(job):
        state = job.state.value if job.state else "?"
        raise UsageError(f"job {job_id} is {state}: it has not ended; give its log without --job")
    return replace(given, exit=exit_facts, log=log, notes=(_no_state(job_id, job),))


def _down(slurm: "Commands", job: "Job", nodes: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of a job's nodes that are down, if they may have been at its end already."""
    if not nodes:
        return ()
    try:
        shown = slurm.nodes()
    except SlurmError:
        # Known nodes only make the answer more certain.
        return ()
    names = frozenset(nodes)
    last = None if job.end_time is None else job.end_time + _NOTICED
    return tuple(
        node.name
        for node in shown
        if node.name in names
        and node.down
        and (last is None or node.reason_time is None or node.reason_time <= last)
    )


def _layout(slurm: "Commands", job: "Job") -> tuple[str, ...]:
    """Return the node of each task, as far as any distribution of them gives the same."""
    if not job.nodes:
        return ()
    try:
        shown = slurm.tasks(job.job_id)
    except SlurmError:
        # As above.
        return ()
    counts = () if shown is None else even_counts(*shown, len(job.nodes))
    return task_layout(job.nodes, counts, None)


def _is_first_attempt(job: "Job") -> bool:
    """Return whether no attempt of a job has ended that its log could show."""
    if job.state is JobState.PENDING:
        return job.restarts == 0 and not job.flags
    return job.state is not None and not job.completing


def _no_state(job_id: int, job: "Job") -> str:
    if job.state is None or job.completing:
        return f"job {job_id} is ending: Slurm does not show its state yet"
    return f"job {job_id} is {job.state.value} again: Slurm has no state of its last end"


def _accounted(job_id: int, first: SlurmError) -> "AccountedEnd":
    from slurm_restart.slurm.accounting import accounted_end  # noqa: PLC0415  # as above
    from slurm_restart.slurm.client import CommandClient  # noqa: PLC0415

    try:
        return accounted_end(job_id, CommandClient(None, None, _SECONDS))
    except SlurmError as error:
        raise type(first)(f"{first}; {error}", stderr=first.stderr) from None


def _with_accounting(given: KnownFacts, end: "AccountedEnd") -> KnownFacts:
    nodes, known = given.exit.nodes or end.nodes, _known(end.state, end.seconds)
    exit_facts = replace(given.exit, nodes=nodes, progress=known)
    status = (end.exit_code, end.signal)
    merged = _merge(given, exit_facts, "accounting", end.state, status)
    note = "slurmctld does not know the job any more: the facts are those of the accounting"
    return replace(merged, log=end.std_out, notes=(note,))


def _known(state: JobState | JobFlag, seconds: int | None) -> KnownProgress:
    return KnownProgress(seconds=seconds if state in _BY_ITSELF else None)


def _merge(
    given: KnownFacts,
    exit_facts: ExitFacts,
    source: str,
    state: JobState | JobFlag,
    status: tuple[int, int],
) -> KnownFacts:
    if given.exit.exit_code is None:
        exit_facts = replace(exit_facts, exit_code=status[0], signal=status[1])
    if given.exit.state is None:
        exit_facts = replace(exit_facts, state=state)
    else:
        source = "given"
    return replace(given, exit=exit_facts, source=source)
