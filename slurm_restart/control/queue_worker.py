"""The worker: judge the ends that csx-epilog has queued, one after the other in one process."""

import time
from dataclasses import replace
from pathlib import Path

from slurm_restart.control.controller import Controller
from slurm_restart.control.end_queue import ClaimedEnd, claim, job_of, queued
from slurm_restart.control.guarded_advance import guarded_advance, time_limit
from slurm_restart.control.hook_environment import HookEnvironment
from slurm_restart.control.hook_log import HookLog
from slurm_restart.control.kept_answers import KeptAnswers, announce, expect
from slurm_restart.errors import CsxError

MANY = 10
"""Ends that wait, from which on a process takes on others for longer."""


class QueueWorker:
    """Judges queued ends of one cluster.

    Args:
        controller: the cluster; an empty name of it is replaced by that of the first end.
        site_path: site.toml, for the helper that is started.
    """

    def __init__(self, controller: Controller, site_path: Path) -> None:
        self._controller, self._site_path = controller, site_path
        self._state_dir = controller.site.state_dir

    def serve_own(self, path: Path) -> bool:
        """Judge the end that this process was started for; return whether it is judged.

        Raises:
            HookTimeoutError: another process has it and does not end.
            OSError: its file cannot be opened.
        """
        with time_limit(self._controller.site.limits.deadline):
            own = claim(path, wait=True)
        return own is None or self._serve(own)

    def serve_others(self, until: float, *, while_many: float | None = None) -> None:
        """Judge ends that wait, the oldest first.

        Args:
            until: none is begun after it, a moment of the monotonic clock.
            while_many: the same for as long as at least `MANY` wait; None: no other.
        """
        longest = until if while_many is None else while_many
        tried: set[Path] = set()
        while new := [path for path in queued(self._state_dir) if path not in tried]:
            announce(self._controller.slurm, [job_of(path) for path in new])
            for at, path in enumerate(new):
                latest = longest if len(new) - at >= MANY else until
                if time.monotonic() >= latest:
                    return
                tried.add(path)
                if (end := claim(path)) is not None:
                    self._serve(end)

    def _serve(self, end: ClaimedEnd) -> bool:
        done = False
        try:
            env = end.read()
            if not self._controller.cluster:
                self._controller = replace(self._controller, cluster=env.cluster)
            if env.cluster == self._controller.cluster:  # several may share a state directory
                done = self._advance(env, end.queued_at)
        except CsxError as error:
            HookLog(self._state_dir, "?")(f"{end.path.name} removed, not judged: {error}")
            done = True
        finally:
            end.release(done=done)
        return done

    def _advance(self, env: HookEnvironment, queued_at: float) -> bool:
        if isinstance(self._controller.slurm, KeptAnswers):
            # Nodes that were read before do not show the one that has failed, nor the job its end.
            self._controller.slurm.drop("nodes", before=queued_at)
            self._controller.slurm.forget(env.job_id, queued_at)
        expect(self._controller.slurm, env.job_id)
        advanced = guarded_advance(self._controller, env.job_id, hook=env)
        if advanced.look_again is not None:
            # Imported for restarts only: it is not needed before Slurm was asked for everything.
            from slurm_restart.control.waiting_jobs import hand_over  # noqa: PLC0415

            hand_over(self._controller, env.job_id, self._site_path)
        return advanced.done
