"""The output of `csx-restart classify`, as text and as JSON."""

import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurm_restart.cli.classify_facts import KnownFacts
from slurm_restart.cli.terminal import output_width, wrap_lines
from slurm_restart.core.attribution import Attribution, RootCause
from slurm_restart.core.category import Confidence, Nodes, Restart
from slurm_restart.core.finding import Finding, Role
from slurm_restart.core.inferred_state import InferredState
from slurm_restart.core.printable import escape_controls
from slurm_restart.logs.compressed import CompressedError
from slurm_restart.logs.excerpt import excerpt
from slurm_restart.logs.log_files import FileScan
from slurm_restart.logs.rule import LogRule
from slurm_restart.logs.rules import RuleSet

WIDTH = 100
_LABEL = 13
CONFIDENCE = {
    Confidence.CERTAIN: "certain",
    Confidence.LIKELY: "likely",
    Confidence.GUESS: "a guess: too weak to blame a node or to stop a run",
}
_RESTART = {
    Restart.YES: "restart",
    Restart.NO: "do not restart: it would fail again",
    Restart.ONCE_PER_STEP: "restart, but only once at the same step",
    Restart.UNTIL_REPEATED: "restart, unless the same line repeats at the same step",
}
NO_LINE = "no line of the log shows the cause"
NO_LOG = "there is no log"
NO_FAILURE = "no failure found; give --state and --exit-code, or --job"
_NOTHING_KNOWN = "nothing.known"
"""The rule of an end of which neither the log nor Slurm says anything."""
_SOURCES = {"slurm": "from Slurm", "accounting": "from the accounting", "given": "as given"}


@dataclass(frozen=True, slots=True)
class Classified:
    """An attribution with the facts, scans and rules that it was made from."""

    known: KnownFacts
    attribution: Attribution
    scans: tuple[FileScan, ...]
    rules: RuleSet
    inferred: InferredState | None = None
    """The state that the log shows, where it is not known."""

    @property
    def rule(self) -> LogRule | None:
        """The log rule behind the attribution; None: Slurm's facts or the exit code decided."""
        root = self.attribution.rule
        return next((rule for rule in self.rules.rules if rule.id == root), None)

    @property
    def remedy(self) -> str | None:
        """Return the remedy of the rule, if it has one."""
        return self.rule.remedy if self.rule else None

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what a reader has to know besides: about the facts, and about incomplete logs."""
        nothing = (NO_FAILURE,) if self.attribution.rule == _NOTHING_KNOWN else ()
        parts = tuple(f"{scan.path}: {scan.note}" for scan in self.scans if scan.note)
        return (*nothing, *self.known.notes, *parts)

    @property
    def exit_status(self) -> str | None:
        """Return exit code and signal as sacct prints them; None: not known."""
        facts = self.known.exit
        return None if facts.exit_code is None else f"{facts.exit_code}:{facts.signal}"

    def _state(self) -> dict[str, Any] | None:
        state, inferred = self.known.exit.state, self.inferred
        if state is not None:
            return {"value": state.value, "source": self.known.source, "line": None}
        if inferred is None:
            return None
        line = inferred.finding
        return {
            "value": inferred.state.value,
            "source": "log",
            "line": {"file": line.file, "line": line.line, "text": line.text, "rule": line.rule},
        }

    def data(self) -> dict[str, Any]:
        """Return the JSON data."""
        attribution = self.attribution
        root = attribution.root_cause
        return {
            "category": attribution.category.value,
            "meaning": attribution.category.meaning,
            "recoverable": attribution.recoverable,
            "restart": attribution.restart.value,
            "counts": attribution.counts,
            "confidence": attribution.confidence.value,
            "rule": attribution.rule,
            "rule_meaning": self.rule.meaning if self.rule else None,
            "remedy": self.remedy,
            "root_cause": None
            if root is None
            else {"file": root.file, "line": root.line, "text": root.text},
            "blamed_nodes": [blame.node for blame in attribution.blamed],
            "blame": [
                {"node": blame.node, "evidence": blame.evidence} for blame in attribution.blamed
            ],
            "reported": list(attribution.reported),
            "secondary": [_secondary(finding) for finding in attribution.secondary],
            "state": self._state(),
            "exit_code": self.exit_status,
            "notes": list(self.notes),
            "files": [
                {
                    "file": scan.path,
                    "lines": scan.lines,
                    "bytes": scan.size,
                    "error": scan.error,
                    "compression": scan.compression,
                    "note": scan.note,
                }
                for scan in self.scans
            ],
        }


def _secondary(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "category": finding.category.value,
        "role": finding.role.value,
        "file": finding.file,
        "line": finding.line,
        "text": finding.text,
    }


def format_classified(result: Classified) -> str:
    """Return the text; control characters of logs, rules and paths are escaped."""
    attribution = result.attribution
    lines = [
        *_row("category", f"{attribution.category.value}: {attribution.category.meaning}"),
        *_row("what to do", what_to_do(result)),
        *_row("confidence", CONFIDENCE[attribution.confidence]),
        *_row("state", state_text(result)),
        *_row("rule", attribution.rule + (f": {result.rule.meaning}" if result.rule else "")),
        *_root(result),
        *_blame(attribution),
        *_secondary_rows(attribution, several=len(result.scans) > 1),
        *_sources(result),
    ]
    return "\n".join(lines)


def _row(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        escape_controls(text),
        min(WIDTH, output_width() or WIDTH),
        initial_indent=f"{label:<{_LABEL}}",
        subsequent_indent=" " * _LABEL,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [label]


def state_text(result: Classified) -> str:
    """Return the state and where it is from, with the line where it was inferred."""
    state, inferred = result.known.exit.state, result.inferred
    if state is not None:
        return f"{state.value}, {_SOURCES[result.known.source or 'given']}"
    if inferred is None:
        return "not known, and not in the log" if result.scans else "not known"
    line = inferred.finding
    place = f"{line.file}:{line.line}" if len(result.scans) > 1 else f"line {line.line}"
    return f"probably {inferred.state.value}, {place}: {cut(line.text)}"


def what_to_do(result: Classified) -> str:
    """Return whether to restart and on which nodes, with the rule's remedy."""
    attribution = result.attribution
    text = _RESTART[attribution.restart]
    if attribution.rule == _NOTHING_KNOWN:
        text = NO_FAILURE
    elif attribution.category.value == "completed":
        text = "nothing"
    elif attribution.recoverable and not attribution.counts:
        text += " (not counted)"
    if attribution.blamed and attribution.category.nodes is not Nodes.NONE:
        text += " without " + ", ".join(blame.node for blame in attribution.blamed)
    return f"{text}. {result.remedy}" if result.remedy else text


