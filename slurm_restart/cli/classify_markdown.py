"""The output of `csx-restart classify` as Markdown, for a ticket.

Everything from logs, rules and the command line is escaped: it cannot add markup, mention a person
or end the code block.
"""

import re

from slurm_restart.cli.classify_output import (
    CONFIDENCE,
    NO_FAILURE,
    NO_LINE,
    NO_LOG,
    Classified,
    context_of,
    cut,
    judged_from,
    place_of,
    state_text,
    what_to_do,
)
from slurm_restart.core.attribution import RootCause
from slurm_restart.core.printable import escape_controls

_MARKUP = re.compile(r"([\\`*_{}\[\]()<>#+!|~$&@:=-])")
_MIN_FENCE = 3
_MAX_OTHERS = 10
"""Other lines that are listed."""


def format_markdown(result: Classified) -> str:
    """Return a table of the result, the evidence as a code block, and the other lines."""
    attribution = result.attribution
    lines = [
        f"### Why the job ended: {_plain(attribution.category.value)}",
        "",
        *_table(_rows(result)),
        "",
        *_evidence(result),
    ]
    others = _other_lines(result)
    if others:
        lines += ["", "Other lines:", "", *_code(others)]
    return "\n".join(lines)


def _rows(result: Classified) -> list[tuple[str, str]]:
    attribution = result.attribution
    meaning = f": {result.rule.meaning}" if result.rule else ""
    blamed = "; ".join(f"{blame.node}: {cut(blame.evidence)}" for blame in attribution.blamed)
    rows = [
        ("cause", f"{attribution.category.value}: {attribution.category.meaning}"),
        ("what to do", what_to_do(result)),
        ("confidence", CONFIDENCE[attribution.confidence]),
        ("state", state_text(result)),
        ("exit code", result.exit_status or "not known"),
        ("nodes", ", ".join(result.known.exit.nodes) or "not known"),
        ("to blame", blamed or "no node"),
        ("rule", attribution.rule + meaning),
        ("judged from", judged_from(result)),
    ]
    rows += [("not read", f"{scan.path}: {scan.error}") for scan in result.scans if scan.error]
    return rows + [("note", note) for note in result.notes if note != NO_FAILURE]


def _table(rows: list[tuple[str, str]]) -> list[str]:
    body = [f"| {label} | {_plain(text)} |" for label, text in rows]
    return ["| | |", "|---|---|", *body]


def _evidence(result: Classified) -> list[str]:
    root = result.attribution.root_cause
    if root is None:
        inferred = result.inferred
        if inferred is None:
            return [f"Evidence: {NO_LINE if result.scans else NO_LOG}."]
        line = inferred.finding
        root = RootCause(line=line.line, text=line.text, file=line.file or None)
    context = context_of(root) or [(root.line, root.text)]
    width = len(str(context[-1][0]))
    shown = [
        f"{'>' if number == root.line else ' '} {number:>{width}} | {cut(text)}"
        for number, text in context
    ]
    return [f"Evidence, {_plain(place_of(root))}:", "", *_code(shown)]


def _other_lines(result: Classified) -> list[str]:
    several = len(result.scans) > 1
    first = {finding.rule: finding for finding in reversed(result.attribution.secondary)}
    found = sorted(first.values(), key=lambda finding: (finding.file, finding.line))[:_MAX_OTHERS]
    return [
        escape_controls(f"{line.file}:{line.line}" if several else f"{line.line}")
        + f": {cut(line.text)}"
        for line in found
    ]


def _code(lines: list[str]) -> list[str]:
    """Return a code block with a fence that is longer than any run of backticks inside."""
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(_MIN_FENCE, longest + 1)
    return [f"{fence}text", *lines, fence]


def _plain(text: str) -> str:
    """Return text on one line without any markup, link, mention or HTML."""
    escaped = _MARKUP.sub(r"\\\1", escape_controls(text))
    # A backslash prevents neither mentions nor automatic links everywhere; entities do.
    escaped = escaped.replace("\\@", "&#64;").replace("\\:", ":").replace("\\-", "-")
    return escaped.replace("://", ":&#47;&#47;").replace("www.", "www&#46;")
