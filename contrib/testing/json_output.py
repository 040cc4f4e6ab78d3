"""Check what commands print with --json against the published schemas."""

import json
from pathlib import Path
from typing import Any

import jsonschema

SCHEMAS = Path(__file__).parents[2] / "docs" / "reference" / "schemas"


def validate_json(name: str, data: Any) -> None:
    """Raise ValidationError unless what a command prints with --json is as schema `name` says."""
    jsonschema.validate(data, json.loads((SCHEMAS / f"{name}.json").read_text()))


def read_json(name: str, text: str) -> Any:
    """Return what a command prints with --json.

    Raises:
        ValidationError: it is not as schema `name` says.
    """
    data = json.loads(text)
    validate_json(name, data)
    return data
