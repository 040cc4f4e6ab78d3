"""From the options that a person gave to those that sbatch gets for a phase."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from slurm_restart.core.job_comment import CommentRecord, format_comment, is_managed
from slurm_restart.submit.argv import GivenOption
from slurm_restart.submit.option import COMMENT_LIMIT, OptionHandling

SIGNAL_LEAD = 120
"""Seconds before the time limit at which the supervisor is told, unless --signal says another."""
_SIGNAL = re.compile(
    r"(?:(?P<flags>R?B?R?):)?(?:SIG)?(?P<name>\w+)(?:@(?P<lead>\d{1,5}))?", re.IGNORECASE
)
_MAX_LEAD = 65535
_USR1 = ("USR1", "10")
_COUNTED_NODES = re.compile(r"\*\d")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, kw_only=True)
class JobFacts:
    """What the merging of options has to know of the job."""

    nodes: int
    can_shrink: bool
    comment_record: CommentRecord | None
    """None: the config has no autorestart."""
    name: str
    """The job's name where none is given."""
    first: bool = True
    after: str | None = None
    """Job id of the phase before; None: this is the first, or there is no id yet."""

    @property
    def managed(self) -> bool:
        """Whether the job is restarted."""
        return self.comment_record is not None


class Refusal(Exception):  # noqa: N818 - an answer to a person, collected where it is caught
    """Why an option cannot be had."""


def sbatch_arguments(
    uses: Mapping[str, GivenOption], job: JobFacts
) -> tuple[tuple[str, ...], list[str]]:
    """The arguments for sbatch before the script, and what has to be refused, as whole lines."""
    arguments: list[str] = []
    problems: list[str] = []
    for use in uses.values():
        try:
            arguments += _merged(use, job)
        except Refusal as refusal:
            problems.append(f"{use.origin}: {refusal}")
    arguments += _own(uses, job)
    return tuple(arguments), problems


def _merged(use: GivenOption, job: JobFacts) -> list[str]:
    option = use.option
    if use.value is not None and "\0" in use.value:
        raise Refusal("expected text without NUL characters")
    match option.handling:
        case OptionHandling.PASSED:
            return [use.argument] * use.count
        case OptionHandling.FIXED_SIZE if not job.can_shrink:
            return [use.argument]
        case OptionHandling.MERGED:
            return _MERGES[option.name](use, job)
        case OptionHandling.ANSWERED if use.origin.startswith("-"):
            return []
        case OptionHandling.ANSWERED:
            raise Refusal("refused here: give it on the command line")
        case _:
            raise Refusal(f"refused: {option.note}")


def _own(uses: Mapping[str, GivenOption], job: JobFacts) -> list[str]:
    """What csx-sbatch asks for itself. sbatch takes the last of two equal options."""
    own = [f"--nodes={job.nodes}", "--exclusive", "--open-mode=append", _signal_argument(uses)]
    if "job-name" not in uses:
        own.append(f"--job-name={job.name}")
    if job.comment_record is not None:
        comment = uses["comment"].value if "comment" in uses else ""
        own += ["--requeue", f"--comment={format_comment(job.comment_record, comment or '')}"]
    if not job.first:
        own.append("--kill-on-invalid-dep=yes")
    if job.after is not None:
        own.append(f"--dependency=afterok:{job.after}")
    return own


def signal_lead(uses: Mapping[str, GivenOption]) -> int:
    """Seconds before the time limit at which the supervisor is told."""
    use = uses.get("signal")
    match = _SIGNAL.fullmatch(use.value or "") if use is not None else None
    return SIGNAL_LEAD if match is None else int(match["lead"] or 60)


def _signal_argument(uses: Mapping[str, GivenOption]) -> str:
    use = uses.get("signal")
    match = _SIGNAL.fullmatch(use.value or "") if use is not None else None
    overlap = "R" if match is not None and "R" in (match["flags"] or "").upper() else ""
    return f"--signal={overlap}B:USR1@{signal_lead(uses)}"


# --- One function for each merged option: the arguments that it adds to those of `_own` ----------


def _signal(use: GivenOption, _job: JobFacts) -> list[str]:
    match = _SIGNAL.fullmatch(use.value or "")
    if match is None or int(match["lead"] or 60) not in range(1, _MAX_LEAD + 1):
        raise Refusal(f"expected B:USR1@SECONDS, got {use.value!r}")
    if match["name"].upper() not in _USR1 or (
        match["flags"] is not None and "B" not in match["flags"].upper()
    ):
        raise Refusal(f"refused: {use.option.note}")
    return []


def _comment(use: GivenOption, job: JobFacts) -> list[str]:
    text = use.value or ""
    size = len(text.encode(errors="surrogateescape"))
    if size > COMMENT_LIMIT:
        raise Refusal(f"expected at most {COMMENT_LIMIT} bytes, got {size}: shorten it")
    if _CONTROL.search(text):
        raise Refusal("expected text without control characters and newlines")
    if is_managed(text):
        raise Refusal("expected a comment of your own, got one that looks like a digest")
    return [] if job.managed else [use.argument]


def _nodes(use: GivenOption, job: JobFacts) -> list[str]:
    low, _, high = (use.value or "").partition("-")
    if not low.isdigit() or (high and high != low):
        raise Refusal(f"expected one number of nodes, got {use.value!r}")
    if int(low) != job.nodes:
        raise Refusal(
            f"expected {job.nodes}, got {low}: the number of nodes follows from num_csx "
            "(--num-csx, trainer.init.backend.cluster_config.num_csx)"
        )
    return []


def _first_only(use: GivenOption, job: JobFacts) -> list[str]:
    return [use.argument] if job.first else []


def _constraint(use: GivenOption, job: JobFacts) -> list[str]:
    if job.can_shrink and _COUNTED_NODES.search(use.value or ""):
        raise Refusal(
            "refused with node counts (`*N`), which fewer nodes cannot satisfy: set min_num_csx "
            "to num_csx"
        )
    return [use.argument]


def _exclusive(use: GivenOption, _job: JobFacts) -> list[str]:
    if use.value is not None:
        raise Refusal(f"expected no value, got {use.value!r}: {use.option.note}")
    return []


def _no_kill(use: GivenOption, _job: JobFacts) -> list[str]:
    if use.value not in ("off", "no"):
        raise Refusal(use.option.note)
    return []


def _open_mode(use: GivenOption, _job: JobFacts) -> list[str]:
    if (use.value or "").lower() not in ("a", "append"):
        raise Refusal(f"expected append, got {use.value!r}: {use.option.note}")
    return []


def _requeue(use: GivenOption, job: JobFacts) -> list[str]:
    if use.value is not None:
        raise Refusal(f"expected no value, got {use.value!r}: {use.option.note}")
    return [] if job.managed else [use.argument]


def _no_requeue(use: GivenOption, job: JobFacts) -> list[str]:
    if job.managed:
        raise Refusal(use.option.note)
    return [use.argument]


def _as_given(use: GivenOption, _job: JobFacts) -> list[str]:
    return [use.argument]


_MERGES: dict[str, Callable[[GivenOption, JobFacts], list[str]]] = {
    "comment": _comment,
    "constraint": _constraint,
    "dependency": _first_only,
    "exclude": _as_given,
    "exclusive": _exclusive,
    "hold": _first_only,
    "job-name": _as_given,
    "kill-on-invalid-dep": _first_only,
    "no-kill": _no_kill,
    "no-requeue": _no_requeue,
    "nodes": _nodes,
    "open-mode": _open_mode,
    "requeue": _requeue,
    "signal": _signal,
}
