"""The --site option: the path of the site's settings."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from slurm_restart.control.site import Site, load_site
from slurm_restart.trainer.site_file import DEFAULT_PATH, VARIABLE, site_path


def site_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option --site; its parameter is `site_path`."""
    return click.option(
        "--site",
        "site_path",
        type=click.Path(path_type=Path),
        default=lambda: site_path(os.environ),
        show_default=f"${VARIABLE}, else {DEFAULT_PATH}",
        help="The site's settings file.",
    )(command)


def site_or_defaults(path: Path) -> Site:
    """Return the site's settings, or the defaults if there is no such file, as on a login node."""
    return load_site(path) if path.exists() else Site()
