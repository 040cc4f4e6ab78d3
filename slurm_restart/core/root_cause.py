"""Which of a log's findings is the root cause."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.finding import Finding, Role

SURVIVED = 1000
"""Lines of a program that goes on after which an error is no more than a guess.

A dying Python program prints its traceback first and then what it had buffered, 8 KiB a rank.
"""

MESSAGE = 12
"""Lines that the message of an exception may have."""

# A process or a node died: the others, who lose it, may well print their complaint first.
DEATHS = frozenset(
    {
        Category.SOFTWARE_CRASH,
        Category.OOM_HOST,
        Category.HARDWARE_NODE,
        Category.HARDWARE_ACCELERATOR,
    }
)
COMPLAINTS = frozenset({Category.NETWORK_FABRIC, Category.NETWORK_RENDEZVOUS, Category.HANG})


def is_sure(finding: Finding) -> bool:
    """Whether a finding is a root candidate on which a decision may rest."""
    return (
        finding.role is Role.ROOT
        and finding.confidence is not Confidence.GUESS
        and finding.went_on <= SURVIVED
    )


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings by time where every candidate for the cause tells it, by position otherwise.

    Half of the times are worth nothing: there is no telling where the others belong.
    """
    known = sorted(findings, key=lambda one: (one.file, one.line))
    sure = [one for one in known if is_sure(one)]
    if sure and all(one.at is not None for one in sure):
        known.sort(key=lambda one: one.at if one.at is not None else float("inf"))
    return tuple(known)


def choose(findings: Iterable[Finding]) -> Finding | None:
    """The root cause among findings, or None.

    The first root candidate wins, one that is no guess before a guess. The death of a process or a
    node comes before its peers' complaints, wherever it was printed; and an error after which the
    program went on gives way to one after which it did not. A consequence is only ever a guess,
    and only where there is no candidate at all.
    """
    known = in_order(findings)
    roots = [finding for finding in known if finding.role is Role.ROOT]
    sure = [finding for finding in roots if is_sure(finding)]
    fresh = [finding for finding in roots if not finding.went_on]
    if sure:
        first = _first(sure)
        return _raised_before(first, fresh) or first
    cascades = [finding for finding in known if finding.role is Role.CASCADE]
    guess = next(iter([*fresh, *roots, *cascades]), None)
    return None if guess is None else _weighed(guess)


def _raised_before(complaint: Finding, fresh: Sequence[Finding]) -> Finding | None:
    """The exception with which a rank ended before the others missed it, though nobody knows it."""
    if complaint.category not in COMPLAINTS or complaint not in fresh:
        return None
    earlier = fresh[: fresh.index(complaint)]
    raised = next((one for one in earlier if _ended(one, complaint)), None)
    return None if raised is None else _weighed(raised)


def _ended(one: Finding, complaint: Finding) -> bool:
    """Whether a program ended of something else than the complaint; its message has many lines."""
    of_its_message = one.rank == complaint.rank and complaint.line - one.line <= MESSAGE
    return one.raised and one.category not in COMPLAINTS and not of_its_message


def _weighed(guess: Finding) -> Finding:
    """A finding that is a guess, or more than that at the start of a program."""
    # Where nothing better is known, what failed before any progress fails always.
    early = guess.at_start if guess.role is Role.ROOT and not guess.went_on else None
    return replace(guess, confidence=early or Confidence.GUESS)


def _first(sure: Sequence[Finding]) -> Finding:
    first = sure[0]
    if first.category in COMPLAINTS:
        return next((one for one in sure if one.category in DEATHS), first)
    if first.went_on and first.category not in DEATHS:
        # A program that has died of it may still print steps that it had buffered; but then
        # nothing is left of it that could fail in another way.
        others = (one for one in sure if not one.went_on and one.category not in COMPLAINTS)
        other = next(others, first)
        # The same from another rank: the first had it first, and the others got on a little.
        return first if other.category is first.category else other
    if first.category in DEATHS:
        # The system says so for certain after the program has noticed.
        alike = (one for one in sure if one.category is first.category)
        return next((one for one in alike if one.confidence is Confidence.CERTAIN), first)
    return first
