import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from slurm_restart.control.site import HookLimits, Site
from slurm_restart.core.restart_limits import SitePolicy
from slurm_restart.trainer.launch import PLACEHOLDERS
from slurm_restart.trainer.phases import AUTORESTART_KEYS
from slurm_restart.trainer.settings import KEYS

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "configuration.md").read_text()


def test_the_page_names_every_key():
    named = {"observe", "limits", "policy", "systems"}
    controller = {item.name for item in fields(Site)} - named
    keys = [
        *KEYS,
        *(f"autorestart.{key}" for key in AUTORESTART_KEYS),
        *controller,
        "systems.NAME",
        *(f"policy.{item.name}" for item in fields(SitePolicy)),
        *(f"hook.{item.name}" for item in fields(HookLimits)),
    ]
    assert [key for key in keys if f"`{key}`" not in PAGE] == []
    assert [name for name in PLACEHOLDERS if f"`{{{name}}}`" not in PAGE] == []


@pytest.mark.parametrize("table", [SitePolicy, HookLimits])
def test_the_defaults_of_the_page_are_those_of_the_code(table):
    name = {SitePolicy: "policy", HookLimits: "hook"}[table]
    shown = dict(
        re.findall(rf"^\| `{name}\.(\w+)` \| [^|]+ \| `?([^|`]+)`? \|", PAGE, re.MULTILINE)
    )
    expected = {item.name: getattr(table(), item.name) for item in fields(table)}
    known = {key: json.loads(shown[key]) for key in expected}
    assert known == {
        key: list(value) if isinstance(value, tuple) else value for key, value in expected.items()
    }
