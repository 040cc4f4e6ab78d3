"""Combine the user's options with those that csx-sbatch sets, for one phase."""

import re
from collections.abc import Callable, Mapping

from slurm_restart.core.job_comment import CommentRecord, format_comment, is_managed
from slurm_restart.frozen import frozen
from slurm_restart.submit.argv import GivenOption
from slurm_restart.submit.option import COMMENT_LIMIT, OptionHandling
from slurm_restart.submit.stop_signal import parse_signal, warning_signal
from slurm_restart.trainer.run_plan import STOP_SIGNALS, StopReceiver

_COUNTED_NODES = re.compile(r"\*\d")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@frozen
class JobFacts:
    """The facts about a job that merging options needs."""

    nodes: int | None
    """None: the number follows from the user's options."""
    can_shrink: bool
    comment_record: CommentRecord | None
    """None: the config has no autorestart."""
    name: str
    """The job's name if none is given."""
    first: bool = True
    after: str | None = None
    """Job id of the phase before; None: this is the first, or there is no id yet."""
    script: bool = False
    """Whether the job runs a batch script of the user's."""
    spares: int = 0
    """Nodes beside `nodes`."""
    keeps_allocation: bool = False
    """Whether the job is to outlive the loss of a node."""
    requeues: bool = True
    """Whether a job that is restarted may be requeued; if not, it is restarted in place only."""
    requeues_itself: bool = False
    """Whether its supervisor requeues it: nobody then cancels later phases once it has failed."""

    @property
    def changes_size(self) -> bool:
        """Whether attempts may have other numbers of nodes than the job at first."""
        return self.can_shrink or self.spares > 0

    @property
    def managed(self) -> bool:
        """Whether the job is restarted."""
        return self.comment_record is not None


class RefusedOptionError(Exception):
    """Why an option cannot be used; collected into one message for the user."""


def sbatch_arguments(
    options: Mapping[str, GivenOption], job: JobFacts
) -> tuple[tuple[str, ...], list[str]]:
    """Return sbatch's arguments before the script, and a line for each refused option."""
    arguments: list[str] = []
    problems: list[str] = []
    for given in options.values():
        try:
            arguments += _merged(given, job)
        except RefusedOptionError as error:
            problems.append(f"{given.origin}: {error}")
    arguments += _own(options, job)
    return tuple(arguments), problems


def _merged(given: GivenOption, job: JobFacts) -> list[str]:
    option = given.option
    if given.value is not None and "\0" in given.value:
        raise RefusedOptionError("expected text without NUL characters")
    match option.handling_for(script=job.script):
        case OptionHandling.PASSED:
            return [given.argument] * given.count
        case OptionHandling.PASSED_IF_FIXED_SIZE if not job.changes_size:
            return [given.argument]
        case OptionHandling.PASSED_IF_FIXED_SIZE if job.script:
            raise RefusedOptionError(
                "refused with --min-nodes and --spares, because attempts on other numbers of nodes "
                "would break it: put it on the srun of the script, or leave them out"
            )
        case OptionHandling.MERGED:
            merges = _MERGES | _SCRIPT_MERGES if job.script else _MERGES
            return merges[option.name](given, job)
        case OptionHandling.HANDLED_HERE | OptionHandling.RESTART if given.origin.startswith("-"):
            return []
        case OptionHandling.RESTART:
            raise RefusedOptionError("refused here: give it in a #CSX line or on the command line")
        case OptionHandling.HANDLED_HERE:
            raise RefusedOptionError("refused here: give it on the command line")
        case _:
            raise RefusedOptionError(f"refused: {option.note}")


def _own(options: Mapping[str, GivenOption], job: JobFacts) -> list[str]:
    """Return the options that csx-sbatch sets. sbatch uses the last of two equal options."""
    own = [] if job.nodes is None else [f"--nodes={job.nodes + job.spares}"]
    own += [] if job.script else ["--exclusive"]
    own += ["--open-mode=append", _signal_argument(options)]
    if job.keeps_allocation and "no-kill" not in options:
        own.append("--no-kill")
    if "job-name" not in options:
        own.append(f"--job-name={job.name}")
    if job.comment_record is not None:
        comment = options["comment"].value if "comment" in options else ""
        requeue = "--requeue" if job.requeues else "--no-requeue"
        own += [requeue, f"--comment={format_comment(job.comment_record, comment or '')}"]
    if job.after is not None:
        own.append(f"--dependency=afterok:{job.after}")
        if job.requeues_itself and "kill-on-invalid-dep" not in options:
            own.append("--kill-on-invalid-dep=yes")
    return own


def _signal_argument(options: Mapping[str, GivenOption]) -> str:
    warning = warning_signal(options)
    return f"--signal={'R' if warning.overlap else ''}B:USR1@{warning.lead}"


# --- One function for each merged option: the arguments that it adds to those of `_own` ----------


