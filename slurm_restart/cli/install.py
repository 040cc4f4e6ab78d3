"""`csx-restart install`: print what an installation needs on this machine, or check it."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from slurm_restart import __version__
from slurm_restart.cli.options import json_option
from slurm_restart.cli.site import site_option
from slurm_restart.control.installation.machine import Machine, look
from slurm_restart.control.installation.part import Part, State
from slurm_restart.control.installation.plan import parts
from slurm_restart.core.printable import escape_controls

_MARKS = {State.PRESENT: "ok     ", State.MISSING: "MISSING", State.DIFFERS: "DIFFERS"}

_OTHERS = "the package and its commands are enough here; a login node may have the same site.toml"


@click.command()
@click.option("--print", "as_script", is_flag=True, help="Print a shell script (the default).")
@click.option("--check", is_flag=True, help="Compare with what is there.")
@click.option(
    "--controller", is_flag=True, help="slurmctld runs here, whatever the name of this host is."
)
@site_option
@json_option
def command(
    as_script: bool,  # noqa: FBT001 - a flag
    check: bool,  # noqa: FBT001 - a flag
    controller: bool,  # noqa: FBT001 - a flag
    site_path: Path,
    as_json: bool,  # noqa: FBT001 - a flag
) -> int:
    """Print what an installation on this host needs, and where; change nothing.

    On the controller, where SlurmctldHost of slurm.conf names this host, that is all; on other
    hosts the package and its commands.

    With --print a shell script for root: what is there already stands in it as a comment. After it
    has run, `csx-restart doctor` finds no problem. With --check one line for each part.

    Exit codes: 0 printed, or all parts are there; 1 --check has found that one is missing or
    differs; 75 neither slurmctld nor slurm.conf can be asked.
    """
    if as_script and check:
        raise click.UsageError("give --print or --check, not both")
    machine = look(site_path.absolute())
    controller = controller or machine.is_controller
    found = parts(machine, controller=controller)
    if not controller:
        hosts = ", ".join(machine.controllers)
        click.echo(f"csx-restart: no controller (SlurmctldHost: {hosts}): {_OTHERS}", err=True)
    if as_json:
        click.echo(json.dumps([data(part) for part in found], indent=2))
    elif check:
        _report(found)
    else:
        click.echo(script(machine, found))
    return int(check and any(part.state is not State.PRESENT for part in found))


def data(part: Part) -> dict[str, object]:
    """Return a part as the values of JSON."""
    return {
        "id": part.id,
        "what": part.what,
        "path": str(part.path),
        "state": part.state.value,
        "found": part.found,
        "owner": part.owner,
        "mode": None if part.mode is None else f"{part.mode:04o}",
        "commands": list(part.commands),
    }


def _report(found: Sequence[Part]) -> None:
    for part in found:
        click.echo(f"{_MARKS[part.state]}  {part.id}: {escape_controls(part.found)}")
    numbers = Counter(part.state for part in found)
    click.echo(", ".join(f"{numbers[state]} {state.value}" for state in State))
    if any(part.commands for part in found):
        click.echo("csx-restart install --print shows what to do")


def script(machine: Machine, found: Sequence[Part]) -> str:
    """Return the shell script that puts the missing parts there."""
    user = machine.context.slurm_user.name
    runs = "systemd" if machine.systemd else "no systemd"
    lines = [
        f"# slurm_restart {__version__} on this host: SlurmUser is {user}, {runs}.",
        "# Read it, then run it as root: csx-restart install --print | sh -eu",
    ]
    for number, part in enumerate(found, start=1):
        rights = "" if part.owner is None else f" ({part.owner}, {part.mode or 0:04o})"
        lines += ["", f"# {number}. {part.id}: {escape_controls(part.what)}"]
        lines.append(f"#    {part.path}{rights}: {part.state.value}: {escape_controls(part.found)}")
        lines += part.commands
    check = str(machine.command)
    return "\n".join([*lines, "", "# Then, as root:", f"# {check} doctor"])
