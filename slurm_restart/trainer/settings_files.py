"""Read layers of settings: the site's file, the user's, and the config's `slurm:` block."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slurm_restart.core.job_comment import MAX_RESTARTS
from slurm_restart.errors import ConfigError
from slurm_restart.frozen import frozen
from slurm_restart.trainer.config_checker import format_value
from slurm_restart.trainer.site_file import read_toml, site_path

if TYPE_CHECKING:
    # A batch script needs no YAML, and its import takes 25 ms.
    from slurm_restart.trainer.yaml_lines import Document

SLURM_KEY = "slurm"
"""The block of a trainer config, and the table of TOML files, with settings for submission."""
USER_PATH = "slurm_restart/user.toml"


@frozen
class SettingsLayer:
    """The settings of one file: numbers and times as text, flags and null converted."""

    values: Mapping[str, Any]
    where: Callable[[tuple[str, ...]], str]
    """Returns `FILE:LINE: key` of a key."""


def config_layer(document: "Document") -> SettingsLayer | None:
    """Return the `slurm:` block of a trainer config; None if there is none.

    Raises:
        ConfigError: it is not a mapping.
    """
    block = document.raw(SLURM_KEY)
    if block is None:
        return None
    if not isinstance(block, dict):
        problem = document.problem((SLURM_KEY,), f"expected a mapping, got {format_value(block)}")
        raise ConfigError(document.path, [problem])

    def where(keys: tuple[str, ...]) -> str:
        return document.problem((SLURM_KEY, *keys), "").removesuffix(": ")

    return SettingsLayer(values=block, where=where)


@frozen
class SiteFacts:
    """What the site's settings mean for a run; None: not given, or not on this host."""

    observes: bool | None = None
    """Whether the site only observes."""
    max_total_restarts: int | None = None
    max_uncounted_restarts: int | None = None


@frozen
class SettingsFiles:
    """What stands in the site's and the user's files."""

    layers: tuple[SettingsLayer, ...]
    """Settings for submission: the site's, then the user's; a missing file is left out."""
    site: SiteFacts


def read_settings_files(environ: Mapping[str, str]) -> SettingsFiles:
    """Return what stands in the site's and the user's files.

    Raises:
        ConfigError: a file that cannot be read, is not TOML, or has a `slurm` that is no table.
    """
    home = environ.get("XDG_CONFIG_HOME") or os.path.join(  # noqa: PTH118 - HOME may be empty
        environ.get("HOME", "/nonexistent"), ".config"
    )
    paths = (site_path(environ), Path(home) / USER_PATH)
    site, user = ((path, read_toml(path)) for path in paths)
    layers = [_toml_layer(path, *found) for path, found in (site, user) if found is not None]
    return SettingsFiles(
        layers=tuple(layer for layer in layers if layer is not None),
        site=SiteFacts() if site[1] is None else _site_facts(site[1][1]),
    )


def _site_facts(values: Mapping[str, Any]) -> SiteFacts:
    policy = values.get("policy")
    return SiteFacts(
        observes=values.get("mode") == "observe",
        max_total_restarts=_cap(policy, "max_total_restarts"),
        max_uncounted_restarts=_cap(policy, "max_uncounted_restarts"),
    )


def _cap(policy: Any, name: str) -> int | None:
    """Return a limit of the table `policy`, whose values the hook checks."""
    cap = policy.get(name) if isinstance(policy, dict) else None
    return min(cap, MAX_RESTARTS) if isinstance(cap, int) and cap >= 0 else None


def _toml_layer(path: Path, text: str, values: Mapping[str, Any]) -> SettingsLayer | None:
    block = values.get(SLURM_KEY)
    if block is None:
        return None
    if not isinstance(block, dict):
        raise ConfigError(str(path), [f"{path}: {SLURM_KEY}: expected a table"])

    def where(keys: tuple[str, ...]) -> str:
        return f"{path}{_toml_line(text, keys[-1])}: {'.'.join((SLURM_KEY, *keys))}"

    return SettingsLayer(values=_as_text(block), where=where)


def _toml_line(text: str, key: str) -> str:
    """Return `:LINE` of a key that is in one line only, else an empty text.

    tomllib gives no line numbers.
    """
    form = re.compile(rf'\s*(?:[\w.-]+\.)?"?{re.escape(key)}"?\s*=')
    lines = [number for number, line in enumerate(text.splitlines(), 1) if form.match(line)]
    return f":{lines[0]}" if len(lines) == 1 else ""


def _as_text(value: Any) -> Any:
    """Return TOML's values in the form of the YAML layer: numbers and times as text."""
    if isinstance(value, dict):
        return {key: _as_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_text(item) for item in value]
    return value if isinstance(value, bool) else str(value)
