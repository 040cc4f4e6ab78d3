"""`csx-restart reconcile`: one sweep over all managed jobs, or one every few seconds."""

import json
import time
from dataclasses import asdict
from pathlib import Path

import click

from slurm_restart.cli.site import site_option
from slurm_restart.control.controller import Controller, commands_for
from slurm_restart.control.reconcile import Sweep, sweep
from slurm_restart.control.site import load_site
from slurm_restart.errors import SlurmUnavailableError


@click.command()
@site_option
@click.option(
    "--every",
    metavar="SECONDS",
    type=click.FloatRange(min=0.2),
    help="Go on, with a sweep every SECONDS.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what a sweep did as JSON.")
def command(site_path: Path, every: float | None, as_json: bool) -> None:  # noqa: FBT001 - a flag
    """Verify decisions, fit pending jobs to today's nodes, and find ends that no hook judged.

    It runs as SlurmUser, by a timer (contrib/systemd) or with --every.
    """
    site = load_site(site_path)
    slurm = commands_for(site)
    controller: Controller | None = None
    while True:
        try:
            if controller is None:
                controller = Controller(slurm=slurm, site=site, cluster=slurm.cluster_name())
            _tell(sweep(controller), as_json=as_json)
        except SlurmUnavailableError as error:
            if every is None:
                raise
            click.echo(f"csx-restart: {error}", err=True)
        if every is None:
            return
        time.sleep(every)


def _tell(result: Sweep, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(result)))
    else:
        click.echo(", ".join(f"{name} {value}" for name, value in asdict(result).items()))
