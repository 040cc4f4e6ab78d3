"""Sort a log's findings and choose the root cause among them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.finding import Finding, Role, Speaker

SURVIVED = 1000
"""Lines of further progress after which an error is no more than a guess.

A dying Python program prints its traceback first and then what it had buffered, 8 KiB a rank.
"""

MAX_MESSAGE_LINES = 12
"""Lines that the message of an exception may have."""

NEAR = 50
"""Lines within which what a program says belongs to one failure."""

# A process or a node died: its peers, which lose it, may print their complaint first.
DEATHS = frozenset(
    {
        Category.SOFTWARE_CRASH,
        Category.OOM_HOST,
        Category.HARDWARE_NODE,
        Category.HARDWARE_ACCELERATOR,
    }
)
# One of these ended a rank, and its peers lost it: the complaints of the peers come first at times.
_ENDED_A_RANK = DEATHS | {Category.DEVICE_OOM}
# A message that begins as one, and not a line that mentions errors.
_SAYS_ERROR = re.compile(
    r"[\W_]{0,12}(?:\d{1,7}[:>\]] ?)?[\W_]{0,12}"
    r"(?:FATAL|[Ff]atal|ERROR|[Ee]rror|CRITICAL|PANIC|[Pp]anic)\b(?! [Ll]og)"
)
# What the line above could not do: an error number's words alone.
_ERRNO_ONLY = re.compile(
    r"[\W_]{0,12}(?:No such file or directory|Permission denied|Input/output error|File exists"
    r"|No space left on device|Disk quota exceeded|Is a directory|Not a directory)\.?"
)
# The ends that a program chooses itself once it has said why.
_ABORT = re.compile(r"[Aa]bort|SIGABRT|Assertion")
_PURE_ABORT = re.compile(r"(?:[Aa]bort(?!ed by)|SIGABRT)(?!.{0,300}[Aa]ssert)")
COMPLAINTS = frozenset({Category.NETWORK_FABRIC, Category.NETWORK_RENDEZVOUS, Category.HANG})


def is_sure(finding: Finding) -> bool:
    """Return whether a finding is a root candidate on which a decision may rest."""
    if finding.role is not Role.ROOT or finding.went_on > SURVIVED:
        return False
    if finding.confidence is Confidence.LIKELY and _is_survived(finding):
        return False
    return finding.confidence is not Confidence.GUESS


def sort_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort by time where every sure candidate for the cause has one, by position otherwise.

    If only some candidates have a time, the place of the others in time is not known. A file that
    begins with a complaint about another process then comes after the files that do not.
    """
    ordered = sorted(findings, key=lambda finding: (finding.file, finding.line))
    sure = [finding for finding in ordered if is_sure(finding)]
    first = {finding.file: finding.category for finding in reversed(sure)}
    complaining = {file for file, category in first.items() if category in COMPLAINTS}
    if complaining:
        ordered.sort(key=lambda finding: finding.file in complaining)
    if sure and all(finding.at is not None for finding in sure):
        ordered.sort(key=lambda finding: finding.at if finding.at is not None else float("inf"))
    return tuple(ordered)


def find_root_cause(ordered: Sequence[Finding]) -> Finding | None:
    """Return the root cause among sorted findings, or None.

    The first root candidate wins, a sure one before a guess. The death of a process or a node
    precedes its peers' complaints, wherever it was printed; an error after which the program made
    progress gives way to one after which it did not; a program that said what is wrong and then
    aborted did not crash. A header, a message that no rule knows, or a consequence, is only ever a
    guess, and only where there is no candidate at all; a message that begins with `ERROR` precedes
    those that do not. The confidence of the result is that of its
    role as cause.
    """
    roots = [finding for finding in ordered if finding.role is Role.ROOT]
    sure = [finding for finding in roots if is_sure(finding)]
    final = [finding for finding in roots if not finding.went_on]
    if sure:
        first = _first_sure(sure)
        earlier = _exception_before(first, final) or _reason_of_abort(first, final)
        return earlier or _with_message_before(_said_by_library(first, final), ordered)
    # A script goes on after a command of it has failed.
    final.sort(key=_is_survived)
    headers = [finding for finding in ordered if finding.role is Role.HEADER]
    cascades = [finding for finding in ordered if finding.role is Role.CASCADE]
    # A guess only says that something else has failed.
    cascades.sort(key=lambda finding: finding.confidence is Confidence.GUESS)
    messages = sorted(
        _last_messages(_own_messages(ordered, cascades)),
        key=lambda finding: not _SAYS_ERROR.match(finding.text),
    )
    if messages:
        # A consequence that tells at least a category tells more than they do.
        known = [finding for finding in cascades if finding.category is not Category.UNKNOWN]
        cascades = [*known, *messages, *cascades]
    if messages and _SAYS_ERROR.match(messages[0].text):
        # A line that only announces tells less than one that says what is wrong.
        told = [header for header in headers if header.category is not Category.UNKNOWN]
        headers = [*told, messages[0], *headers]
    guess = next(iter([*final, *roots, *headers, *cascades]), None)
    if guess is None:
        return None
    return _with_subject(_with_message_before(_as_guess(guess), ordered), ordered)


