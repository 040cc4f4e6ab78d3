"""The hook script that a site installs: csx-epilog with interpreter and settings filled in."""

import math
import re
import shlex
import sys
from pathlib import Path

from slurm_restart import __version__
from slurm_restart.control.site import HookLimits, Site
from slurm_restart.core.slurm_operations import JUDGED_LATER, LATE_BEGIN
from slurm_restart.errors import CsxError
from slurm_restart.safe_files import read_bounded

_MAX_BYTES = 1 << 20
_SHARE = Path(__file__).resolve().parent.parent / "share"
_CHECKOUT = Path(__file__).resolve().parents[2] / "contrib"
_LOCKS = 15.0
"""Seconds that csx-epilog waits for two locks before it requeues a job itself."""
_LOOK = 5.0
"""Seconds at most between two looks of a process that waits. In a storm of 500 ends hundreds wait,
and each look starts one flock(1)."""
_SLICE = 10.0
"""Seconds beyond two deadlines that a process may live: it may begin another end late."""


def share(name: str) -> Path:
    """Return the path of a file or a directory of contrib, which the package brings along.

    Raises:
        CsxError: the installation lacks it.
    """
    paths = (_SHARE / name, _CHECKOUT / name)
    found = next((path for path in paths if path.exists()), None)
    if found is None:
        raise CsxError(f"{paths[0]}: missing from this installation: install the package again")
    return found


def hook_text(
    site: Path,
    settings: Site | None = None,
    *,
    former: Path | None = None,
    python: Path | None = None,
) -> str:
    """Return the text of csx-epilog for this installation.

    Args:
        site: the site's settings file.
        settings: its content; None: the defaults.
        former: the site's own EpilogSlurmctld, run for every job before this one.
        python: the interpreter that has this package; this one by default.

    Raises:
        CsxError: the installation lacks the template of the script.
    """
    template = share("csx-epilog")
    settings = settings or Site()
    limits = settings.limits
    looks = math.ceil(limits.queue_timeout / _LOOK)
    values = {
        "PYTHON": str(python or sys.executable),
        "SITE": str(site),
        "FORMER": "" if former is None else str(former),
        "STATE": str(settings.state_dir),
        "SLURM_BIN": str(settings.slurm_bin),
        "SLURM_CONF": str(settings.slurm_conf),
        "SLOTS": str(limits.concurrency),
        "TURN": f"{limits.queue_timeout:g}",
        "LOOK": f"{limits.queue_timeout / looks:g}",
        "LOOKS": str(looks),
        "JUDGE": f"{_judgement_limit(limits):g}",
        "COMMAND": f"{limits.command_timeout:g}",
        "FORMER_TIME": f"{limits.deadline:g}",
        "CAP": str(restart_cap(settings)),
        "LATE": JUDGED_LATER,
        "LATE_BEGIN": str(LATE_BEGIN),
    }
    text = read_bounded(template, _MAX_BYTES).decode().replace("@VERSION@", __version__)
    return re.sub(r"@([A-Z_]+)@", lambda match: shlex.quote(values[match[1]]), text)


def _judgement_limit(limits: HookLimits) -> float:
    return 2 * limits.deadline + _SLICE


def longest_hook(limits: HookLimits, *, former: bool = False) -> float:
    """Return how many seconds the hook may take in the worst case; Slurm must not end it before."""
    requeue = _LOCKS + 4 * limits.command_timeout
    return limits.queue_timeout + _judgement_limit(limits) + requeue + former * limits.deadline


def restart_cap(settings: Site) -> int:
    """Return the restart count from which on the script itself requeues no job any more.

    Slurm's count contains restarts that are not counted as the run's, such as preemptions.
    """
    return settings.policy.max_total_restarts + settings.policy.max_uncounted_restarts
