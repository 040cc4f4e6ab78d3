"""The hook script that a site installs: csx-epilog with interpreter and settings filled in."""

import shlex
import sys
from pathlib import Path

from slurm_restart.errors import CsxError
from slurm_restart.safe_files import read_bounded

_MAX_BYTES = 1 << 20
_SHARE = Path(__file__).resolve().parent.parent / "share"
_CHECKOUT = Path(__file__).resolve().parents[2] / "contrib"


def hook_text(site: Path, *, former: Path | None = None, python: Path | None = None) -> str:
    """Return the text of csx-epilog for this installation.

    Args:
        site: the site's settings file.
        former: the site's own EpilogSlurmctld, run for every job before this one.
        python: the interpreter that has this package; this one by default.

    Raises:
        CsxError: the installation lacks the template of the script.
    """
    paths = (_SHARE / "csx-epilog", _CHECKOUT / "csx-epilog")
    template = next((path for path in paths if path.is_file()), None)
    if template is None:
        raise CsxError(f"{paths[0]}: missing from this installation: install the package again")
    values = {
        "@PYTHON@": str(python or sys.executable),
        "@SITE@": str(site),
        "@FORMER@": "" if former is None else str(former),
    }
    text = read_bounded(template, _MAX_BYTES).decode()
    for name, value in values.items():
        text = text.replace(name, shlex.quote(value))
    return text
