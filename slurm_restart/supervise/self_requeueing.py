"""The supervisor's part in a requeue of its own job: two steps in threads, as either may hang."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from slurm_restart.errors import CsxError
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.attempt_result import AttemptResult
from slurm_restart.supervise.cluster_view import await_cluster
from slurm_restart.supervise.ending import Ending
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.run_over import RULE as RUN_OVER_RULE
from slurm_restart.supervise.self_requeue import EndedAttempt, OwnJudgement, SelfRequeue, judge
from slurm_restart.supervise.trainer_end import StopReason
from slurm_restart.trainer import runlog
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import RunDir

SHELL_TIME = 0.1
"""Seconds in which the shell handles the signal before this process ends."""
JUDGE_TIMEOUT = 900.0
"""Seconds to wait for Slurm and the file system: the allocation stays meanwhile."""
REQUEUE_TIMEOUT = 25.0
"""Seconds for the requeue; Slurm's KILL may follow after KillWait (30 s)."""


def tell_shell(exit_code: int) -> None:
    """Tell the batch script's shell that nothing is left to do; any other parent ignores it.

    Args:
        exit_code: of this process, which the shell may not learn if it ends while it is told.
    """
    os.kill(os.getppid(), signal.SIGWINCH if exit_code else signal.SIGURG)
    time.sleep(SHELL_TIME)


class SelfRequeueing:
    """Judges the end of an attempt, and requeues the job.

    Args:
        plan: the phase, whose supervisor requeues its job.
        run_dir: its directory.
        job: the allocation.
        slurm: returns the cluster.
        warn: called with each line for Slurm's log.
        ending: knows whether the job was told to end.
    """

    def __init__(
        self,
        plan: RunPlan,
        run_dir: RunDir,
        job: JobEnvironment,
        *,
        slurm: Callable[[], Slurm],
        warn: Callable[[str], None],
        ending: Ending,
    ) -> None:
        self._plan = plan
        self._run_dir = run_dir
        self._job = job
        self._slurm = slurm
        self._warn = warn
        self._ending = ending

    def judge(self, result: AttemptResult) -> OwnJudgement | None:
        """Return what is to be done about an end; None: not known, or not for this process to do.

        Args:
            result: how the attempt has ended.
        """
        if result.stop is StopReason.SUPERSEDED or result.end.rule == RUN_OVER_RULE:
            tell_shell(result.exit_code)
            return None
        if self._job.job_id is None or result.attempt is None:
            return None
        return self._judge(
            EndedAttempt(
                attempt=result.attempt,
                start=result.start,
                end=result.end,
                exit_code=result.exit_code,
                by_itself=result.stop is None,
                restarts=self._job.restarts,
                nodes=self._job.nodes,
                held=len(self._job.held),
                put_off=result.attribution.put_off,
            )
        )

    def carry_out(self, judged: OwnJudgement) -> None:
        """Do what was decided; if the job was told to end since, judge the end again before."""
        if self._ending.is_asked_to_end() and judged.view.job.running:
            again = self._judge(judged.ended)
            if again is None:
                return  # the batch script's shell looks once more
            judged = again
        # Slurm tells all processes of a requeued job to end: its commands run by this one too.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        thread = _Work("requeue", lambda: self._carry_out(judged), self._warn)
        thread.start()
        thread.join(REQUEUE_TIMEOUT)
        if thread.is_done:
            tell_shell(judged.ended.exit_code)

    def _judge(self, ended: EndedAttempt) -> OwnJudgement | None:
        found: list[OwnJudgement] = []

        def ask() -> None:
            view = await_cluster(
                self._slurm,
                self._job.job_id or 0,
                until=time.monotonic() + JUDGE_TIMEOUT,
                warn=self._warn,
            )
            judged = judge(self._plan, self._run_dir.attempts(), ended, view)
            found.extend(() if judged is None else (judged,))

        thread = _Work("judge", ask, self._warn)
        thread.start()
        self._ending.await_end(thread, JUDGE_TIMEOUT)
        return found[0] if thread.is_done and found else None

    def _carry_out(self, judged: OwnJudgement) -> None:
        SelfRequeue(
            plan=self._plan, run_dir=self._run_dir, slurm=self._slurm, log=self._log
        ).carry_out(judged)

    def _log(self, text: str) -> None:
        self._warn(f"[{runlog.MAIN}] {text}")
        with suppress(OSError):
            line = runlog.line(runlog.MAIN, text, at=time.time())
            runlog.append(self._run_dir.log, line)


class _Work(threading.Thread):
    """Work that may hang; what prevents it is reported."""

    def __init__(self, name: str, work: Callable[[], None], warn: Callable[[str], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._warn = warn
        self.is_done = False

    def run(self) -> None:
        try:
            self._work()
        except (CsxError, OSError) as error:
            self._warn(f"the job cannot be requeued: {error}")
        else:
            self.is_done = True
