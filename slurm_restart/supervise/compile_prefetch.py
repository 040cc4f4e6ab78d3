"""Compile the sizes of smaller restarts, in a thread and one after the other, while a run executes.

The compile is a process beside the reaper, not below it: it is neither the trainer's output nor one
of its signs of life, it ends with the attempt, and the job does not wait for it. It runs on the
batch host, as the trainer's own command does. As a step of the job it would take the resources that
the trainer's steps wait for.
"""

import time
import zlib
from pathlib import Path

from slurm_restart.core.compile_sizes import CompileOutcome, format_sizes, sizes_left
from slurm_restart.errors import CsxError
from slurm_restart.logs.scanner import LogScanner
from slurm_restart.supervise.compile_process import CompileProcess, judge
from slurm_restart.supervise.life_signs import LifeSigns
from slurm_restart.supervise.own_comment import OwnComment
from slurm_restart.supervise.periodic_thread import PeriodicThread
from slurm_restart.supervise.prepare_attempt import PreparedAttempt
from slurm_restart.supervise.reaper import TrainerCommand
from slurm_restart.supervise.recorder import Recorder
from slurm_restart.supervise.render_config import RenderRequest, render
from slurm_restart.trainer.attempt_records import Compiled, read_lines
from slurm_restart.trainer.launch import COMPILE_ONLY, Launch
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import RunDir
from slurm_restart.trainer.runlog import run_name

INTERVAL = 1.0
"""Seconds between two looks."""
LONG = 3600.0
"""Seconds between two looks once there is nothing left to do."""


