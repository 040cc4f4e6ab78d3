"""Where the site's settings are, and how their TOML is read."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slurm_restart.errors import ConfigError
from slurm_restart.safe_files import read_bounded

DEFAULT_PATH = Path("/etc/slurm_restart/site.toml")
VARIABLE = "CSX_RESTART_SITE"
"""In the environment: another path."""
MAX_BYTES = 1 << 20


def site_path(environ: Mapping[str, str]) -> Path:
    """Return the path of the site's settings."""
    return Path(environ.get(VARIABLE) or DEFAULT_PATH)


def read_toml(path: Path) -> tuple[str, dict[str, Any]] | None:
    """Return the text of a TOML file and its values; None: there is no such file.

    Raises:
        ConfigError: it cannot be read, or is not TOML.
    """
    try:
        text = read_bounded(path, MAX_BYTES).decode()
        return text, tomllib.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError, RecursionError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(str(path), [f"{path}: {error}"]) from error
