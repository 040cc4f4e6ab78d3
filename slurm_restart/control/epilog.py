"""The Python part of the EpilogSlurmctld hook; csx-epilog starts it for this plugin's jobs only.

It ends in time and with status 0 whatever happens, and always leaves a trace.
"""

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import NoReturn

from slurm_restart.control.controller import Controller, commands_for
from slurm_restart.control.follow_up import detach, follow_up
from slurm_restart.control.gather import HookEnvironment, end_from_hook, read_environment
from slurm_restart.control.handle import Ended, handle_end
from slurm_restart.control.site import Site, load_site
from slurm_restart.control.slots import take_slot
from slurm_restart.control.trace import Trace
from slurm_restart.core.digest import Digest, parse
from slurm_restart.errors import CsxError


class HookTimeoutError(CsxError):
    """The hook has used up its time."""


def _on_alarm(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise HookTimeoutError("out of time: left to the reconciler")


def _handle(controller: Controller, env: HookEnvironment, digest: Digest) -> bool:
    job, nodes = controller.slurm.job_end_facts(env.job_id)
    end = end_from_hook(env, job, nodes, int(time.time()))
    ended = Ended(end=end, job=job, digest=digest, nodes=nodes, source="hook")
    return handle_end(controller, ended)


def _hook(site: Site, environ: Mapping[str, str], trace: Trace) -> None:
    env = read_environment(environ)
    digest = parse(env.comment)
    limits = site.limits
    slot = take_slot(site.state_dir, count=limits.concurrency, timeout=limits.queue_timeout)
    if slot is None:
        trace("too many ends at once: left to the reconciler")
        return
    controller = Controller(slurm=commands_for(site), site=site, cluster=env.cluster)
    try:
        restarts = _handle(controller, env, digest)
    finally:
        os.close(slot)
    if restarts and detach():
        follow_up(controller, env.job_id, digest)


def run(site_path: Path, environ: Mapping[str, str]) -> int:
    """Run the hook; the exit status is 0 whatever happens."""
    trace = Trace(None, environ.get("SLURM_JOB_ID", "?"))
    try:
        site = load_site(site_path)
        trace = Trace(site.state_dir, environ.get("SLURM_JOB_ID", "?"))
        signal.signal(signal.SIGALRM, _on_alarm)
        signal.setitimer(signal.ITIMER_REAL, site.limits.deadline)
        _hook(site, environ, trace)
    except CsxError as error:
        trace(f"nothing done: {type(error).__name__}: {error}")
    except Exception:  # noqa: BLE001 - a fault of ours must neither hurt slurmctld nor pass unseen
        trace(f"nothing done, a fault of csx-epilog: {traceback.format_exc(limit=-3)}")
    return 0


def main() -> NoReturn:
    """Entry of `python -I -m slurm_restart.control.epilog SITE.TOML`."""
    with contextlib.suppress(OSError):
        os.umask(0o077)
    site_path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("/etc/slurm_restart/site.toml")
    sys.exit(run(site_path, os.environ))


if __name__ == "__main__":
    main()
