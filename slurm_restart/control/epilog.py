"""The Python part of the EpilogSlurmctld hook; csx-epilog starts it for this plugin's jobs only.

It ends within its time limit and with exit status 0, even after a fault, and logs every failure.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NoReturn


class _DeferredModule(ModuleType):
    """Placeholder in sys.modules that imports the module when an attribute of it is used."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(__import__(self.__name__), name)


def _defer_import(name: str) -> None:
    """Import a top-level module of the standard library only when it is used."""
    if name not in sys.modules:
        sys.modules[name] = _DeferredModule(name)


# Before anything that imports dataclasses. Up to Python 3.12 dataclasses uses inspect only for the
# signature of a class without a docstring, and there is none here: saves 5 ms of the hook's 80
# (measured). 3.13 uses it for every class, and 3.14 imports ast in any case (annotationlib).
_defer_import("inspect")

from slurm_restart.control.concurrency import take_slot
from slurm_restart.control.controller import Controller, commands_for
from slurm_restart.control.hook_environment import read_environment
from slurm_restart.control.hook_log import HookLog
from slurm_restart.control.site import Site, load_site
from slurm_restart.errors import CsxError

_SETTINGS_DEADLINE = 30.0
"""Seconds for reading the settings, which contain the deadline for all that follows."""


class HookTimeoutError(CsxError):
    """The hook has reached its deadline."""


def _on_alarm(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise HookTimeoutError("deadline reached: left to the reconciler")


def _hook(site: Site, environ: Mapping[str, str], log: HookLog) -> None:
    env = read_environment(environ)
    limits = site.limits
    slot = take_slot(site.state_dir, count=limits.concurrency, timeout=limits.queue_timeout)
    if slot is None:
        log("too many ends at once, no slot in time: left to the reconciler")
        return
    controller = Controller(slurm=commands_for(site), site=site, cluster=env.cluster)
    # Imported here: most of the hook's time is imports, and a hook without a slot needs none.
    from slurm_restart.control.advance import advance  # noqa: PLC0415

    try:
        look_again = advance(controller, env.job_id, hook=env)
    finally:
        os.close(slot)
    if look_again is None:
        return
    from slurm_restart.control.start_requeued import detach, start_requeued  # noqa: PLC0415 - only for restarts

    if detach():
        start_requeued(controller, env.job_id, look_again)


def run(site_path: Path, environ: Mapping[str, str]) -> int:
    """Run the hook and return its exit status, which is 0 even after an error."""
    log = HookLog(None, environ.get("SLURM_JOB_ID", "?"))
    try:
        signal.signal(signal.SIGALRM, _on_alarm)
        try:
            signal.setitimer(signal.ITIMER_REAL, _SETTINGS_DEADLINE)
            site = load_site(site_path)
            log = HookLog(site.state_dir, environ.get("SLURM_JOB_ID", "?"))
            signal.setitimer(signal.ITIMER_REAL, site.limits.deadline)
            _hook(site, environ, log)
        finally:
            # An alarm during the logging below would not be caught.
            signal.setitimer(signal.ITIMER_REAL, 0)
    except CsxError as error:
        log(f"nothing done: {type(error).__name__}: {error}")
    except Exception:  # noqa: BLE001 - a fault here must neither reach slurmctld nor stay unlogged
        import traceback  # noqa: PLC0415 - rarely needed, slow to import

        log(f"internal error of csx-epilog: {traceback.format_exc(limit=-3)}")
    return 0


def main() -> NoReturn:
    """Run as a program; the only argument is the path of site.toml."""
    with contextlib.suppress(OSError):
        os.umask(0o077)
    site_path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("/etc/slurm_restart/site.toml")
    sys.exit(run(site_path, os.environ))


if __name__ == "__main__":
    main()
