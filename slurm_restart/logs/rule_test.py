"""Which rule judges a line, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

from slurm_restart.core.finding import Role
from slurm_restart.logs.lines import readable, split_label
from slurm_restart.logs.rule import LogRule, matches
from slurm_restart.logs.rule_matcher import RuleMatcher
from slurm_restart.logs.timestamps import logged_at


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleTest:
    """What becomes of a line. `text` is what the patterns see, without `label`, time and level."""

    line: str
    label: str
    text: str
    at: float | None
    progress: bool
    rule: LogRule | None
    nodes: tuple[str, ...]
    others: tuple[LogRule, ...]
    """Rules behind it that match as well."""


def explain_line(line: str, rules: Sequence[LogRule]) -> RuleTest:
    """Judge one line by itself: tracebacks and what follows are not seen."""
    shown = readable(line.encode())
    label, body = split_label(shown)
    text = body.strip()
    engine = RuleMatcher(rules)
    hit = engine.match(text)
    rule = hit.rule if hit else None
    return RuleTest(
        line=line,
        label=label,
        text=text,
        at=logged_at(shown),
        progress=engine.is_progress(text),
        rule=rule,
        nodes=hit.nodes if hit else (),
        others=tuple(
            one
            for one in rules
            if one is not rule and one.role is not Role.PROGRESS and matches(one.pattern, shown)
        ),
    )