def _signal(given: GivenOption, job: JobFacts) -> list[str]:
    warning = parse_signal(given.value or "")
    if warning is None:
        raise RefusedOptionError(f"expected B:USR1@SECONDS, got {given.value!r}")
    if job.script and warning.name not in STOP_SIGNALS:
        known = ", ".join(STOP_SIGNALS)
        raise RefusedOptionError(f"expected one of the signals {known}, got {given.value!r}")
    only_steps = ":" in (given.value or "") and warning.receiver is not StopReceiver.SCRIPT
    if not job.script and (warning.name != "USR1" or only_steps):
        raise RefusedOptionError(f"refused: {given.option.note}")
    return []


def _comment(given: GivenOption, job: JobFacts) -> list[str]:
    text = given.value or ""
    size = len(text.encode(errors="surrogateescape"))
    if size > COMMENT_LIMIT:
        raise RefusedOptionError(f"expected at most {COMMENT_LIMIT} bytes, got {size}: shorten it")
    if _CONTROL.search(text):
        raise RefusedOptionError("expected text without control characters and newlines")
    if is_managed(text):
        raise RefusedOptionError(
            "expected a comment of your own, got one that begins like a comment record"
        )
    return [] if job.managed else [given.argument]


def _nodes(given: GivenOption, job: JobFacts) -> list[str]:
    low, _, high = (given.value or "").partition("-")
    if not low.isdigit() or (high and high != low):
        raise RefusedOptionError(f"expected one number of nodes, got {given.value!r}")
    if int(low) != job.nodes:
        raise RefusedOptionError(
            f"expected {job.nodes}, got {low}: the number of nodes follows from num_csx "
            "(--num-csx, trainer.init.backend.cluster_config.num_csx)"
        )
    return []


def _first_only(given: GivenOption, job: JobFacts) -> list[str]:
    return [given.argument] if job.first else []


def _constraint(given: GivenOption, job: JobFacts) -> list[str]:
    if job.changes_size and _COUNTED_NODES.search(given.value or ""):
        raise RefusedOptionError(
            "refused with node counts (`*N`), which other numbers of nodes cannot satisfy: set "
            "min_num_csx to num_csx, without spares"
        )
    return [given.argument]


def _exclusive(given: GivenOption, _job: JobFacts) -> list[str]:
    if given.value is not None:
        raise RefusedOptionError(f"expected no value, got {given.value!r}: {given.option.note}")
    return []


def _no_kill(given: GivenOption, _job: JobFacts) -> list[str]:
    if given.value not in ("off", "no"):
        raise RefusedOptionError(given.option.note)
    return []


def _open_mode(given: GivenOption, _job: JobFacts) -> list[str]:
    if (given.value or "").lower() not in ("a", "append"):
        raise RefusedOptionError(f"expected append, got {given.value!r}: {given.option.note}")
    return []


def _requeue(given: GivenOption, job: JobFacts) -> list[str]:
    if given.value is not None:
        raise RefusedOptionError(f"expected no value, got {given.value!r}: {given.option.note}")
    if job.managed and not job.requeues:
        raise RefusedOptionError("refused with --recovery=in-place: give --recovery=auto for both")
    return [] if job.managed else [given.argument]


def _no_requeue(given: GivenOption, job: JobFacts) -> list[str]:
    if job.managed and job.requeues:
        raise RefusedOptionError(given.option.note)
    return [] if job.managed else [given.argument]


def _quiet(_given: GivenOption, _job: JobFacts) -> list[str]:
    return []  # with it, sbatch prints no job id


def _as_given(given: GivenOption, _job: JobFacts) -> list[str]:
    return [given.argument]


_MERGES: dict[str, Callable[[GivenOption, JobFacts], list[str]]] = {
    "comment": _comment,
    "constraint": _constraint,
    "dependency": _first_only,
    "exclude": _as_given,
    "exclusive": _exclusive,
    "hold": _first_only,
    "job-name": _as_given,
    "no-kill": _no_kill,
    "no-requeue": _no_requeue,
    "nodes": _nodes,
    "open-mode": _open_mode,
    "quiet": _quiet,
    "requeue": _requeue,
    "signal": _signal,
}


# --- For a batch script of the user's ------------------------------------------------------------


def _script_nodes(given: GivenOption, job: JobFacts) -> list[str]:
    return [given.argument] if job.nodes is None else []


def _script_constraint(given: GivenOption, job: JobFacts) -> list[str]:
    if job.changes_size and _COUNTED_NODES.search(given.value or ""):
        raise RefusedOptionError(
            "refused with node counts (`*N`) and --min-nodes or --spares, because other numbers of "
            "nodes cannot satisfy them: leave out one of the two"
        )
    return [given.argument]


_SCRIPT_MERGES: dict[str, Callable[[GivenOption, JobFacts], list[str]]] = {
    "constraint": _script_constraint,
    "exclusive": _as_given,
    "nodes": _script_nodes,
}
