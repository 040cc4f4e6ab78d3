"""The log never raises, and syslog has each line that the log file does not take."""

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
