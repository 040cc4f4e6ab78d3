"""The settings of a run that a person can change after it was submitted."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from slurm_restart.core.job_comment import MAX_NODES, MAX_RESTARTS, MAX_SECONDS, CommentRecord
from slurm_restart.errors import UsageError
from slurm_restart.trainer.duration import EXPECTED, parse_duration
from slurm_restart.trainer.run_plan import RunPlan

DEFAULT = "default"
"""The value that gives a setting back to the site."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting: its name in `autorestart`, and how its value reaches the comment record."""

    name: str
    field: str
    """Of `CommentRecord`."""
    read: Callable[[str], int]
    expected: str
    meaning: str
    optional: bool = True
    """Whether it has a default of the site's."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A setting with its new value; None: the site's default."""

    setting: Setting
    value: int | None


def _number(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or not low <= int(text[:16]) <= high:
            raise ValueError(text)
        return int(text)

    return read


def _count(name: str, field: str, low: int, high: int, meaning: str, **more: Any) -> Setting:
    expected = f"a whole number from {low} to {high}"
    return Setting(
        name=name, field=field, read=_number(low, high), expected=expected, meaning=meaning, **more
    )


def _time(name: str, field: str, meaning: str) -> Setting:
    return Setting(name=name, field=field, read=parse_duration, expected=EXPECTED, meaning=meaning)


SETTINGS = (
    _count(
        "max_num_restarts",
        "max_restarts",
        0,
        MAX_RESTARTS,
        "restarts in a row without a new checkpoint",
        optional=False,
    ),
    _count("min_num_csx", "min_nodes", 1, MAX_NODES, "CSX systems at least", optional=False),
    _count("min_nodes", "min_nodes", 1, MAX_NODES, "nodes at least", optional=False),
    _count(
        "stop_on_repeat",
        "stop_on_repeat",
        0,
        MAX_RESTARTS,
        "ends in a row with the same cause at the same step that end the run; 0: any number",
    ),
    _time("shrink_after", "shrink_after", "wait for nodes before it restarts with fewer"),
    _time("give_up_after", "give_up_after", "wait for nodes before it is cancelled"),
    _time("exclude_for", "exclude_for", "how long a node is excluded that is to blame from now on"),
)
_BY_NAME = {setting.name: setting for setting in SETTINGS} | {"max_restarts": SETTINGS[0]}


def parse_assignments(texts: Iterable[str]) -> tuple[Assignment, ...]:
    """Return the assignments of `name=value` texts.

    Raises:
        UsageError: an unknown name, a wrong value, or two values for one setting.
    """
    found: dict[str, Assignment] = {}
    for text in texts:
        assignment = _parse(text)
        field = assignment.setting.field
        if field in found:
            raise UsageError(f"{text}: {found[field].setting.name} sets the same")
        found[field] = assignment
    return tuple(found.values())


def _parse(text: str) -> Assignment:
    name, equals, value = text.partition("=")
    setting = _BY_NAME.get(name.strip().replace("-", "_"))
    if not equals or setting is None:
        names = ", ".join(each.name for each in SETTINGS)
        raise UsageError(f"{text!r}: expected NAME=VALUE with one of the names {names}")
    value = value.strip()
    if value == DEFAULT and setting.optional:
        return Assignment(setting=setting, value=None)
    try:
        number = setting.read(value)
    except ValueError:
        other = f", or {DEFAULT}" if setting.optional else ""
        raise UsageError(
            f"{setting.name}: expected {setting.expected}{other}, got {value!r}"
        ) from None
    return Assignment(setting=setting, value=min(number, MAX_SECONDS))


def apply(
    assignments: Iterable[Assignment], record: CommentRecord, plan: RunPlan | None
) -> CommentRecord:
    """Return the record with new values.

    Args:
        assignments: the settings.
        record: the job's comment record now.
        plan: the phase as it was submitted; None: not known.

    Raises:
        UsageError: the run cannot have that size.
    """
    for assignment in assignments:
        value = assignment.value
        if assignment.setting.field == "min_nodes" and value is not None:
            value = _min_nodes(assignment.setting.name, value, record, plan)
        changed: dict[str, Any] = {assignment.setting.field: value}
        record = replace(record, **changed)
    return record


def _min_nodes(name: str, value: int, record: CommentRecord, plan: RunPlan | None) -> int:
    """Return the number of nodes for the least size, in nodes or in CSX systems."""
    nodes, per_node, unit = value, 1, "nodes"
    if name == "min_num_csx":
        if plan is None:
            raise UsageError(
                f"{name}: the run's plan.json cannot be read here, which has the CSX systems of a "
                "node: set min_nodes"
            )
        per_node, unit = plan.csx_per_node, "CSX systems"
        nodes = -(-value // per_node)
    if nodes > record.num_nodes:
        most = record.num_nodes * per_node
        raise UsageError(f"{name}: expected at most the {most} {unit} of the run, got {value}")
    smallest = record.min_nodes if plan is None else min(record.min_nodes, plan.min_nodes)
    fixed = record.fixed_size or smallest == record.num_nodes
    if fixed and nodes < record.num_nodes:
        raise UsageError(
            f"{name}: expected {record.num_nodes * per_node} {unit}, got {value}: the job was "
            "submitted with one size, so that its options may not hold for fewer nodes; "
            "resubmit it with the least number wanted"
        )
    return nodes
