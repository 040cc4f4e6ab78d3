"""`csx-restart reconcile`: sweep over all managed jobs, once or every few seconds."""

import json
import time
from dataclasses import asdict
from pathlib import Path

import click

from slurm_restart.cli.backend import backend_option
from slurm_restart.cli.site import site_option
from slurm_restart.control.check_owners import check_owners
from slurm_restart.control.controller import Controller
from slurm_restart.control.queue_worker import QueueWorker
from slurm_restart.control.reconcile import Sweep, sweep
from slurm_restart.control.site import Site, load_site
from slurm_restart.control.slurm_user import become_owner, check_slurm_user
from slurm_restart.core.printable import escape_controls
from slurm_restart.errors import SlurmUnavailableError
from slurm_restart.slurm.choose_backend import choose_backend

QUEUE_LIMIT = 60.0
"""Seconds for the ends that csx-epilog could not have judged, before a sweep."""


@click.command()
@site_option
@backend_option
@click.option(
    "--every",
    metavar="SECONDS",
    type=click.FloatRange(min=0.2),
    help="Repeat the sweep every SECONDS.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the counters of a sweep as JSON.")
def command(
    site_path: Path,
    backend: str,
    every: float | None,
    as_json: bool,  # noqa: FBT001 - a flag
) -> None:
    """Verify decisions, adjust pending jobs to the current nodes, and find ends missed by the hook.

    Run it as SlurmUser, by a timer (contrib/systemd) or with --every; root becomes SlurmUser, and
    any other user is refused. With --every, jobs and nodes are read with pyslurm where it is
    installed and of the cluster's release.
    """
    site = load_site(site_path)
    become_owner(site.state_dir, "csx-restart reconcile")
    check_owners(site.state_dir, _report)
    controller: Controller | None = None
    while True:
        try:
            if controller is None:
                controller = _controller(site, backend, long_lived=every is not None)
            QueueWorker(controller, site_path).serve_others(time.monotonic() + QUEUE_LIMIT)
            _print(sweep(controller), as_json=as_json)
        except SlurmUnavailableError as error:
            if every is None:
                raise
            _report(str(error))
        if every is None:
            return
        time.sleep(every)


def _controller(site: Site, backend: str, *, long_lived: bool) -> Controller:
    choice = choose_backend(
        backend,
        long_lived=long_lived,
        bin_dir=site.slurm_bin,
        slurm_conf=site.slurm_conf,
        timeout=site.limits.command_timeout,
        report=_report,
    )
    check_slurm_user(site.state_dir, choice.slurm.config())
    return Controller(slurm=choice.slurm, site=site, cluster=choice.slurm.cluster_name())


def _report(message: str) -> None:
    click.echo(f"csx-restart: {escape_controls(message)}", err=True)


def _print(result: Sweep, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(result)))
    else:
        click.echo(", ".join(f"{name} {value}" for name, value in asdict(result).items()))
