"""The Python part of the EpilogSlurmctld hook; csx-epilog starts it for this plugin's jobs only.

It ends in time and with status 0 whatever happens, and always leaves a trace.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import NoReturn

from slurm_restart.control.late import put_off

# dataclasses imports it for the signatures of classes without a docstring, of which there are none
# here: 5 ms of the hook's 80 (measured).
put_off("inspect")

from slurm_restart.control.concurrency import take_slot
from slurm_restart.control.controller import Controller, commands_for
from slurm_restart.control.hook_environment import HookEnvironment, read_environment
from slurm_restart.control.hook_log import HookLog
from slurm_restart.control.site import Site, load_site
from slurm_restart.core.job import Job, NodeState
from slurm_restart.core.job_comment import CommentRecord, parse_comment
from slurm_restart.errors import CsxError

_SETTINGS_DEADLINE = 30.0
"""Seconds to read the settings in, which hold the real deadline."""
Facts = tuple[Job, tuple[NodeState, ...]]


class HookTimeoutError(CsxError):
    """The hook has used up its time."""


def _on_alarm(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise HookTimeoutError("out of time: left to the reconciler")


class _JobQuery(threading.Thread):
    """Slurm's answer about a job, asked for while the rest of the package is imported."""

    def __init__(self, controller: Controller, job_id: int) -> None:
        super().__init__(daemon=True)
        self._controller, self._job_id = controller, job_id
        self._facts: Facts | CsxError = CsxError("Slurm was not asked")
        self.start()

    def run(self) -> None:
        try:
            self._facts = self._controller.slurm.job_end_facts(self._job_id)
        except CsxError as error:
            self._facts = error

    def facts(self) -> Facts:
        """The answer, or the error that came instead."""
        self.join()
        if isinstance(self._facts, CsxError):
            raise self._facts
        return self._facts


def _handle(controller: Controller, env: HookEnvironment, comment_record: CommentRecord) -> bool:
    asked = _JobQuery(controller, env.job_id)
    # Imported here: Slurm's commands run meanwhile, and the hook has 80 ms in all.
    from slurm_restart.control.end_facts import end_from_hook  # noqa: PLC0415
    from slurm_restart.control.process_end import EndedJob, process_end  # noqa: PLC0415

    job, nodes = asked.facts()
    if not job.completing and job.state is not None and not job.state.is_final:
        # Run by hand, or by a controller that was restored from an old state: the job has gone on.
        controller.log(env.job_id)(f"{job.state.value}, no end to judge: left to the reconciler")
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
        log("too many ends at once: left to the reconciler")
        return
    controller = Controller(slurm=commands_for(site), site=site, cluster=env.cluster)
    try:
        restarts = _handle(controller, env, comment_record)
    finally:
        os.close(slot)
    if not restarts:
        return
    from slurm_restart.control.start_requeued import detach, start_requeued  # noqa: PLC0415 - not before

    if detach():
        start_requeued(controller, env.job_id, comment_record)


def run(site_path: Path, environ: Mapping[str, str]) -> int:
    """Run the hook; the exit status is 0 whatever happens."""
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
            # Nothing would catch an alarm that goes off while the trace is written.
            signal.setitimer(signal.ITIMER_REAL, 0)
    except CsxError as error:
        log(f"nothing done: {type(error).__name__}: {error}")
    except Exception:  # noqa: BLE001 - a fault of ours must neither hurt slurmctld nor pass unseen
        import traceback  # noqa: PLC0415 - seldom needed, slow to import

        log(f"nothing done, a fault of csx-epilog: {traceback.format_exc(limit=-3)}")
    return 0


def main() -> NoReturn:
    """Entry: the site's settings are the one argument."""
    with contextlib.suppress(OSError):
        os.umask(0o077)
    site_path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("/etc/slurm_restart/site.toml")
    sys.exit(run(site_path, os.environ))


if __name__ == "__main__":
    main()
