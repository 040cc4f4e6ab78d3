"""JSON schemas of what commands print with --json, drawn from the dataclasses that they print."""

import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

from slurm_restart.cli.resume import ResumedJob
from slurm_restart.cli.run_log import LogLine
from slurm_restart.cli.run_rows import RunRow
from slurm_restart.cli.run_status import RunStatus
from slurm_restart.cli.steer import Outcome
from slurm_restart.control.installation.part import Part, State
from slurm_restart.control.reconcile import Sweep
from slurm_restart.core.category import Category, Confidence, Restart
from slurm_restart.core.end_report import EndReport, NextAttempt, OtherNote
from slurm_restart.core.node_summary import NodeSummary
from slurm_restart.logs.lint import Linted

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_SCALARS: Mapping[Any, dict[str, str]] = {
    Any: {},
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    types.NoneType: {"type": "null"},
}


def schema_of(hint: Any) -> dict[str, Any]:
    """Return the schema of a value with this annotation, as `asdict` and JSON give it."""
    if hint in _SCALARS:
        return dict(_SCALARS[hint])
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"enum": [member.value for member in hint]}
    if isinstance(hint, type) and is_dataclass(hint):
        return object_of({field.name: _hints(hint)[field.name] for field in fields(hint)})
    kind, arguments = get_origin(hint), get_args(hint)
    if kind in (Union, types.UnionType):
        return {"anyOf": [schema_of(argument) for argument in arguments]}
    if kind is dict:
        return {"type": "object", "additionalProperties": schema_of(arguments[1])}
    if kind in (list, tuple):
        return array_of(schema_of(arguments[0]))
    raise NotImplementedError(f"no schema for {hint}")


