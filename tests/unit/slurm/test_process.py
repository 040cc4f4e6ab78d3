"""Running other programs: the whole output, a deadline, and no process left."""

import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slurm_restart.errors import SlurmError, SlurmUnavailableError
from slurm_restart.slurm import process
from slurm_restart.slurm.process import Call, Completed, Interactive, run, run_all, run_until

HANG = 300
"""Seconds after which a test is taken to hang; far more than a busy machine needs."""


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def await_condition(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + HANG
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def await_end(pid: int) -> None:
    await_condition(lambda: not alive(pid), f"{pid} still runs")


def await_line(path: Path) -> None:
    await_condition(lambda: path.exists() and path.read_text().endswith("\n"), f"no line in {path}")


def expire_after_line(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Let every deadline pass once the file holds a line, whatever the clock says."""
    calls = itertools.count()

    def monotonic() -> float:
        if next(calls) == 0:  # the start, from which the deadline is counted
            return 0.0
        await_line(path)
        return 1e9

    monkeypatch.setattr(process, "time", SimpleNamespace(monotonic=monotonic))


def test_the_whole_answer() -> None:
    script = "cat; echo err >&2; exit 7"
    done = run(["sh", "-c", script], timeout=HANG, input="in ü\n")
    assert done == Completed(7, "in ü\n", "err\n")


def test_no_shell_and_no_input() -> None:
    assert run(["printf", "%s", "$(id) ; *"], timeout=HANG).stdout == "$(id) ; *"
    assert run(["cat"], timeout=HANG).stdout == ""


def test_odd_bytes() -> None:
    assert run(["printf", r"a\377b"], timeout=HANG).stdout == "a\N{REPLACEMENT CHARACTER}b"


def test_the_environment_is_the_one_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUEUE_FORMAT", "x")
    done = run(["/usr/bin/env"], timeout=HANG, env={"A": "1"})
    assert done.stdout == "A=1\n"


def test_a_signal() -> None:
    assert run(["sh", "-c", "kill -9 $$"], timeout=HANG).code == -signal.SIGKILL


def test_its_own_process_group() -> None:
    code = "import os; print(os.getpgid(0) == os.getpid())"
    assert run([sys.executable, "-c", code], timeout=HANG).stdout == "True\n"


def test_the_whole_group_is_killed_at_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 1000 & echo $! $$ >{pids}; wait"
    expire_after_line(monkeypatch, pids)
    with pytest.raises(SlurmUnavailableError, match=r"^sh: no answer within 0.5 s$"):
        run(["sh", "-c", script], timeout=0.5)
    for pid in pids.read_text().split():
        await_end(int(pid))


def test_the_group_is_killed_though_its_leader_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = tmp_path / "pids"
    # The background process keeps the pipes open.
    script = f"sleep 1000 & echo $! $$ >{pids}"

    expire_after_line(monkeypatch, pids)
    original = process._end

    def end_after_leader(child: Any) -> None:
        await_end(child.pid)
        original(child)

    monkeypatch.setattr(process, "_end", end_after_leader)
    with pytest.raises(SlurmUnavailableError):
        run(["sh", "-c", script], timeout=1)
    await_end(int(pids.read_text().split()[0]))


def test_a_program_that_ignores_signals_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = tmp_path / "pid"
    expire_after_line(monkeypatch, pid)
    script = f"trap '' TERM INT; echo $$ >{pid}; while :; do sleep 0.1; done"
    with pytest.raises(SlurmUnavailableError):
        run(["sh", "-c", script], timeout=1)
    await_end(int(pid.read_text()))


def test_a_process_that_left_the_group_delays_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = tmp_path / "pid"
    expire_after_line(monkeypatch, pid)
    with pytest.raises(SlurmUnavailableError):
        run(["setsid", "sh", "-c", f"echo $$ >{pid}; exec sleep 1000"], timeout=1)
    with suppress(ProcessLookupError):
        os.kill(int(pid.read_text()), signal.SIGKILL)


def test_more_output_than_a_pipe_holds() -> None:
    calls = [Call(["head", "-c", "3000000", "/dev/zero"])] * 3
    assert [len(done.stdout) for done in run_all(calls, timeout=HANG)] == [3_000_000] * 3


def test_programs_run_in_parallel(tmp_path: Path) -> None:
    # Each waits for all the others.
    script = "touch {n}; while [ $(ls | wc -l) -lt 4 ]; do sleep 0.05; done; echo {n}"
    calls = [Call(["sh", "-c", f"cd {tmp_path}; {script.format(n=n)}"]) for n in range(4)]
    answers = run_all(calls, timeout=HANG)
    assert [done.stdout for done in answers] == ["0\n", "1\n", "2\n", "3\n"]


def test_the_others_end_at_the_deadline_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = [tmp_path / "a", tmp_path / "b"]
    calls = [Call(["sh", "-c", f"echo $$ >{pid}; exec sleep 1000"]) for pid in pids]
    expire_after_line(monkeypatch, pids[0])
    with pytest.raises(SlurmUnavailableError):
        run_all(calls, timeout=1)
    monkeypatch.undo()
    await_end(int(pids[0].read_text()))
    with suppress(FileNotFoundError):  # killed before it wrote
        await_end(int(pids[1].read_text() or 2**31 - 1))


def test_the_others_end_where_one_cannot_be_started() -> None:
    children: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        original = process._start

        def start(call: Call) -> Any:
            child = original(call)
            children.append(child.pid)
            return child

        patch.setattr(process, "_start", start)
        with pytest.raises(SlurmError, match="No such file"):
            run_all([Call(["sleep", "1000"]), Call(["/nonexistent/squeue"])], timeout=HANG)
    (pid,) = children
    await_end(pid)


def test_an_interruption_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = tmp_path / "pid"
    started = threading.Event()
    original = process._collect

    def collect(*args: Any) -> Completed:
        started.set()
        return original(*args)

    monkeypatch.setattr(process, "_collect", collect)

    interrupted = threading.Event()

    def interrupt(_signal: int, _frame: object) -> None:
        if not interrupted.is_set():
            interrupted.set()
            raise TimeoutError

    def interrupt_once_it_runs() -> None:
        # The program may write its line before Popen returns.
        assert started.wait(HANG)
        await_line(pid)
        # A signal just before the system call that waits is handled only when that call returns.
        while not interrupted.wait(0.05):
            signal.pthread_kill(main, signal.SIGUSR1)

    main = threading.main_thread().ident
    assert main is not None
    before = signal.signal(signal.SIGUSR1, interrupt)
    thread = threading.Thread(target=interrupt_once_it_runs)
    thread.start()
    try:
        with pytest.raises(TimeoutError):
            run(["sh", "-c", f"echo $$ >{pid}; exec sleep 1000"], timeout=HANG)
    finally:
        interrupted.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    await_end(int(pid.read_text()))


@pytest.mark.parametrize("args", [["/nonexistent/x"], ["/etc/passwd"], ["true", "a\0b"]])
def test_what_cannot_be_run(args: list[str]) -> None:
    with pytest.raises(SlurmError, match=f"^{args[0]}: cannot be run: "):
        run(args, timeout=HANG)


def test_no_descriptor_is_left_open() -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        run(["true"], timeout=HANG)
        with pytest.raises(SlurmUnavailableError):
            run(["sleep", "9"], timeout=0.05)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_exit_codes_where_the_caller_ignores_its_children() -> None:
    code = (
        "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN);"
        "from slurm_restart.slurm.process import run; print(run(['false'], timeout=99).code)"
    )
    assert run([sys.executable, "-c", code], timeout=HANG).stdout == "1\n"


def test_what_a_program_printed_until_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire_after_line(monkeypatch, tmp_path / "up")
    monkeypatch.setattr(process, "_TERM_GRACE", HANG)
    # A shell would need a child to wait for, which the signal misses between fork and exec.
    code = f"""
import signal, sys, time
def end(*_):
    print("told")
    sys.exit(3)
signal.signal(signal.SIGTERM, end)
print("first", flush=True)
with open({str(tmp_path / "up")!r}, "w") as up:
    up.write("\\n")
while True:
    time.sleep(0.1)
"""
    done = run_until([sys.executable, "-I", "-c", code], timeout=1.0)
    assert done == Completed(-signal.SIGTERM, "first\ntold\n", "")


def test_a_program_that_ignores_term_is_killed_and_its_output_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire_after_line(monkeypatch, tmp_path / "up")
    monkeypatch.setattr(process, "_TERM_GRACE", 0.1)
    script = f"trap '' TERM; echo $$; echo >{tmp_path}/up; while :; do sleep 1; done"
    done = run_until(["/bin/sh", "-c", script], timeout=1.0)
    assert done.code == -signal.SIGKILL
    await_end(int(done.stdout))


def test_a_program_that_ends_in_time_is_not_told_to_end() -> None:
    done = run_until(["/bin/sh", "-c", "echo a; echo b >&2; exit 4"], timeout=HANG)
    assert done == Completed(4, "a\n", "b\n")


def test_lines_come_while_a_program_waits_for_the_end_of_its_input() -> None:
    program = Interactive(
        Call(["/bin/sh", "-c", "echo a; cat; echo b; echo c >&2; exit 4"]), timeout=HANG
    )
    lines = program.lines()
    assert next(lines) == "a"
    program.end_input()
    assert list(lines) == ["b"]
    assert program.result() == Completed(4, "", "c\n")
    program.end_input()


def test_a_program_whose_input_does_not_end_is_killed_at_the_deadline() -> None:
    program = Interactive(Call(["/bin/sh", "-c", "echo a; cat; echo b"]), timeout=0.5)
    assert list(program.lines()) in (["a"], [])
    assert program.result().code == -signal.SIGKILL
