"""The log never raises, and syslog has each line that the log file does not take."""

import fcntl
import os
import subprocess
import sys
import syslog
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slurm_restart.control import hook_log
from slurm_restart.control.hook_log import MAX_LINE, HookLog


class Syslog:
    """A fake of syslog that keeps its lines."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lines: list[str] = []
        monkeypatch.setattr(syslog, "openlog", lambda *_args, **_named: None)
        monkeypatch.setattr(syslog, "syslog", lambda _priority, line: self.lines.append(line))


@pytest.fixture
def sys_log(monkeypatch: pytest.MonkeyPatch) -> Syslog:
    return Syslog(monkeypatch)


def lines_of(folder: Path) -> list[str]:
    return (folder / "csx-epilog.log").read_text().splitlines()


def test_each_event_is_one_line_with_time_and_job(tmp_path: Path) -> None:
    HookLog(tmp_path, "7")("one")
    HookLog(tmp_path, "8")("two")
    assert [line.partition(" ")[2] for line in lines_of(tmp_path)] == ["job 7: one", "job 8: two"]
    assert lines_of(tmp_path)[0].startswith("2")


@pytest.mark.parametrize(
    ("job", "text", "line"),
    [
        ("7", "a\nb\x1b[2J\x00", r"job 7: a\nb\x1b[2J\x00"),
        ("7\n2026 job 8", "x", r"job 7\n2026 job 8: x"),
        ("7", "\udcff \u2028", r"job 7: \udcff \u2028"),
        ("\udcff", "x", r"job \udcff: x"),
    ],
)
def test_a_text_cannot_forge_a_line(tmp_path: Path, job: str, text: str, line: str) -> None:
    HookLog(tmp_path, job)(text)
    [written] = lines_of(tmp_path)
    assert written.partition(" ")[2] == line


def test_a_line_is_cut(tmp_path: Path) -> None:
    HookLog(tmp_path, "7")("x" * 10_000)
    assert len(lines_of(tmp_path)[0]) < MAX_LINE + 60


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(job=st.text(max_size=20), text=st.text(max_size=50))
def test_the_log_never_raises(tmp_path: Path, job: str, text: str) -> None:
    HookLog(tmp_path, job)(text)


def test_a_line_that_cannot_be_written_goes_to_syslog(tmp_path: Path, sys_log: Syslog) -> None:
    (tmp_path / "csx-epilog.log").mkdir()
    HookLog(tmp_path, "7")("lost?")
    HookLog(tmp_path / "none", "8")("and this")
    HookLog(None, "9")("before the settings were read")
    assert [line.partition(" (no log")[0] for line in sys_log.lines] == [
        "job 7: lost?",
        "job 8: and this",
        "job 9: before the settings were read",
    ]


def test_a_large_log_is_set_aside_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook_log, "MAX_LOG_BYTES", 100)
    log = HookLog(tmp_path, "7")
    for number in range(5):
        log(f"{number} " + "x" * 120)
    kept = (tmp_path / "csx-epilog.log.1").read_text()
    assert [len(lines_of(tmp_path)), len(kept.splitlines())] == [1, 1]
    assert " 4 " in lines_of(tmp_path)[0]
    assert " 3 " in kept


def test_processes_that_set_it_aside_together_lose_no_line(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from slurm_restart.control import hook_log\n"
        "hook_log.MAX_LOG_BYTES = 40_000\n"
        "log = hook_log.HookLog(Path(sys.argv[1]), sys.argv[2])\n"
        "for number in range(200): log(f'{number:03} ' + 'x' * 50)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(number)])
        for number in range(4)
    ]
    assert [process.wait(timeout=300) for process in processes] == [0] * 4
    texts = [(tmp_path / name).read_text() for name in ("csx-epilog.log.1", "csx-epilog.log")]
    lines = [line.split() for line in "".join(texts).splitlines()]
    # 800 lines of 90 bytes: set aside once, perhaps by several, and nothing is lost.
    written = {(line[2], line[3]) for line in lines}
    assert written == {(f"{job}:", f"{number:03}") for job in range(4) for number in range(200)}
    assert len(texts[0]) >= 40_000


def test_one_that_may_not_set_it_aside_writes_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook_log, "MAX_LOG_BYTES", 100)
    log = HookLog(tmp_path, "7")
    log("one " + "x" * 120)
    with (tmp_path / "csx-epilog.log").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        log("two")
    log("three")
    assert [line.split()[3] for line in lines_of(tmp_path)] == ["three"]
    kept = (tmp_path / "csx-epilog.log.1").read_text()
    assert [line.split()[3] for line in kept.splitlines()] == ["one", "two"]


def test_the_log_is_no_link_and_its_owners_alone(tmp_path: Path, sys_log: Syslog) -> None:
    HookLog(tmp_path, "7")("x")
    path = tmp_path / "csx-epilog.log"
    assert path.stat().st_mode & 0o777 == 0o600
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    HookLog(tmp_path, "7")("x")
    assert not (tmp_path / "elsewhere").exists()
    assert len(sys_log.lines) == 1


def test_a_line_that_a_full_disk_cuts_goes_to_syslog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sys_log: Syslog
) -> None:
    write = os.write
    monkeypatch.setattr(hook_log.os, "write", lambda file, data: write(file, data[:5]))
    HookLog(tmp_path, "7")("whole")
    assert sys_log.lines[0].startswith("job 7: whole (no log: ")


def test_a_problem_that_is_found_at_every_sweep_is_written_rarely(tmp_path: Path) -> None:
    for number in range(1, 150):
        HookLog(tmp_path, "7").once("comment", f"bad {number}")
    HookLog(tmp_path, "7").once("size", "too large")
    HookLog(tmp_path, "8").once("comment", "bad as well")
    assert [line.partition(" ")[2] for line in lines_of(tmp_path)] == [
        "job 7: bad 1",
        "job 7: bad 10 (report 10 of its kind, only some are written)",
        "job 7: bad 100 (report 100 of its kind, only some are written)",
        "job 7: too large",
        "job 8: bad as well",
    ]


def test_a_problem_without_a_state_directory_goes_to_syslog(sys_log: Syslog) -> None:
    HookLog(None, "7").once("comment", "bad")
    assert sys_log.lines[0].startswith("job 7: bad")


def test_a_job_of_any_name_can_have_a_problem(tmp_path: Path) -> None:
    HookLog(tmp_path, "../7\n").once("comment", "bad")
    assert lines_of(tmp_path)[0].endswith("job ../7\\n: bad")
    assert [path.name for path in (tmp_path / "reported").iterdir()] == ["?.comment"]