def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def object_of(hints: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of an object with exactly these keys."""
    return {
        "type": "object",
        "properties": {
            name: hint if isinstance(hint, dict) else schema_of(hint)
            for name, hint in hints.items()
        },
        "required": list(hints),
        "additionalProperties": False,
    }


def array_of(items: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


def _explain() -> dict[str, Any]:
    end = _hints(EndReport) | {"timing": dict[str, float]}
    return object_of(
        {
            "job_id": int | None,
            "observed": bool,
            "run_dir": str | None,
            "source": str,
            "damaged_lines": list[int],
            "ends": array_of(object_of(end)),
            "notes": list[OtherNote],
            "next": NextAttempt | None,
            "attempts": list[dict[str, Any]],
            "problems": list[str],
        }
    )


def _install() -> dict[str, Any]:
    return object_of(_hints(Part) | {"path": str, "state": schema_of(State), "mode": str | None})


def _doctor() -> dict[str, Any]:
    level = {"enum": ["ok", "warning", "problem", "unknown"]}
    return array_of(object_of({"check": str, "level": level, "text": str, "remedy": str | None}))


def _status_runs() -> dict[str, Any]:
    words = dict.fromkeys(("name", "state", "reason", "unit", "run", "backend"), str)
    numbers = ("job_id", "phase", "nodes", "num_nodes", "spares", "min_nodes", "max_num_restarts")
    known = {"attempt": int | None, "step": int | None, "observed": bool}
    return array_of(object_of(words | dict.fromkeys(numbers, int) | known))


def _status_tasks() -> dict[str, Any]:
    numbers = ("task", "job_id", "attempt", "step", "restarts", "max_num_restarts")
    words = ("state", "reason", "last_end", "run_dir")
    known: dict[str, Any] = {"unit": str}
    optional = dict.fromkeys(numbers, int | None) | dict.fromkeys(words, str | None)
    return array_of(object_of(known | optional))


def _classify() -> dict[str, Any]:
    line = object_of({"file": str | None, "line": int, "text": str})
    named = object_of({"file": str | None, "line": int, "text": str, "rule": str})
    state = object_of({"value": str, "source": str | None, "line": _or_null(named)})
    finding = {"rule": str, "category": str, "role": str, "file": str | None, "line": int}
    scan = {"file": str, "lines": int, "bytes": int, "compression": str | None}
    return object_of(
        {
            "category": schema_of(Category),
            "meaning": str,
            "recoverable": bool,
            "restart": schema_of(Restart),
            "counts": bool,
            "confidence": schema_of(Confidence),
            "rule": str,
            "rule_meaning": str | None,
            "remedy": str | None,
            "root_cause": _or_null(line),
            "blamed_nodes": list[str],
            "blame": array_of(object_of({"node": str, "evidence": str})),
            "reported": list[str],
            "secondary": array_of(object_of(finding | {"text": str})),
            "state": _or_null(state),
            "exit_code": str | None,
            "notes": list[str],
            "files": array_of(object_of(scan | {"error": str | None, "note": str | None})),
        }
    )


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, schema_of(types.NoneType)]}


def _rule() -> dict[str, Any]:
    words = dict.fromkeys(("id", "category", "role", "confidence", "meaning"), str)
    lists = dict.fromkeys(("speakers", "sources", "positive", "negative"), list[str])
    known = {"remedy": str | None, "blame": str | None, "pattern": str, "origin": str}
    return object_of(words | lists | known)


def _rule_test() -> dict[str, Any]:
    words = dict.fromkeys(("line", "label", "text", "speaker"), str)
    optional = dict.fromkeys(("host", "rule", "category", "role"), str | None)
    known = {"logged_at": float | None, "progress": bool, "nodes": list[str], "others": list[str]}
    return object_of(words | optional | known)


def _sbatch(phase: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of csx-sbatch; `plan` is the content of plan.json."""
    return object_of(
        {
            "run": str,
            "phases": array_of(object_of({"phase": int, "plan": dict[str, Any]} | dict(phase))),
            "observes": bool | None,
            "warnings": list[str],
            "notes": list[str],
        }
    )


def _jobs(kind: type) -> dict[str, Any]:
    return object_of({"jobs": array_of(schema_of(kind))})


SCHEMAS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "list": ("csx-restart list --json", array_of(schema_of(RunRow))),
    "nodes": ("csx-restart nodes --json", array_of(schema_of(NodeSummary))),
    "status": ("csx-restart status TARGET --json", schema_of(RunStatus)),
    "status-runs": ("csx-restart status --json", _status_runs()),
    "status-tasks": ("csx-restart status ARRAY --json", _status_tasks()),
    "explain": ("csx-restart explain TARGET --json", _explain()),
    "log": ("a line of csx-restart log TARGET --json", schema_of(LogLine)),
    "stop": ("csx-restart stop RUN --json", _jobs(Outcome)),
    "set": ("csx-restart set RUN --json", _jobs(Outcome)),
    "release": ("csx-restart release RUN --json", _jobs(Outcome)),
    "resume": ("csx-restart resume RUN --json", _jobs(ResumedJob)),
    "classify": ("csx-restart classify --json", _classify()),
    "rules-list": ("csx-restart rules list --json", array_of(_rule())),
    "rules-show": ("csx-restart rules show ID --json", _rule()),
    "rules-test": ("csx-restart rules test LINE --json", array_of(_rule_test())),
    "rules-lint": ("csx-restart rules lint --json", schema_of(Linted)),
    "csx-sbatch": ("csx-sbatch --json", _sbatch({"job_id": str, "run_dir": str})),
    "csx-sbatch-print": (
        "csx-sbatch --print --json",
        _sbatch({"sbatch": list[str], "script": str}),
    ),
    "csx-sbatch-test-only": ("csx-sbatch --test-only --json", _sbatch({"answer": str})),
    "reconcile": ("csx-restart reconcile --json", schema_of(Sweep)),
    "install": ("csx-restart install --json", array_of(_install())),
    "doctor": ("csx-restart doctor --json", _doctor()),
}
"""Name of the file: what prints it, and the schema.

The file of a subcommand is named after it, with `-` for each blank.
"""


def text_of(name: str) -> str:
    """Return the content of a schema's file."""
    title, schema = SCHEMAS[name]
    return json.dumps({"$schema": DRAFT, "title": title} | schema, indent=2) + "\n"


def names() -> Sequence[str]:
    """Return the names of all schemas."""
    return tuple(SCHEMAS)
