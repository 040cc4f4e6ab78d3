"""Run directories and supervisors on this machine, without Slurm."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import h5py
import pytest

from slurm_restart.core.job_comment import Mode
from slurm_restart.trainer.run_plan import (
    CheckpointLayout,
    LoopFacts,
    RestartPolicy,
    RunPlan,
    SlurmAccess,
)
from slurm_restart.trainer.rundir import RunDir

PARAMS = """\
trainer:
  init:
    backend: {backend_type: CPU, cluster_config: {num_csx: 2}}
    model_dir: somewhere
    loop: {max_steps: 100}
    checkpoint: {steps: 10}
    autorestart: {max_num_restarts: 2}
  fit: {train_dataloader: {batch_size: 4}}
"""
DEADLINE = 600.0
"""Seconds after which a test gives up; only there to end a hang. The watchdog does not count time
in which its own process has no CPU, so that on a busy machine it finds a hang after minutes."""
# Timeouts of the supervisor may not expire before what a test waits for has happened.
UNLIMITED = {
    "supervise.checkpoint_check.TIMEOUT": DEADLINE,
    "supervise.attempt_run.FINAL_CHECK_TIMEOUT": DEADLINE,
    "supervise.ending.FINAL_UPDATE_TIMEOUT": DEADLINE,
    "supervise.ending.HURRIED_TIMEOUT": DEADLINE,
    "supervise.attempt_run.OUTPUT_TIMEOUT": DEADLINE,
    "supervise.attempt_run.PREFETCH_TIMEOUT": DEADLINE,
    "supervise.compile_process.END_TIMEOUT": DEADLINE,
    "supervise.stop_request.DEFAULT_KILL_WAIT": DEADLINE,
    "supervise.trainer_process.KILL_TIMEOUT": DEADLINE,
}
# Patches after the reaper was forked, as the supervisor loads its modules only then. pytest may
# have been started with SIGQUIT ignored, as a shell does for `command &`.
SUPERVISOR = """
import importlib, signal
from slurm_restart.cli.restart import main
from slurm_restart.supervise import reaper
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
start = reaper.start
for module, name, value in {patches}:
    if module == reaper.__name__:
        setattr(reaper, name, value)
def start_and_patch():
    handle = start()
    for module, name, value in {patches}:
        setattr(importlib.import_module(module), name, value)
    exec({setup!r}, {{}})
    return handle
reaper.start = start_and_patch
main()
"""
# A private mark in the environment of everything that a test starts.
MARK = "CSX_TEST_MARK"


def write_checkpoint(path: Path, step: int, *, success: bool = True, linked: bool = False) -> Path:
    """A checkpoint in the Model Zoo's form; `linked`: the step is stored under another name."""
    partial = path.with_name(f"{path.name}.0123abcd.tmp")
    names = ["global_step", "optimizer.params.1"] if linked else ["global_step"]
    with h5py.File(partial, "w") as file:
        file["model.weight"] = list(range(1000))
        for name, other in zip(names, [*names[1:], None], strict=True):
            scalar = {"scalar_value": step, "__NONE__": True}
            link = {"key": other, "__LINKED__": True, "__NONE__": True}
            entry = {"__objects__": [name], f"{name}.__metadata__": link if other else scalar}
            file.attrs[f"{name}.__metadata__"] = json.dumps(entry)
        if success:
            file.attrs["__SUCCESS__"] = True
    partial.replace(path)
    return path


