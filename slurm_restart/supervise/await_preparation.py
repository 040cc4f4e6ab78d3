"""Wait until an attempt is prepared and the rules over log lines have been read."""

import errno
import queue
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from slurm_restart.logs.scanner import LogScanner
from slurm_restart.supervise.attempt_fence import OvertakenError
from slurm_restart.supervise.events import (
    AttemptPrepared,
    Event,
    Events,
    PlanLoaded,
    PreparationFailed,
    ReaperExited,
    RulesRead,
    SignalReceived,
)
from slurm_restart.supervise.node_health import check_time
from slurm_restart.supervise.prepare_attempt import PreparedAttempt
from slurm_restart.supervise.recorder import Recorder
from slurm_restart.supervise.rules_thread import RulesThread
from slurm_restart.supervise.stall_monitor import StallMonitor
from slurm_restart.supervise.stop_request import STOP_REASONS
from slurm_restart.supervise.trainer_end import StopReason
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.runlog import MAIN

PREPARE_TIMEOUT = 300.0
"""Seconds for the whole preparation; a file server that fails over takes minutes."""
RULES_TIMEOUT = 10.0
"""Seconds that a prepared attempt waits for the rules over log lines."""


class PreparationWait:
    """Waits for the answers of the threads that prepare an attempt.

    Args:
        run_dir: absolute path of the run directory, for the message of a timeout.
        events: the supervisor's.
        stalls: is told of the access to the package's rules.
        recorder: gets warnings about rules.
        plan_loaded: called with the plan as soon as it is read.
    """

    def __init__(
        self,
        run_dir: Path,
        events: Events,
        stalls: StallMonitor,
        recorder: Recorder,
        plan_loaded: Callable[[RunPlan], None],
    ) -> None:
        self._run_dir = run_dir
        self._events = events
        self._stalls = stalls
        self._recorder = recorder
        self._plan_loaded = plan_loaded
        self._start_by = 0.0
        """The time of the monotonic clock at which the trainer has to be started."""

    def result(self) -> tuple[PreparedAttempt, LogScanner] | Exception | StopReason:
        """Return the prepared attempt and the scanner of its output, or why there is none."""
        began = time.monotonic()
        prepared: PreparedAttempt | None = None
        scanner: LogScanner | None = None
        for event in self._events_before_start():
            match event:
                case AttemptPrepared(prepared):
                    self._start_by = time.monotonic() + RULES_TIMEOUT
                case RulesRead(scanner, problems):
                    for problem in problems:
                        self._recorder.log(MAIN, f"rule left out: {problem}", level="WARNING")
                case PreparationFailed(error):
                    is_overtaken = isinstance(error, OvertakenError)
                    return StopReason.SUPERSEDED if is_overtaken else error
                case ReaperExited():
                    return RuntimeError("the reaper process was killed")
                case PlanLoaded(plan):
                    self._start_by += check_time(plan)
                    self._plan_loaded(plan)
                case SignalReceived(number) if stop := STOP_REASONS[number]:
                    return stop
            if prepared is not None and scanner is not None:
                return prepared, scanner
        reason = f"no answer within {time.monotonic() - began:.0f} s"
        return OSError(errno.ETIMEDOUT, reason, str(self._run_dir))

    def _events_before_start(self) -> Iterator[Event]:
        """Yield the events up to the time at which the attempt has to be prepared.

        If the rules of the run, the user or the site are late, the package's own are read.
        """
        self._start_by = time.monotonic() + PREPARE_TIMEOUT
        prepared = package_rules = False
        while True:
            try:
                event = self._events.get(timeout=max(0.0, self._start_by - time.monotonic()))
            except queue.Empty:
                if package_rules or not prepared:
                    return
                package_rules = True
                self._start_by = time.monotonic() + RULES_TIMEOUT
                self._recorder.log(MAIN, "only the package's own rules are used", level="WARNING")
                RulesThread(None, self._events, self._stalls).start()
                continue
            prepared = prepared or isinstance(event, AttemptPrepared)
            yield event
