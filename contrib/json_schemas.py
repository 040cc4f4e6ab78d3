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
from slurm_restart.core.end_report import EndReport, NextAttempt
from slurm_restart.core.node_summary import NodeSummary

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


def _jobs(kind: type) -> dict[str, Any]:
    return object_of({"jobs": array_of(schema_of(kind))})


SCHEMAS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "list": ("csx-restart list --json", array_of(schema_of(RunRow))),
    "nodes": ("csx-restart nodes --json", array_of(schema_of(NodeSummary))),
    "status": ("csx-restart status TARGET --json", schema_of(RunStatus)),
    "explain": ("csx-restart explain TARGET --json", _explain()),
    "log": ("a line of csx-restart log TARGET --json", schema_of(LogLine)),
    "stop": ("csx-restart stop RUN --json", _jobs(Outcome)),
    "set": ("csx-restart set RUN --json", _jobs(Outcome)),
    "release": ("csx-restart release RUN --json", _jobs(Outcome)),
    "resume": ("csx-restart resume RUN --json", _jobs(ResumedJob)),
    "reconcile": ("csx-restart reconcile --json", schema_of(Sweep)),
    "install": ("csx-restart install --json", array_of(_install())),
    "doctor": ("csx-restart doctor --json", _doctor()),
}
"""Name of the file: what prints it, and the schema."""


def text_of(name: str) -> str:
    """Return the content of a schema's file."""
    title, schema = SCHEMAS[name]
    return json.dumps({"$schema": DRAFT, "title": title} | schema, indent=2) + "\n"


def names() -> Sequence[str]:
    """Return the names of all schemas."""
    return tuple(SCHEMAS)
