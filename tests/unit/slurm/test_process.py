"""Running other programs: the whole answer, in time, and nothing left behind."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from slurm_restart.errors import SlurmError, SlurmUnavailableError
from slurm_restart.slurm.process import Call, Completed, run, run_all


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def await_end(pid: int) -> None:
    deadline = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < deadline, f"{pid} lives on"
        time.sleep(0.01)


def test_the_whole_answer() -> None:
    script = "cat; echo err >&2; exit 7"
    done = run(["sh", "-c", script], timeout=10, input="in ü\n")
    assert done == Completed(7, "in ü\n", "err\n")


def test_no_shell_and_no_input() -> None:
    assert run(["printf", "%s", "$(id) ; *"], timeout=10).stdout == "$(id) ; *"
    assert run(["cat"], timeout=10).stdout == ""


def test_odd_bytes() -> None:
    assert run(["printf", r"a\377b"], timeout=10).stdout == "a\N{REPLACEMENT CHARACTER}b"


def test_the_environment_is_the_one_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUEUE_FORMAT", "x")
    done = run(["/usr/bin/env"], timeout=10, env={"A": "1"})
    assert done.stdout == "A=1\n"


def test_a_signal() -> None:
    assert run(["sh", "-c", "kill -9 $$"], timeout=10).code == -signal.SIGKILL


def test_its_own_process_group() -> None:
    code = "import os; print(os.getpgid(0) == os.getpid())"
    assert run([sys.executable, "-c", code], timeout=30).stdout == "True\n"


def test_in_time(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 100 & echo $! $$ >{pids}; wait"
    before = time.monotonic()
    with pytest.raises(SlurmUnavailableError, match=r"^sh: no answer within 0.5 s$"):
        run(["sh", "-c", script], timeout=0.5)
    assert time.monotonic() - before < 5
    for pid in pids.read_text().split():
        await_end(int(pid))


def test_a_stubborn_one_is_killed() -> None:
    before = time.monotonic()
    with pytest.raises(SlurmUnavailableError):
        run(["sh", "-c", "trap '' TERM INT; while :; do sleep 0.1; done"], timeout=0.3)
    assert time.monotonic() - before < 5


def test_one_that_left_the_group_holds_nobody_up() -> None:
    before = time.monotonic()
    with pytest.raises(SlurmUnavailableError):
        run(["sh", "-c", "setsid sleep 3 & wait"], timeout=0.3)
    assert time.monotonic() - before < 2.5


def test_more_output_than_a_pipe_holds() -> None:
    calls = [Call(["head", "-c", "3000000", "/dev/zero"])] * 3
    assert [len(done.stdout) for done in run_all(calls, timeout=30)] == [3_000_000] * 3


def test_side_by_side() -> None:
    before = time.monotonic()
    answers = run_all([Call(["sh", "-c", f"sleep 1; echo {n}"]) for n in range(4)], timeout=20)
    assert time.monotonic() - before < 3.5
    assert [done.stdout for done in answers] == ["0\n", "1\n", "2\n", "3\n"]


def test_the_others_end_when_one_is_late_or_missing(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    long = Call(["sh", "-c", f"echo $$ >{pid}; exec sleep 100"])
    with pytest.raises(SlurmUnavailableError):
        run_all([Call(["true"]), long], timeout=0.5)
    await_end(int(pid.read_text()))
    with pytest.raises(SlurmError, match="No such file"):
        run_all([long, Call(["/nonexistent/squeue"])], timeout=5)


def test_an_interruption_leaves_nothing_behind(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    def interrupt(_signal: int, _frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(TimeoutError):
            run(["sh", "-c", f"echo $$ >{pid}; exec sleep 100"], timeout=50)
    finally:
        signal.signal(signal.SIGALRM, before)
    await_end(int(pid.read_text()))


@pytest.mark.parametrize("args", [["/nonexistent/x"], ["/etc/passwd"], ["true", "a\0b"]])
def test_what_cannot_be_run(args: list[str]) -> None:
    with pytest.raises(SlurmError, match=f"^{args[0]}: cannot be run: "):
        run(args, timeout=5)


def test_no_descriptor_is_left_open() -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        run(["true"], timeout=5)
        with pytest.raises(SlurmUnavailableError):
            run(["sleep", "9"], timeout=0.05)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_exit_codes_where_the_caller_ignores_its_children() -> None:
    code = (
        "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN);"
        "from slurm_restart.slurm.process import run; print(run(['false'], timeout=9).code)"
    )
    assert run([sys.executable, "-c", code], timeout=30).stdout == "1\n"