def _root(result: Classified) -> list[str]:
    root = result.attribution.root_cause
    if root is None:
        return _row("root cause", NO_LINE if result.scans else NO_LOG)
    place = place_of(root)
    rows = [f"{'root cause':<{_LABEL}}{escape_controls(place)}"]
    context = context_of(root)
    if not context:
        return rows + wrap_lines([" " * _LABEL + cut(root.text)], output_width(), _LABEL)
    width = len(str(context[-1][0]))
    lines = [
        f"  {'>' if number == root.line else ' '} {number:>{width}} | {cut(text)}"
        for number, text in context
    ]
    return rows + wrap_lines(lines, output_width(), len(f"  > {'':>{width}} | "))


def place_of(root: RootCause) -> str:
    """Return file and line of the root cause."""
    return f"{root.file}:{root.line}" if root.file else f"line {root.line}"


def context_of(root: RootCause) -> list[tuple[int, str]]:
    """Return the root-cause line with its neighbours; empty if they cannot be read again."""
    if root.file is None or root.file == "-":
        return []
    try:
        return excerpt(Path(root.file), root.line)
    except (OSError, CompressedError):
        return []


def cut(text: str) -> str:
    """Return a line of bounded length with its control characters escaped."""
    shown = escape_controls(text)
    return shown if len(shown) <= 2 * WIDTH else shown[: 2 * WIDTH] + " …"


def _blame(attribution: Attribution) -> list[str]:
    rows: list[str] = []
    for blame in attribution.blamed:
        rows += _row("to blame", f"{blame.node}: {blame.evidence}")
    if not attribution.blamed:
        rows = _row("to blame", "no node: no line names one")
    if attribution.reported:
        rows += _row("reported", ", ".join(attribution.reported) + " (not a node of this job)")
    return rows


def _secondary_rows(attribution: Attribution, *, several: bool) -> list[str]:
    """Return rows for the other findings by rule: their count and the first of each."""
    count = Counter((finding.role, finding.rule) for finding in attribution.secondary)
    first: dict[tuple[Role, str], Finding] = {}
    for finding in attribution.secondary:
        first.setdefault((finding.role, finding.rule), finding)
    rows: list[str] = []
    for key, finding in first.items():
        again = f" (and {count[key] - 1} more)" if count[key] > 1 else ""
        place = f"{finding.file}:{finding.line}" if several else f"line {finding.line}"
        text = f"{finding.role.value} {finding.rule}{again}, {place}: {cut(finding.text)}"
        rows += _row("other lines" if not rows else "", text)
    return rows


def judged_from(result: Classified) -> str:
    """Return what the answer rests on: facts, and how much of which logs."""
    facts = result.known.exit
    known = [f"state {facts.state.value}"] if facts.state else []
    if result.exit_status is not None:
        known.append(f"exit code {result.exit_status}")
    if facts.nodes:
        known.append(f"{len(facts.nodes)} nodes")
    read = [scan for scan in result.scans if not scan.error]
    if not read:
        return ", ".join([*known, "no log"])
    size = sum(scan.size for scan in read)
    lines = sum(scan.lines for scan in read)
    count = f"{len(read)} files" if len(read) != 1 else "1 file"
    kinds = sorted({scan.compression for scan in read if scan.compression})
    packed = f", {' and '.join(kinds)} decompressed" if kinds else ""
    return ", ".join([*known, f"{lines} lines in {count} ({size} bytes{packed})"])


def _sources(result: Classified) -> list[str]:
    rows = _row("judged from", judged_from(result))
    for scan in result.scans:
        if scan.error:
            rows += _row("not read", f"{scan.path}: {scan.error}")
    for note in result.notes:
        if note != NO_FAILURE:
            rows += _row("note", note)
    return rows
