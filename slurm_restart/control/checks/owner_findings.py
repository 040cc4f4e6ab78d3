"""The findings about who can replace a file that runs, or is read, as SlurmUser."""

from collections.abc import Iterable
from pathlib import Path

from slurm_restart.control.checks.context import Context
from slurm_restart.control.checks.path_owners import weak_places
from slurm_restart.control.checks.result import Finding, ok, problem


def owner_findings(path: Path, context: Context, what: str) -> Iterable[Finding]:
    """Return a problem for each place in a path that other users can change; otherwise one OK.

    Args:
        path: an absolute path.
        context: the installation; root and its SlurmUser may change the path.
        what: what the path is, for the message: `the hook`.

    Raises:
        OSError: a part of the path does not exist, or may not be examined.
    """
    weak = weak_places(path, context.trusted)
    for place in weak:
        yield problem(
            f"{place}, so that others than root and SlurmUser can replace {what}",
            f"chown root {place.path}; chmod go-w {place.path}",
        )
    if not weak:
        yield ok(f"only root and {context.slurm_user.name} can replace {path}")
