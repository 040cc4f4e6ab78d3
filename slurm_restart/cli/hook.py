"""`csx-restart hook`: print the EpilogSlurmctld hook for this installation."""

from pathlib import Path

import click

from slurm_restart.control.hook_script import hook_text
from slurm_restart.control.site import load_site
from slurm_restart.core.printable import escape_controls
from slurm_restart.errors import UsageError
from slurm_restart.trainer.site_file import DEFAULT_PATH


@click.command()
@click.option(
    "--site",
    type=click.Path(path_type=Path),
    default=DEFAULT_PATH,
    show_default=True,
    help="The site's settings file.",
)
@click.option(
    "--former",
    type=click.Path(path_type=Path),
    help="The site's present EpilogSlurmctld: it is run for every job, before this one.",
)
def command(site: Path, former: Path | None) -> None:
    """Print the EpilogSlurmctld hook with the paths of this installation filled in.

    \b
    Install it with:
      csx-restart hook > /etc/slurm_restart/csx-epilog
      chmod 755 /etc/slurm_restart/csx-epilog
    and the line EpilogSlurmctld=/etc/slurm_restart/csx-epilog in slurm.conf.

    Print and install it again after a change of the site's settings: it holds some of them, such
    as the state directory and the time limits, for the case that Python cannot start.
    """  # noqa: D301 - the backspace is click's mark for lines that stay as they are
    for path in (site, former):
        if path is not None and not path.is_absolute():
            raise UsageError(f"{path}: expected an absolute path, slurmctld gives the hook no PATH")
        if path is not None and escape_controls(path) != str(path):
            raise UsageError(f"{path}: expected a path without control characters")
    click.echo(hook_text(site, load_site(site), former=former), nl=False)