def _is_survived(finding: Finding) -> bool:
    """Return whether a line is the complaint of a shell or its tools, and the script went on."""
    return finding.speaker is Speaker.SHELL and finding.followed > 0


def _own_messages(ordered: Sequence[Finding], cascades: Sequence[Finding]) -> list[Finding]:
    """Return the messages that do not continue the text of a consequence right above them."""
    continued = {
        (finding.file, finding.rank, finding.line + below)
        for finding in cascades
        for below in (1, 2)
    }
    return [
        finding
        for finding in ordered
        if finding.role is Role.MESSAGE
        if (finding.file, finding.rank, finding.line) not in continued
    ]


def _last_messages(messages: Sequence[Finding]) -> Sequence[Finding]:
    """Return those at the end of a log that belong to one failure, the first one first."""
    last = [message for message in messages if not message.went_on] or messages
    for number in range(len(last) - 1, 0, -1):
        before, after = last[number - 1], last[number]
        if before.file != after.file or after.line - before.line > NEAR:
            return last[number:]
    return last


def _with_subject(guess: Finding, ordered: Sequence[Finding]) -> Finding:
    """Return a finding, with the line above as its text if it is only the words of an errno."""
    if not _ERRNO_ONLY.fullmatch(guess.text):
        return guess
    place = (guess.file, guess.rank, guess.line - 1)
    above = (line for line in ordered if (line.file, line.rank, line.line) == place)
    subject = next(above, None)
    return guess if subject is None else replace(guess, line=subject.line, text=subject.text)


def _reason_of_abort(crash: Finding, final: Sequence[Finding]) -> Finding | None:
    """Return what the program said was wrong before it aborted, if it had just started; or None."""
    if crash.category is not Category.SOFTWARE_CRASH or not _ABORT.search(crash.text):
        return None
    reasons = (
        _as_guess(finding)
        for finding in final
        if finding.confidence is Confidence.GUESS and finding.speaker is Speaker.PROGRAM
        if finding.file == crash.file and 0 < crash.line - finding.line <= NEAR
    )
    return next((found for found in reasons if found.confidence is not Confidence.GUESS), None)


def _with_message_before(crash: Finding, ordered: Sequence[Finding]) -> Finding:
    """Return a crash with the error message that the program printed before it aborted itself."""
    if crash.category is not Category.SOFTWARE_CRASH or not _PURE_ABORT.search(crash.text):
        return crash
    said = [
        line
        for line in ordered
        if line.role is Role.MESSAGE and _SAYS_ERROR.match(line.text)
        if line.file == crash.file and 0 < crash.line - line.line <= NEAR
    ]
    return replace(crash, line=said[0].line, text=said[0].text) if said else crash


def _said_by_library(first: Finding, final: Sequence[Finding]) -> Finding:
    """Return a cause with the line of the library that failed, if the program only passes it on."""
    if first.category is not Category.NETWORK_FABRIC or first.speaker is not Speaker.PROGRAM:
        return first
    said = (
        finding
        for finding in final
        if finding.speaker is Speaker.LIBRARY and finding.category is first.category
        if finding.file == first.file and 0 < first.line - finding.line <= NEAR
    )
    line = next(said, first)
    return replace(first, line=line.line, text=line.text)


def _exception_before(complaint: Finding, final: Sequence[Finding]) -> Finding | None:
    """Return the unclassified exception that ended a rank before its peers complained, or None."""
    if complaint.category not in COMPLAINTS or complaint not in final:
        return None
    earlier = final[: final.index(complaint)]
    raised = next((error for error in earlier if _ended_rank(error, complaint)), None)
    return None if raised is None else _as_guess(raised)


def _ended_rank(error: Finding, complaint: Finding) -> bool:
    """Return whether an exception ended a rank, and the complaint is no part of its message."""
    same_rank = (error.file, error.rank) == (complaint.file, complaint.rank)
    same_message = same_rank and complaint.line - error.line <= MAX_MESSAGE_LINES
    return error.raised and error.category not in COMPLAINTS and not same_message


def _as_guess(finding: Finding) -> Finding:
    """Return a finding as a guess, or with more confidence at the start of a program."""
    # Where nothing explains it better, what failed before any progress always fails.
    early = finding.role is Role.ROOT and not finding.went_on and not _is_survived(finding)
    return replace(finding, confidence=(finding.at_start if early else None) or Confidence.GUESS)


def _first_sure(sure: Sequence[Finding]) -> Finding:
    first = sure[0]
    if first.category in COMPLAINTS:
        return next((finding for finding in sure if finding.category in _ENDED_A_RANK), first)
    if first.went_on and first.category not in DEATHS:
        # A program that dies of this error may still print steps that it had buffered; but then
        # nothing of it is left that could fail in another way.
        others = (
            finding
            for finding in sure
            if not finding.went_on and finding.category not in COMPLAINTS
        )
        other = next(others, first)
        # The same error from another rank: the first one is the cause, its peers made a few steps.
        return first if other.category is first.category else other
    if first.category in DEATHS:
        # The system's own line about a death comes after the program's.
        alike = (finding for finding in sure if finding.category is first.category)
        return next(
            (finding for finding in alike if finding.confidence is Confidence.CERTAIN), first
        )
    return first
