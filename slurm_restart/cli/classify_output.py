"""What `csx-restart classify` prints: for people, and as JSON."""

import os
import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurm_restart.core.attribute_log import ExitFacts
from slurm_restart.core.attribution import Attribution
from slurm_restart.core.category import Confidence, Nodes, Restart
from slurm_restart.core.finding import Finding, Role
from slurm_restart.logs.excerpt import excerpt
from slurm_restart.logs.lines import readable
from slurm_restart.logs.log_files import FileScan
from slurm_restart.logs.rule import LogRule
from slurm_restart.logs.rules import RuleSet

WIDTH = 100
_LABEL = 13
_CONFIDENCE = {
    Confidence.CERTAIN: "certain",
    Confidence.LIKELY: "likely",
    Confidence.GUESS: "a guess: it blames no node and stops no run",
}
_RESTART = {
    Restart.YES: "restart",
    Restart.NO: "do not restart: it would end the same way",
    Restart.ONCE_PER_STEP: "restart, but once only for the same step",
    Restart.UNTIL_REPEATED: "restart, unless the same line repeats at the same step",
}


@dataclass(frozen=True, slots=True)
class Classified:
    """A judgement and what it was made from."""

    facts: ExitFacts
    attribution: Attribution
    scans: tuple[FileScan, ...]
    rules: RuleSet

    @property
    def rule(self) -> LogRule | None:
        """The log rule that decided; None where Slurm's facts or the exit code did."""
        root = self.attribution.rule
        return next((rule for rule in self.rules.rules if rule.id == root), None)

    @property
    def remedy(self) -> str | None:
        """What the user can do."""
        return self.rule.remedy if self.rule else None

    def data(self) -> dict[str, Any]:
        """For scripts."""
        it = self.attribution
        root = it.root_cause
        return {
            "category": it.category.value,
            "meaning": it.category.meaning,
            "recoverable": it.recoverable,
            "restart": it.category.restart.value,
            "counts": it.counts,
            "confidence": it.confidence.value,
            "rule": it.rule,
            "rule_meaning": self.rule.meaning if self.rule else None,
            "remedy": self.remedy,
            "root_cause": None
            if root is None
            else {"file": root.file, "line": root.line, "text": root.text},
            "blamed_nodes": [blame.node for blame in it.blamed],
            "blame": [{"node": one.node, "evidence": one.evidence} for one in it.blamed],
            "reported": list(it.reported),
            "secondary": [_secondary(one) for one in it.secondary],
            "files": [
                {"file": one.path, "lines": one.lines, "bytes": one.size, "error": one.error}
                for one in self.scans
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
    """For people."""
    it = result.attribution
    lines = [
        *_row("category", f"{it.category.value}: {it.category.meaning}"),
        *_row("what to do", _what_to_do(result)),
        *_row("confidence", _CONFIDENCE[it.confidence]),
        *_row("rule", it.rule + (f": {result.rule.meaning}" if result.rule else "")),
        *_root(result),
        *_blame(it),
        *_aside(it, several=len(result.scans) > 1),
        *_sources(result),
    ]
    return "\n".join(lines)


def _row(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"{label:<{_LABEL}}",
        subsequent_indent=" " * _LABEL,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [label]


def _what_to_do(result: Classified) -> str:
    it = result.attribution
    text = _RESTART[it.category.restart]
    if it.category.value == "completed":
        text = "nothing"
    elif it.recoverable and not it.counts:
        text += " (not counted)"
    if it.blamed and it.category.nodes is not Nodes.NONE:
        text += " without " + ", ".join(blame.node for blame in it.blamed)
    return f"{text}. {result.remedy}" if result.remedy else text


def _root(result: Classified) -> list[str]:
    root = result.attribution.root_cause
    if root is None:
        return _row("root cause", "no line of the log says why")
    place = f"{_name(root.file)}:{root.line}" if root.file else f"line {root.line}"
    rows = [f"{'root cause':<{_LABEL}}{place}"]
    context = _context(root.file, root.line)
    if not context:
        return [*rows, " " * _LABEL + _cut(root.text)]
    width = len(str(context[-1][0]))
    return rows + [
        f"  {'>' if number == root.line else ' '} {number:>{width}} | {_cut(text)}"
        for number, text in context
    ]


def _context(file: str | None, line: int) -> list[tuple[int, str]]:
    if file is None or file == "-":
        return []
    try:
        return excerpt(Path(file), line)
    except OSError:
        return []


def _name(path: str) -> str:
    """A file's name for a terminal."""
    return readable(os.fsencode(path))


def _cut(text: str) -> str:
    return text if len(text) <= 2 * WIDTH else text[: 2 * WIDTH] + " …"


def _blame(it: Attribution) -> list[str]:
    rows = [row for one in it.blamed for row in _row("to blame", f"{one.node}: {one.evidence}")]
    if not it.blamed:
        rows = _row("to blame", "no node: no line names a culprit")
    if it.reported:
        rows += _row("reported", ", ".join(it.reported) + " (no node of this job)")
    return rows


def _aside(it: Attribution, *, several: bool) -> list[str]:
    """What else was found, by rule: how often, and where first."""
    count = Counter((one.role, one.rule) for one in it.secondary)
    first: dict[tuple[Role, str], Finding] = {}
    for one in it.secondary:
        first.setdefault((one.role, one.rule), one)
    rows: list[str] = []
    for key, one in first.items():
        again = f" (and {count[key] - 1} more)" if count[key] > 1 else ""
        place = f"{_name(one.file)}:{one.line}" if several else f"line {one.line}"
        text = f"{one.role.value} {one.rule}{again}, {place}: {_cut(one.text)}"
        rows += _row("set aside" if not rows else "", text)
    return rows


def _sources(result: Classified) -> list[str]:
    facts = result.facts
    said = [f"state {facts.state.value}"] if facts.state else []
    if facts.exit_code is not None:
        said.append(f"exit code {facts.exit_code}:{facts.signal}")
    if facts.nodes:
        said.append(f"{len(facts.nodes)} nodes")
    good = [scan for scan in result.scans if not scan.error]
    size = sum(scan.size for scan in good)
    lines = sum(scan.lines for scan in good)
    count = f"{len(good)} files" if len(good) != 1 else "1 file"
    rows = _row("judged from", ", ".join([*said, f"{lines} lines in {count} ({size} bytes)"]))
    for scan in result.scans:
        if scan.error:
            rows += _row("not read", f"{_name(scan.path)}: {scan.error}")
    return rows