def truncate(path: Path) -> Path:
    """Cut a file in half."""
    os.truncate(path, path.stat().st_size // 2)
    return path


@dataclass
class Run:
    """A run directory below `model`, and what was started for it."""

    model: Path
    mark: str
    plan: RunPlan
    started: list[subprocess.Popen] = field(default_factory=list)
    patched: dict[str, object] = field(default_factory=lambda: dict(UNLIMITED))
    """Constants of the package for the supervisors that are started, by `supervise.MODULE.NAME`."""
    setup: str = ""
    """Code that the supervisors execute after the reaper was forked."""

    @property
    def dir(self) -> RunDir:
        return RunDir(self.model / "20261125_000000_restartable")

    def set(self, **values) -> None:
        """Change the plan."""
        self.plan = replace(self.plan, **values)
        self.plan.save(self.dir.plan)

    @property
    def args(self) -> list[str]:
        """The supervisor's command line, with its constants as `patched`."""
        patches = [
            (f"slurm_restart.{module}", name, value)
            for (module, _, name), value in (
                (key.rpartition("."), value) for key, value in self.patched.items()
            )
        ]
        code = SUPERVISOR.format(patches=patches, setup=self.setup)
        return [sys.executable, "-I", "-c", code, "run", "--run-dir", str(self.dir.path)]

    def start(self, command: str, **env: str) -> subprocess.Popen:
        """Start a supervisor with this command as its trainer."""
        if self.plan.command != command:
            self.set(command=command)
        process = subprocess.Popen(
            self.args,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                "PATH": os.environ["PATH"],
                "XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"],
                MARK: self.mark,
                **env,
            },
        )
        self.started.append(process)
        return process

    def processes(self) -> dict[int, str]:
        """Processes below the supervisor and the reaper that still run."""
        return {pid: line for pid, line in self.alive().items() if "--run-dir" not in line}

    def assert_nothing_left(self) -> None:
        """After the supervisor's end: its processes are gone, and the reaper ends by itself."""
        assert self.processes() == {}
        await_(lambda: self.alive() == {}, "the end of the reaper")

    def start_ready(self, command: str) -> subprocess.Popen:
        """The same, and wait until `ready` is in its output."""
        process = self.start(command)
        output = self.dir.path / "attempts/0/output.log"
        await_(lambda: output.exists() and "ready" in output.read_text(), "ready")
        return process

    def run(self, command: str, **env: str) -> subprocess.CompletedProcess:
        """Run a supervisor with this command as its trainer until its end."""
        process = self.start(command, **env)
        out, err = process.communicate(timeout=DEADLINE)
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def alive(self) -> dict[int, str]:
        """Processes of this test that still run, the supervisors' own among them."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                mine = f"{MARK}={self.mark}".encode() in (folder / "environ").read_bytes()
                state = (folder / "stat").read_text().rpartition(") ")[2][0]
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
            except OSError:
                continue
            if mine and state not in "ZX":
                found[int(folder.name)] = line.decode(errors="replace")
        return found

    def end_processes(self) -> None:
        """Kill all processes of this test; those that are left may hold the supervisors' pipes."""

        def kill_all() -> bool:
            left = self.alive()
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return bool(left)

        for process in self.started:
            process.kill()
        await_(lambda: not kill_all(), "the end of all processes")
        for process in self.started:
            process.communicate(timeout=DEADLINE)

    def end_of(self, attempt: int) -> dict:
        return json.loads((self.dir.path / f"attempts/{attempt}/end.json").read_text())

    def start_of(self, attempt: int) -> dict:
        return json.loads((self.dir.path / f"attempts/{attempt}/start.json").read_text())

    def output_of(self, attempt: int) -> str:
        return (self.dir.path / f"attempts/{attempt}/output.log").read_text()

    def summary(self) -> dict:
        return json.loads(self.dir.summary.read_text())

    def log(self) -> str:
        return self.dir.log.read_text()


def await_(condition, what: str, *, timeout: float = DEADLINE) -> None:
    """Return once the condition holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout} s"
        time.sleep(0.02)


@pytest.fixture
def waits():
    return await_


@pytest.fixture
def checkpoint():
    return write_checkpoint


@pytest.fixture
def cut():
    return truncate


@pytest.fixture
def run(tmp_path, request):
    model = tmp_path / "model dir"
    folder = model / "20261125_000000_restartable"
    folder.mkdir(parents=True)
    (folder / "params.yaml").write_text(PARAMS)
    plan = RunPlan(
        run="0123456789abcdef",
        phase=0,
        phases=1,
        mode=Mode.FIT,
        num_nodes=2,
        min_nodes=1,
        num_csx=2,
        csx_per_node=1,
        policy=RestartPolicy(max_restarts=2),
        command="true",
        arguments=(),
        model_dir=str(model),
        work_dir=str(tmp_path),
        config_path=str(tmp_path / "trainer.yaml"),
        checkpoint=CheckpointLayout(
            directory=str(model),
            pattern=r"checkpoint_(?P<step>\d+)(?:_(?P<stamp>\d{8}_\d{6}))?\.mdl",
        ),
        checkpoint_steps=10,
        initial_checkpoint=None,
        autoload_last_checkpoint=True,
        loop=LoopFacts(max_steps=100),
        slurm=SlurmAccess(bin_dir="/nonexistent"),
    )
    plan.save(folder / "plan.json")
    made = Run(model=model, mark=f"{os.getpid()}-{request.node.name}-{id(request)}", plan=plan)
    yield made
    made.end_processes()
