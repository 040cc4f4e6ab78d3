"""Sort a log's findings and choose the root cause among them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.finding import Finding, Role, Speaker
from slurm_restart.core.first_death import first_report, killed_after

SURVIVED = 1000
"""Lines of further progress after which an error is no more than a guess.

A dying Python program prints its traceback first and then what it had buffered, 8 KiB a rank.
"""

MAX_MESSAGE_LINES = 12
"""Lines that the message of an exception may have."""

NEAR = 50
"""Lines within which what a program says belongs to one failure."""

BESIDE = 3
"""Lines within which two messages tell of the same thing."""

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
_MISTAKES = frozenset({Category.CONFIG, Category.CODE})
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
    progress gives way to one after which it did not, or to KILL; a program that said what is wrong
    and then aborted did not crash. Of the tasks of a step, the one that srun reports first counts.
    A header or a consequence is only ever a guess, and only where there is no candidate at all. So
    is a message that no rule knows, unless its words demand another input of a program that was
    starting; a message that begins with `ERROR` precedes those that do not, and one next to it
    whose words tell a category precedes it. The confidence of the result is that of its role as
    cause.
    """
    roots = [finding for finding in ordered if finding.role is Role.ROOT]
    sure = [finding for finding in roots if is_sure(finding)]
    final = [finding for finding in roots if not finding.went_on]
    cascades = [finding for finding in ordered if finding.role is Role.CASCADE]
    # A guess only says that something else has failed.
    cascades.sort(key=lambda finding: finding.confidence is Confidence.GUESS)
    messages = _by_what_they_tell(_last_messages(_own_messages(ordered, cascades)))
    if sure:
        first = _first_sure(sure)
        killed = None if first.category in DEATHS else killed_after(first, ordered)
        if killed is not None:
            return _as_guess(killed)
        first = _rest_of_message(first, sure) or first
        earlier = _exception_before(first, final) or _reason_of_abort(first, [*final, *messages])
        return earlier or _with_message_before(_said_by_library(first, final), ordered)
    # A script goes on after a command of it has failed.
    final.sort(key=_is_survived)
    guess = next(iter([*final, *roots, *_only_reports(ordered, messages, cascades)]), None)
    if guess is None:
        return None
    guess = first_report(guess, ordered)
    is_last = _is_last(guess, ordered)
    guess = _as_guess(_reason_of_abort(guess, [*final, *messages]) or guess, is_last=is_last)
    return _with_subject(_with_message_before(guess, ordered), ordered)


def _only_reports(
    ordered: Sequence[Finding], messages: Sequence[Finding], cascades: Sequence[Finding]
) -> list[Finding]:
    """Return headers, messages and consequences, the one that tells most of the cause first."""
    headers = [finding for finding in ordered if finding.role is Role.HEADER]
    # A consequence that tells at least a category tells more than a message that does not.
    known = [finding for finding in cascades if finding.category is not Category.UNKNOWN]
    reports = [*headers, *known, *messages, *cascades] if messages else [*headers, *cascades]
    first = next(iter(messages), None)
    if first is None:
        return reports
    if first.category is not Category.UNKNOWN:
        return [first, *reports]
    if _SAYS_ERROR.match(first.text) or _is_near(first, headers):
        # A line that only announces tells less than one that says what is wrong.
        caused = [header for header in headers if header.category is not Category.UNKNOWN]
        return [*caused, first, *reports]
    return reports


def _is_near(message: Finding, others: Sequence[Finding]) -> bool:
    """Return whether a message belongs to the same failure as one of other lines of its file."""
    return any(
        other.file == message.file and abs(other.line - message.line) <= NEAR for other in others
    )


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


