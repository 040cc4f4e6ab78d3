"""The Python part of the EpilogSlurmctld hook: it judges the ends that csx-epilog has queued.

csx-epilog starts a bounded number of these processes. Each judges the end that it was started for,
and then others that wait, so that a storm of ends costs few starts of Python.
"""

import os
import sys
import time
from pathlib import Path
from types import ModuleType
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

from slurm_restart.control.controller import Controller
from slurm_restart.control.guarded_advance import time_limit
from slurm_restart.control.hook_log import HookLog
from slurm_restart.control.kept_answers import commands_with_kept_answers
from slurm_restart.control.queue_worker import QueueWorker
from slurm_restart.control.site import load_site
from slurm_restart.errors import CsxError

SERVED, NOT_SERVED = 0, 75
"""Exit status: the end is judged or needs no judgement; it has to be tried again (EX_TEMPFAIL)."""
SLICE, LONG_SLICE = 3.0, 10.0
"""Seconds in which other ends are taken on, and those while many wait. The own job stays COMPLETING
meanwhile, and so do those that wait for this process's slot, even if they are judged already; but
on a busy machine a start of Python takes as long as ten ends (measured in a storm)."""
_SETTINGS_LIMIT = 30.0


def run(site_path: Path, end: Path) -> int:
    """Judge an end, then others that wait; return the exit status."""
    job = end.name.partition(".")[0]
    log = HookLog(None, job)
    try:
        with time_limit(_SETTINGS_LIMIT):
            site = load_site(site_path)
        log = HookLog(site.state_dir, job)
        slurm = commands_with_kept_answers(site)
        worker = QueueWorker(Controller(slurm=slurm, site=site, cluster=""), site_path)
        began = time.monotonic()
        if not worker.serve_own(end):
            # Other ends would only delay what csx-epilog does about this one.
            return NOT_SERVED
        worker.serve_others(began + SLICE, while_many=began + LONG_SLICE)
    except (CsxError, OSError) as error:
        log(f"nothing done: {type(error).__name__}: {error}")
        return NOT_SERVED
    return SERVED


def main() -> NoReturn:
    """Run as a program; the arguments are the paths of site.toml and of the end's file."""
    os.umask(0o077)
    site_path, end = map(Path, sys.argv[1:])
    sys.exit(run(site_path, end))


if __name__ == "__main__":
    main()