class CompilePrefetch(PeriodicThread):
    """Compiles for one attempt; started by `start_with`.

    Args:
        plan: the phase.
        run_dir: its directory.
        recorder: records the compiles that have ended.
        comment: gets the sizes that do not compile.
    """

    def __init__(
        self, plan: RunPlan, run_dir: RunDir, recorder: Recorder, comment: OwnComment
    ) -> None:
        super().__init__("compile-prefetch", "nothing is compiled ahead", self._log)
        self._plan = plan
        self._run_dir = run_dir
        self._recorder = recorder
        self._comment = comment
        self._known: dict[int, CompileOutcome] | None = None
        """How the compiles of these sizes ended; None: the records have not been read."""
        self._config = ""
        self._tried: set[int] = set()
        self._running: CompileProcess | None = None
        self._over = False

    def start_with(self, prepared: PreparedAttempt, signs: LifeSigns, scanner: LogScanner) -> None:
        """Start the thread.

        Args:
            prepared: the attempt.
            signs: know whether its trainer executes.
            scanner: has the rules by which the output of a failed compile is judged.
        """
        self._prepared = prepared
        self._signs = signs
        self._scanner = scanner
        self._nodes = len(prepared.start.nodes) or self._plan.num_nodes
        self.start()

    @property
    def refused(self) -> frozenset[int]:
        """Numbers of nodes for which the model is known not to compile."""
        known = (self._known or {}).items()
        return frozenset(size for size, outcome in known if outcome is CompileOutcome.REFUSED)

    def _log(self, text: str) -> None:
        self._recorder.log(run_name(self._prepared.start.attempt), text)

    def _pause(self, used: float) -> float:  # noqa: ARG002 - the base class's signature
        return LONG if self._over else INTERVAL

    def _look(self, *, last: bool) -> None:
        try:
            with self._failures_reported():
                self._step(last=last)
        except Exception as error:  # noqa: BLE001 - a fault here must not end a run
            self._over = True
            self._log(f"nothing is compiled ahead: {type(error).__name__}: {error}")
        if last and self._running is not None:
            self._running.end()
            self._log(f"{self._running.title} has ended with the attempt")

    def _step(self, *, last: bool) -> None:
        if self._known is None:
            self._read_records()
        if self._running is not None and (code := self._running.poll()) is not None:
            ended, self._running = self._running, None
            self._note_end(ended, code)
        if last or self._over or self._running is not None:
            return
        left = sizes_left(self._nodes, self._plan.min_nodes, self._done())
        if not left:
            self._over = True
        elif self._signs.executes:  # it compiles nothing itself now
            self._tried.add(left[0])
            self._begin(left[0])

    def _done(self) -> set[int]:
        known = self._known or {}
        return self._tried | {size for size, outcome in known.items() if outcome.is_final}

    def _read_records(self) -> None:
        self._config = self._fingerprint()
        records = read_lines(Compiled, self._run_dir.compiles)[0]
        same = [record for record in records if record.config == self._config]
        self._known = {record.nodes: record.outcome for record in same}
        self._report_refused()

    def _fingerprint(self) -> str:
        """Return a text that is equal for the same config and command.

        Raises:
            OSError: the config cannot be read.
        """
        words = (self._plan.command, *self._plan.arguments, str(self._plan.csx_per_node))
        text = self._run_dir.params.read_bytes() + "\0".join(words).encode(errors="replace")
        # hashlib would load 3 MB of OpenSSL into the supervisor.
        return f"{zlib.crc32(text):08x}"

    def _report_refused(self) -> None:
        self._comment.update(no_compile=format_sizes(self.refused))

    def _begin(self, size: int) -> None:
        """Start the compile for a number of nodes.

        Raises:
            OSError: its files cannot be written, or no process can be started.
            CsxError: its config cannot be written.
        """
        plan, attempt = self._plan, self._prepared.attempt
        num_csx = plan.csx_of(size)
        base = attempt.compiles / f"num_csx_{num_csx}"
        params, model_dir = base.with_suffix(".yaml"), str(base)
        base.mkdir(parents=True, exist_ok=True)
        try:
            render(_request(plan, self._run_dir, params, model_dir, num_csx))
        except CsxError as error:
            self._log(f"num_csx {num_csx} is not compiled ahead: {error}")
            return
        launch = Launch(
            config=str(params),
            checkpoint=None,
            num_csx=num_csx,
            nodes=size,
            model_dir=model_dir,
            run_dir=str(self._run_dir.path),
            attempt=attempt.number,
            run_id=plan.run_id,
            step=None,
        )
        command = TrainerCommand(
            text=launch.command(plan.command, (*plan.arguments, COMPILE_ONLY)),
            directory=plan.work_dir,
            variables=launch.environment(script=False),
            low_priority=True,
        )
        if self._finish.is_set():
            return
        log = base.with_suffix(".log")
        self._running = CompileProcess.start(command, nodes=size, num_csx=num_csx, log=log)
        shown = log.relative_to(self._run_dir.path)
        self._log(f"{self._running.title} begins, with low priority; its output: {shown}")

    def _note_end(self, ended: CompileProcess, code: int) -> None:
        outcome, reason = judge(code, ended.log, self._scanner)
        seconds = round(time.monotonic() - ended.began, 1)
        self._known = {**(self._known or {}), ended.nodes: outcome}
        record = Compiled(
            at=time.time(),
            attempt=self._prepared.start.attempt,
            nodes=ended.nodes,
            num_csx=ended.num_csx,
            outcome=outcome,
            seconds=seconds,
            config=self._config,
            reason=reason,
        )
        self._recorder.record_compile(record)
        self._report_refused()


def _request(
    plan: RunPlan, run_dir: RunDir, target: Path, model_dir: str, num_csx: int
) -> RenderRequest:
    """Return the config of a compile: no weights are read or written for it."""
    return RenderRequest(
        source=str(run_dir.params),
        target=str(target),
        phase=plan.phase,
        model_dir=model_dir,
        ckpt_path=None,
        num_csx=num_csx,
        full_num_csx=plan.num_csx,
        training=True,
        resumed=True,
        last_step=None,
        max_restarts=None,
    )
