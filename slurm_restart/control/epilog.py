"""The Python part of the EpilogSlurmctld hook; csx-epilog starts it for this plugin's jobs only.

It ends within its time limit and with exit status 0, even after a fault, and logs every failure.
"""

import contextlib
import os
import signal
import sys
import threading
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
from slurm_restart.control.hook_environment import HookEnvironment, read_environment
from slurm_restart.control.hook_log import HookLog
from slurm_restart.control.site import Site, load_site
from slurm_restart.core.job import Job, NodeState
from slurm_restart.core.job_comment import CommentRecord, parse_comment
from slurm_restart.errors import CsxError

_SETTINGS_DEADLINE = 30.0
"""Seconds for reading the settings, which contain the deadline for all that follows."""
Facts = tuple[Job, tuple[NodeState, ...]]


class HookTimeoutError(CsxError):
    """The hook has reached its deadline."""


def _on_alarm(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise HookTimeoutError("deadline reached: left to the reconciler")


class _JobQuery(threading.Thread):
    """A query to Slurm about a job that runs while the rest of the package is imported."""

    def __init__(self, controller: Controller, job_id: int) -> None:
        super().__init__(daemon=True)
        self._controller, self._job_id = controller, job_id
        self._facts: Facts | CsxError = CsxError("the query to Slurm did not finish")
        self.start()

    def run(self) -> None:
        try:
            self._facts = self._controller.slurm.job_end_facts(self._job_id)
        except CsxError as error:
            self._facts = error

    def facts(self) -> Facts:
        """Return the job and all nodes.

        Raises:
            CsxError: the query failed.
        """
        self.join()
        if isinstance(self._facts, CsxError):
            raise self._facts
        return self._facts


def _handle(controller: Controller, env: HookEnvironment, comment_record: CommentRecord) -> bool:
    query = _JobQuery(controller, env.job_id)
    # Imported here, while Slurm's commands run: the hook takes 80 ms in all (measured).
    from slurm_restart.control.end_facts import end_from_hook  # noqa: PLC0415
    from slurm_restart.control.process_end import EndedJob, process_end  # noqa: PLC0415

    job, nodes = query.facts()
    if not job.completing and job.state is not None and not job.state.is_final:
        # Run by hand, or by a controller that was restored from an old state: the job has gone on.
        controller.log(env.job_id)(f"{job.state.value}: has not ended, left to the reconciler")
        return False
    end = end_from_hook(env, job, nodes)
    ended = EndedJob(end=end, job=job, comment_record=comment_record, nodes=nodes, source="hook")
    return process_end(controller, ended)


def _hook(site: Site, environ: Mapping[str, str], log: HookLog) -> None:
    env = read_environment(environ)
    comment_record = parse_comment(env.comment)
    limits = site.limits
    slot = take_slot(site.state_dir, count=limits.concurrency, timeout=limits.queue_timeout)
    if slot is None:
        log("too many ends at once, no slot in time: left to the reconciler")
        return
    controller = Controller(slurm=commands_for(site), site=site, cluster=env.cluster)
    try:
        restarts = _handle(controller, env, comment_record)
    finally:
        os.close(slot)
    if not restarts:
        return
    from slurm_restart.control.start_requeued import detach, start_requeued  # noqa: PLC0415 - only for restarts

    if detach():
        start_requeued(controller, env.job_id, comment_record)


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
