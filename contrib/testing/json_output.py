"""Check what commands print with --json against the published schemas."""

import json
from pathlib import Path
from typing import Any

import jsonschema

SCHEMAS = Path(__file__).parents[2] / "docs" / "reference" / "schemas"


def validate_json(command: str, data: Any) -> None:
    """Raise ValidationError if the output of `csx-restart COMMAND --json` is not as published."""
    jsonschema.validate(data, json.loads((SCHEMAS / f"{command}.json").read_text()))