def _by_what_they_tell(messages: Sequence[Finding]) -> Sequence[Finding]:
    """Return messages in the order in which they are taken for the cause."""
    ordered = sorted(messages, key=lambda message: not _SAYS_ERROR.match(message.text))
    if not ordered or ordered[0].category is not Category.UNKNOWN:
        return ordered
    first = ordered[0]
    telling = (
        message
        for message in messages
        if message.category is not Category.UNKNOWN and message.file == first.file
        if abs(message.line - first.line) <= BESIDE
    )
    better = next(telling, None)
    return ordered if better is None else [better, *ordered]


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
    """Return what the program said was wrong before it aborted, or None.

    That is a mistake which always ends a program that had just started, or a line whose words tell
    at least the kind of the failure.
    """
    if crash.category is not Category.SOFTWARE_CRASH or not _ABORT.search(crash.text):
        return None
    said = [
        _as_guess(finding)
        for finding in final
        if finding.confidence is Confidence.GUESS and finding.speaker is Speaker.PROGRAM
        if finding.file == crash.file and finding.line != crash.line
        if -BESIDE <= crash.line - finding.line <= NEAR
    ]
    mistake = next((line for line in said if line.confidence is not Confidence.GUESS), None)
    telling = (
        replace(line, category=crash.category, rule=crash.rule, confidence=crash.confidence)
        for line in said
        if line.role is Role.MESSAGE and line.category.recoverable
        if line.category is not Category.UNKNOWN
    )
    return mistake or next(telling, None)


def _rest_of_message(complaint: Finding, sure: Sequence[Finding]) -> Finding | None:
    """Return a mistake that the lower lines of a complaint's own message name, or None."""
    if complaint.category not in COMPLAINTS:
        return None
    below = (
        finding
        for finding in sure
        if finding.category in _MISTAKES and not finding.raised
        if (finding.file, finding.rank) == (complaint.file, complaint.rank)
        if 0 < finding.line - complaint.line <= MAX_MESSAGE_LINES
    )
    return next(below, None)


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


def _gave_up(death: Finding, complaint: Finding) -> bool:
    """Return whether a rank aborted itself after its own complaint."""
    return (
        bool(death.rank)
        and (death.file, death.rank) == (complaint.file, complaint.rank)
        and 0 < death.line - complaint.line <= NEAR
        and _ABORT.search(death.text) is not None
    )


def _ended_rank(error: Finding, complaint: Finding) -> bool:
    """Return whether an exception ended a rank, and the complaint is no part of its message."""
    same_rank = (error.file, error.rank) == (complaint.file, complaint.rank)
    same_message = same_rank and complaint.line - error.line <= MAX_MESSAGE_LINES
    return error.raised and error.category not in COMPLAINTS and not same_message


def _is_last(finding: Finding, ordered: Sequence[Finding]) -> bool:
    """Return whether nothing but the rest of a message follows a line."""
    return finding.followed <= MAX_MESSAGE_LINES and not any(
        other.role in (Role.ROOT, Role.CASCADE) and other.rule != finding.rule
        for other in ordered[ordered.index(finding) + 1 :]
    )


def _as_guess(finding: Finding, *, is_last: bool = False) -> Finding:
    """Return a finding as a guess, or with more confidence at the start of a program."""
    # Where nothing explains it better, what failed before any progress always fails.
    last = finding.role is Role.MESSAGE and finding.followed <= NEAR
    early = (finding.role is Role.ROOT or last) and not finding.went_on
    if _is_survived(finding):
        # It may be what ended the script, too, if the log ends with it.
        own = None if finding.confidence is Confidence.GUESS else finding.confidence
        early, at_start = early and is_last, finding.as_starting or own
    else:
        at_start = finding.as_starting
    return replace(finding, confidence=(at_start if early else None) or Confidence.GUESS)


def _first_sure(sure: Sequence[Finding]) -> Finding:
    first = sure[0]
    if first.category in COMPLAINTS:
        ended = (finding for finding in sure if finding.category in _ENDED_A_RANK)
        return next((finding for finding in ended if not _gave_up(finding, first)), first)
    if "WARN" in first.text:
        # Libraries warn of each try; what the program then ended with tells more.
        raised = (line for line in sure if line.raised and line.category is first.category)
        return next(raised, first)
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
