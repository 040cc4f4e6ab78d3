"""The hook as a site installs it: the shell front with the interpreter and settings filled in."""

import shlex
import sys
from pathlib import Path

from slurm_restart.errors import CsxError

_SHARE = Path(__file__).resolve().parent.parent / "share"
_CHECKOUT = Path(__file__).resolve().parents[2] / "contrib"


def hook_text(site: Path, *, former: Path | None = None, python: Path | None = None) -> str:
    """The text of csx-epilog for this installation.

    Args:
        site: the site's settings file.
        former: the site's own EpilogSlurmctld, run for every job before ours.
        python: the interpreter that has this package; this one by default.

    Raises:
        CsxError: the installation lacks the hook.
    """
    places = (_SHARE / "csx-epilog", _CHECKOUT / "csx-epilog")
    place = next((one for one in places if one.is_file()), None)
    if place is None:
        raise CsxError(f"{places[0]}: the hook is missing from this installation: install it anew")
    values = {
        "@PYTHON@": str(python or sys.executable),
        "@SITE@": str(site),
        "@FORMER@": "" if former is None else str(former),
    }
    text = place.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(name, shlex.quote(value))
    return text
