"""Decide which checkpoints of a run to leave out because attempts that started from them failed.

A checkpoint may be well-formed and still end every trainer that starts from it: its content is
wrong in a way that no check of its form shows. The evidence is an attempt that started from it,
failed by itself, and got no further than the run had been before.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from slurm_restart.core.category import Category
from slurm_restart.core.first_death import EXITED, KILLED
from slurm_restart.frozen import frozen

MAX_BACK = 2
"""How many checkpoints in a row are left out without progress in between."""
NAME_TAKEN = "checkpoint.name_taken"
"""Rule of an end as the program could not write a checkpoint: another has its name."""
_NO_EVIDENCE_RULES = frozenset(
    {
        NAME_TAKEN,
        "supervisor.terminated",
        "supervisor.superseded",
        "supervisor.time_limit",
        "supervisor.cancelled",
        "supervisor.prepare",
        "supervisor.no_exit_record",
        "slurm.stepd_lost",
        "slurm.exit_not_recorded",
    }
)
"""Rules of ends that the trainer did not bring about, of which nothing is known, or that no content
of a checkpoint brings about."""

MAX_SAME = 3
"""How many attempts in a row from the same checkpoint have to end by KILL, TERM, a lost connection
or a hang until that is evidence: it is mostly of another cause, but the kernel kills a trainer
whose checkpoint takes too much memory, and of a rank that dies silently its peers only say that."""
_MAY_BE = frozenset({Category.NETWORK_FABRIC, Category.HANG})
_KILL, _TERM = 128 + 9, 128 + 15
"""Exit codes of a trainer that a signal ended that another process sent."""
_NOT_ITS_OWN = ("exit.", "slurm.", "supervisor.")
"""Rules that tell how the trainer ended, not what it printed about its error: if they alone are
known, the killing was the cause. Else a launcher killed the other ranks after the error of one."""

Mark = tuple[int, int]
"""Modification time in nanoseconds, and size, of a checkpoint."""


@frozen
class CheckpointVersion:
    """A checkpoint as it was when an attempt started from it; one that is written anew differs."""

    path: str
    mark: Mark


@frozen
class AttemptOutcome:
    """What the records of an attempt show."""

    attempt: int
    checkpoint: CheckpointVersion | None
    """What it started from, if an earlier attempt wrote it."""
    step: int
    """The step that it had to exceed for progress."""
    progress: bool
    """Whether it is known to have exceeded it."""
    category: Category | None = None
    """Why it ended; None: not known."""
    rule: str = ""
    exit_code: int | None = None
    """Of the trainer, or 128 + N for signal N; None: not known."""
    repeated: bool = False
    """Whether others before it from the same checkpoint have ended in such a way, too."""

    @property
    def is_evidence(self) -> bool:
        """Whether its end speaks against what it started from."""
        return not self.progress and (
            self.repeated or speaks_against_checkpoint(self.category, self.rule, self.exit_code)
        )

    @property
    def may_be_evidence(self) -> bool:
        """Whether its end could be due to what it started from, if that is always so."""
        if self.category in _MAY_BE:
            return True
        if self.category is None or self.rule in _NO_EVIDENCE_RULES:
            return False
        return self.category.suspects_checkpoint and _is_killed(self.rule, self.exit_code)


@frozen
class LeftOut:
    """A checkpoint that is not used, and the attempt that failed from it."""

    checkpoint: CheckpointVersion
    step: int
    attempt: int
    category: Category

    @property
    def reason(self) -> str:
        """Why it is not used, for people."""
        return (
            f"attempt {self.attempt} started from it and failed without getting beyond "
            f"step {self.step} ({self.category.value})"
        )


@frozen
class FallBack:
    """The checkpoints to leave out now."""

    left_out: tuple[LeftOut, ...] = ()
    can_go_back: bool = True
    """Whether one more is left out if the next attempt fails from it without progress."""

    def excludes(self, version: CheckpointVersion) -> bool:
        """Return whether a checkpoint is left out."""
        return any(entry.checkpoint == version for entry in self.left_out)


def speaks_against_checkpoint(category: Category | None, rule: str, exit_code: int | None) -> bool:
    """Return whether an end without progress is evidence against the checkpoint of its attempt.

    Args:
        category: why the attempt ended; None: not known.
        rule: the rule that gave the category.
        exit_code: of the trainer, or 128 + N for signal N; None: not known.
    """
    if category is None or _is_killed(rule, exit_code):
        return False
    return category.suspects_checkpoint and rule not in _NO_EVIDENCE_RULES


def _is_killed(rule: str, exit_code: int | None) -> bool:
    if rule in KILLED:
        return True
    not_its_own = rule.startswith(_NOT_ITS_OWN) and rule != EXITED
    return exit_code in (_KILL, _TERM) and not_its_own


def note_repeated(
    outcomes: Iterable[AttemptOutcome], *, max_restarts: int
) -> Iterator[AttemptOutcome]:
    """Yield the outcomes, with which of them came so often that they are evidence.

    Args:
        outcomes: the attempts of the phase, in their order.
        max_restarts: of the run; the last attempt without progress is to start elsewhere.
    """
    before: CheckpointVersion | None = None
    count = 0
    for outcome in outcomes:
        failed = outcome.may_be_evidence and not outcome.progress
        same = failed and outcome.checkpoint is not None
        count = count + 1 if same and outcome.checkpoint == before else int(same)
        before = outcome.checkpoint if same else None
        often = max_restarts > 0 and count >= min(MAX_SAME, max_restarts)
        yield replace(outcome, repeated=True) if often else outcome


def fall_back(outcomes: Iterable[AttemptOutcome]) -> FallBack:
    """Return which checkpoints the next attempt leaves out.

    After `MAX_BACK` of them without progress, a further failure shows that the checkpoints are not
    the cause: none is left out then, and no other is until there is progress.

    Args:
        outcomes: the attempts of the phase, in their order.
    """
    left_out: list[LeftOut] = []
    gone_back, given_up = 0, False
    for outcome in outcomes:
        if outcome.progress:
            gone_back, given_up = 0, False
        if given_up or not outcome.is_evidence:
            continue
        entry = _left_out(outcome)
        if entry is not None and gone_back < MAX_BACK:
            left_out.append(entry)
            gone_back += 1
        elif gone_back:
            left_out, given_up = [], True
    return FallBack(left_out=tuple(left_out), can_go_back=not given_up and gone_back < MAX_BACK)


def _left_out(outcome: AttemptOutcome) -> LeftOut | None:
    if outcome.checkpoint is None or outcome.category is None:
        return None
    return LeftOut(
        checkpoint=outcome.checkpoint,
        step=outcome.step,
        attempt=outcome.attempt,
        category=outcome.category,
    )
