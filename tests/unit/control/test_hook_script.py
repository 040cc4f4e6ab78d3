"""The hook's shell script: nothing for other jobs; no failed job of ours is lost by any trouble."""

import fcntl
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from contrib.testing.waiting import await_
from slurm_restart import __version__
from slurm_restart.control import hook_script
from slurm_restart.control.end_queue import claim, queued, read_end
from slurm_restart.control.hook_script import hook_text, longest_hook, restart_cap
from slurm_restart.control.site import HookLimits, Site
from slurm_restart.core.restart_limits import SitePolicy
from slurm_restart.core.slurm_operations import JUDGED_LATER
from slurm_restart.errors import CsxError

OURS = "csx-restart/1 run=0123456789abcdef;max=1;num=1;min=1"
FAILED = {
    "SLURM_CLUSTER_NAME": "c",
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_UID": "1000",
    "SLURM_JOB_COMMENT": OURS,
    "SLURM_JOB_EXIT_CODE2": "3:0",
    "SLURM_JOB_RESTART_COUNT": "2",
    "SLURM_JOB_NODELIST": "csx[1-2]",
}
LATE = [
    "scontrol requeue 7",
    f"scontrol update JobId=7 StartTime=now+3600 AdminComment={JUDGED_LATER}",
]
SERVES = 'rm "$5"'
LIMITS = HookLimits(deadline=100, command_timeout=100, concurrency=3, queue_timeout=100)


class Front:
    """The script, with stubs for Python and Slurm's commands that note their arguments."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.marks = folder / "marks"
        self.state = folder / "state"
        self.site = folder / "s p" / "site.toml"
        self.site.parent.mkdir()
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.limits = LIMITS
        self.former = False
        for name in ("former", "bin/scontrol", "bin/squeue"):
            self.stub(name, "")
        self.stub("python", SERVES)

    def stub(self, name: str, then: str) -> None:
        """Replace a program."""
        path = self.folder / name
        mark = '"$*"' if name != "python" else '"$1 $2 $4 $5"'
        path.write_text(f"#!/bin/sh\necho {path.name} {mark} >>{self.marks}\n{then}\n")
        path.chmod(0o755)

    def stub_late(self, name: str) -> None:
        """Replace a program by one that does not end, and whose time is over as soon as it runs.

        timeout(1) takes SIGALRM for the end of the time, once it sleeps.
        """
        wait = "until grep -q '^State:.S' /proc/$PPID/status; do :; done"
        note = f"tr '\\0' ' ' </proc/$PPID/cmdline >>{self.folder}/limits"
        self.stub(name, f"{note}; {wait}; kill -ALRM $PPID; exec sleep 1000")

    @property
    def given(self) -> list[str]:
        """The time that each of those programs was given, in seconds."""
        return re.findall(r"timeout -k \d (\S+) ", (self.folder / "limits").read_text())

    def run(self, **changes: Any) -> list[str]:
        """Run the script for a failed job; return what it has started, a line each."""
        env = {key: value for key, value in (FAILED | changes).items() if value is not None}
        done = self.start(env)
        out, err = done.communicate(timeout=300)
        # The shell itself reports a process that a signal has ended.
        assert (done.returncode, out, err.replace("Killed\n", "")) == (0, "", "")
        return self.marks.read_text().splitlines() if self.marks.exists() else []

    def start(self, env: dict[str, str] = FAILED, **options: Any) -> subprocess.Popen[str]:
        settings = Site(
            state_dir=self.state,
            slurm_bin=self.bin,
            slurm_conf=Path("/etc/s p/slurm.conf"),
            limits=self.limits,
            policy=SitePolicy(max_total_restarts=5, max_uncounted_restarts=5),
        )
        former = self.folder / "former" if self.former else None
        python = self.folder / "python"
        hook = self.folder / "csx-epilog"
        hook.write_text(hook_text(self.site, settings, former=former, python=python))
        hook.chmod(0o755)
        return subprocess.Popen(
            [hook],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def start_queued(self) -> tuple[subprocess.Popen[str], Path]:
        """Start the script, and wait until the end is queued; return the process and the file."""
        process = self.start()
        while not (found := queued(self.state)):
            assert process.poll() is None
        return process, found[0]

    @property
    def log(self) -> str:
        log = self.state / "csx-epilog.log"
        return log.read_text() if log.exists() else ""


@pytest.fixture
def front(tmp_path: Path) -> Front:
    return Front(tmp_path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process that holds the lock of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# --- other jobs ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "comment",
    [
        None,
        "",
        "mine",
        "csx-restart/1",
        "csx-restart/2 x",
        " csx-restart/1 x",
        "*",
        "x csx-restart/1 y",
    ],
)
def test_other_jobs_start_nothing(front: Front, comment: str | None) -> None:
    assert front.run(SLURM_JOB_COMMENT=comment) == []
    assert not front.state.exists()


@pytest.mark.parametrize(
    ("array", "task"), [("5", None), (None, "3"), ("5", "x"), ("5 6", "3"), ("5", "3" * 24)]
)
def test_a_task_that_is_not_named_as_slurm_names_it_starts_nothing(
    front: Front, array: str | None, task: str | None
) -> None:
    assert front.run(SLURM_ARRAY_JOB_ID=array, SLURM_ARRAY_TASK_ID=task) == []
    assert not front.state.exists()


def test_a_task_of_an_array_is_requeued_by_its_own_name(front: Front) -> None:
    """Its job id may be that of the array: with it, Slurm would requeue all tasks."""
    front.stub("python", "exit 75")
    task = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}
    started = front.run(**task)
    named = [line.replace("requeue 7", "requeue 7_3").replace("=7 ", "=7_3 ") for line in LATE]
    assert [line for line in started if line.startswith("scontrol")] == named
    end = read_end(front.state, 7)
    assert end is not None
    assert (end.job_id, end.array_task_id, end.comment) == (7, 3, OURS)


@pytest.mark.parametrize("job_id", [None, "", "7; reboot", "../7", "-7", "7" * 14])
def test_without_a_job_id_nothing_is_started(front: Front, job_id: str | None) -> None:
    assert front.run(SLURM_JOB_ID=job_id) == []
    assert not front.state.exists()


def test_the_sites_former_hook_runs_for_every_job(front: Front) -> None:
    front.former = True
    assert front.run(SLURM_JOB_COMMENT="mine") == ["former "]
    assert [line.split()[0] for line in front.run()] == ["former", "former", "python"]


def test_a_former_hook_that_hangs_is_ended(front: Front) -> None:
    front.former = True
    front.limits = HookLimits(deadline=77)
    front.stub_late("former")
    assert [line.split()[0] for line in front.run()] == ["former", "python"]
    assert front.given == ["77"]


# --- the file of an end, and the process that serves it ------------------------------------------


def test_an_end_is_served_by_an_isolated_python(front: Front) -> None:
    [line] = front.run()
    assert re.fullmatch(rf"python -I -c {front.site} {front.state}/queue/7\.[0-9]+", line)
    assert queued(front.state) == ()
    assert front.log == ""


@pytest.mark.parametrize(
    "user",
    [
        "",
        "a b",
        "two\nlines\n\n",
        "SLURM_JOB_ID=8\nSLURM_JOB_UID=0",
        "$(reboot) `x` \\n %s '\"",
        "\u00fc",
    ],
)
def test_the_file_holds_the_facts_as_slurmctld_gave_them(front: Front, user: str) -> None:
    front.stub("python", "")
    front.run(SLURM_JOB_COMMENT=f"{OURS} {user}")
    [path] = queued(front.state)
    end = claim(path)
    assert end is not None
    env = end.read()
    assert env.comment == f"{OURS} {user}"
    assert (env.cluster, env.job_id, env.uid, env.restarts) == ("c", 7, 1000, 2)
    assert (env.exit_code, env.signal, env.nodelist) == (3, 0, "csx[1-2]")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_an_end_waits_for_its_slot(front: Front) -> None:
    with locked(front.state / "slots" / "1"):  # 7 modulo 3
        process, _ = front.start_queued()
        assert not front.marks.exists()
    assert process.wait(300) == 0
    assert front.marks.read_text().startswith("python ")


def test_other_slots_are_not_waited_for(front: Front) -> None:
    with locked(front.state / "slots" / "0"), locked(front.state / "slots" / "2"):
        assert len(front.run()) == 1


def test_an_end_that_was_served_meanwhile_starts_nothing(front: Front) -> None:
    with locked(front.state / "slots" / "1"):
        process, end = front.start_queued()
        end.unlink()
    assert process.wait(300) == 0
    assert not front.marks.exists()
    assert front.log == ""


def test_who_waits_ends_once_another_slot_has_served_the_end(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook_script, "_LOOK", 0.1)
    with locked(front.state / "slots" / "1"):
        process, end = front.start_queued()
        end.unlink()
        # The slot's own process is still busy.
        assert process.wait(300) == 0
    assert not front.marks.exists()
    assert front.log == ""


# --- trouble: a failed job is requeued first -----------------------------------------------------


def requeued(front: Front, started: list[str]) -> None:
    """The job was requeued late, its end waits for the reconciler, and an admin can see why."""
    assert [line for line in started if not line.startswith(("python", "squeue"))] == LATE
    assert "not judged: requeued" in front.log
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:]{8}[+-]\d{4} job 7: ", front.log)
    env = read_end(front.state, 7)
    assert env is not None
    assert env.exit_code in (0, 3)


def test_no_python(front: Front) -> None:
    (front.folder / "python").unlink()
    requeued(front, front.run())
    assert front.log.count("exit status 127") == 2
    assert "No such file" in front.log


@pytest.mark.parametrize("how", ["exit 1", "kill -9 $$", "echo 'No module named x' >&2; exit 1"])
def test_a_python_that_dies_is_tried_twice(front: Front, how: str) -> None:
    front.stub("python", how)
    started = front.run()
    assert [line.split()[0] for line in started] == [
        "python",
        "python",
        "squeue",
        "scontrol",
        "scontrol",
    ]
    requeued(front, started)
    assert ("No module named x" in front.log) == ("module" in how)


def test_a_python_that_dies_once(front: Front) -> None:
    front.stub(
        "python",
        f"[ -e {front.folder}/died ] || {{ touch {front.folder}/died; exit 1; }}; {SERVES}",
    )
    assert [line.split()[0] for line in front.run()] == ["python", "python"]
    assert queued(front.state) == ()


def test_a_python_that_dies_after_it_has_served_the_end(front: Front) -> None:
    front.stub("python", f"{SERVES}; kill -9 $$")
    assert [line.split()[0] for line in front.run()] == ["python"]


def test_an_end_that_could_not_be_judged_is_not_tried_again(front: Front) -> None:
    front.stub("python", "exit 75")
    started = front.run()
    assert [line.split()[0] for line in started] == ["python", "squeue", "scontrol", "scontrol"]
    requeued(front, started)


def test_a_python_that_hangs_is_ended(front: Front) -> None:
    front.stub_late("python")
    started = front.run()
    assert [line.split()[0] for line in started] == ["python", "squeue", "scontrol", "scontrol"]
    requeued(front, started)
    assert "no judgement within 210 s" in front.log
    assert front.given == ["210"]


def test_no_slot_in_time(front: Front) -> None:
    front.limits = HookLimits(queue_timeout=0.2, concurrency=1)
    with locked(front.state / "slots" / "0"):
        requeued(front, front.run())
    assert "no turn within 0.2 s" in front.log


def test_a_file_that_another_process_serves_is_waited_for(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    front.limits = HookLimits(queue_timeout=1000, concurrency=1)
    monkeypatch.setattr(hook_script, "_LOOK", 1000)
    with locked(front.state / "slots" / "0"):
        process, end = front.start_queued()
        with locked(end):
            end_wait(process.pid)
            while "no turn" not in front.log:
                assert process.poll() is None
            end.unlink()
        assert process.wait(300) == 0
    assert not front.marks.exists()
    assert queued(front.state) == ()


def end_wait(hook: int) -> None:
    """End the wait of a hook for its slot, as if its time were over."""

    def ended() -> bool:
        for child in Path(f"/proc/{hook}/task/{hook}/children").read_text().split():
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                if Path(f"/proc/{child}/comm").read_text() == "flock\n":
                    os.kill(int(child), signal.SIGKILL)
                    return True
        return False

    await_(ended, "flock waits")


def test_a_state_directory_that_cannot_be_used(front: Front) -> None:
    front.state.write_text("a file")
    process = front.start()
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0
    started = front.marks.read_text().splitlines()
    assert [line for line in started if "squeue" not in line] == LATE
    # To the system's log, or where there is none, to slurmctld.
    assert err == "" or "cannot be written" in err


def test_a_full_disk(front: Front) -> None:
    def no_bytes() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    # The stubs write where the limit does not hold.
    front.marks = front.folder / "pipe"
    os.mkfifo(front.marks)
    for name in ("python", "bin/scontrol", "bin/squeue"):
        front.stub(name, "")
    # Open for writing too: a pipe of which the last writer is gone is at its end, and two writers
    # one after the other may be one text or two.
    pipe = os.open(front.marks, os.O_RDWR)
    # Python ignores SIGXFSZ, and so does what it starts then: a write fails as on a full disk.
    process = front.start(preexec_fn=no_bytes, restore_signals=False)
    process.communicate(timeout=300)
    os.set_blocking(pipe, False)
    marks = os.read(pipe, 65536).decode()
    os.close(pipe)
    assert process.returncode == 0
    assert [line for line in marks.splitlines() if "squeue" not in line] == LATE
    assert list((front.state / "queue").iterdir()) == []


def test_the_begin_time_is_set_again_if_slurm_refuses_it_once(front: Front) -> None:
    front.stub("python", "exit 75")
    refuse = (
        f"[ $1 = requeue ] || [ -e {front.folder}/no ] || {{ touch {front.folder}/no; exit 1; }}"
    )
    front.stub("bin/scontrol", refuse)
    asked = [line.split()[1] for line in front.run() if line.startswith("scontrol")]
    assert asked == ["requeue", "update", "update"]
    assert "not judged: requeued" in front.log


@pytest.mark.parametrize(
    ("shown", "requeues"), [("3", False), ("2", True), ("", True), ("slurm_load_jobs error", True)]
)
def test_a_job_that_python_has_requeued_is_not_requeued_again(
    front: Front, shown: str, requeues: bool
) -> None:
    """A person may have cancelled it since: it would run again."""
    front.stub("python", "exit 75")
    front.stub("bin/squeue", f"printf '%-20s\\n' '{shown}'")
    started = front.run()
    assert [line for line in started if line.startswith("scontrol")] == LATE[not requeues :]


def test_what_slurm_refuses_is_logged(front: Front) -> None:
    front.stub("python", "exit 75")
    front.stub("bin/scontrol", "echo no $1 >&2; exit 1")
    front.run()
    assert "not judged: requeue: no requeue; begin time: no update" in front.log


def test_slurms_commands_get_the_configuration(front: Front) -> None:
    front.stub("python", "exit 75")
    front.stub("bin/scontrol", f'echo "$SLURM_CONF" >{front.folder}/conf')
    front.run()
    assert (front.folder / "conf").read_text() == "/etc/s p/slurm.conf\n"


def test_a_command_that_hangs_is_ended(front: Front) -> None:
    front.limits = HookLimits(command_timeout=77)
    front.stub("python", "exit 75")
    front.stub_late("bin/scontrol")
    assert [line.split()[0] for line in front.run()] == ["python", "squeue", *["scontrol"] * 3]
    assert front.given == ["77"] * 3


# --- and no other job is -------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["None", "", "Prolog", "JobHeldUser", "NonZeroExitCode"])
def test_a_job_that_completed_or_was_cancelled_is_not_requeued(front: Front, reason: str) -> None:
    front.stub("python", "exit 75")
    front.stub("bin/squeue", f"printf '%-20s%-80s\\n' 0 '{reason}'")
    started = front.run(SLURM_JOB_EXIT_CODE2="0:0")
    assert [line.split()[0] for line in started] == ["python", "squeue"]
    assert read_end(front.state, 7) is not None


@pytest.mark.parametrize("reason", ["TimeLimit", "NodeDown"])
def test_a_timeout_and_a_lost_node_show_no_exit_code(front: Front, reason: str) -> None:
    front.stub("python", "exit 75")
    front.stub("bin/squeue", f"printf '%-20s%-80s\\n' 0 '{reason}'")
    requeued(front, front.run(SLURM_JOB_EXIT_CODE2="0:0"))


@pytest.mark.parametrize("code", [None, "", "x", "3", ":"])
def test_an_exit_code_of_another_form_is_no_failure(front: Front, code: str | None) -> None:
    front.stub("python", "exit 75")
    assert len(front.run(SLURM_JOB_EXIT_CODE2=code)) == 1


@pytest.mark.parametrize("line", ['mode = "observe"', "  mode='observe' # a trial"])
def test_observe_mode_changes_nothing(front: Front, line: str) -> None:
    front.stub("python", "exit 75")
    front.site.write_text(f"{line}\n[hook]\n")
    assert [line.split()[0] for line in front.run()] == ["python"]


def test_another_mode_does(front: Front) -> None:
    front.stub("python", "exit 75")
    front.site.write_text('# mode = "observe"\nmode = "act"\n')
    requeued(front, front.run())


@pytest.mark.parametrize(
    ("count", "requeues"), [("9", True), ("10", False), ("", False), ("x", False)]
)
def test_nothing_escapes_the_cap(front: Front, count: str, requeues: bool) -> None:
    front.stub("python", "exit 75")
    asked = [line for line in front.run(SLURM_JOB_RESTART_COUNT=count) if "scontrol" in line]
    assert (len(asked) == 2) == requeues
    assert ("not requeued: restart count" in front.log) != requeues


# --- the text of the script ----------------------------------------------------------------------


def test_the_values_are_filled_in_and_quoted() -> None:
    settings = Site(state_dir=Path("/s t"), slurm_bin=Path("/opt/slurm/bin"))
    text = hook_text(
        Path("/a b/site.toml"), settings, former=Path("/x;y"), python=Path("/it's/python")
    )
    lines = text.splitlines()
    assert lines[:2] == ["#!/bin/sh", f"# slurm_restart {__version__}"]
    assert "SITE='/a b/site.toml'" in lines
    assert "STATE='/s t'" in lines
    assert "BIN=/opt/slurm/bin" in lines
    assert "CONF=/etc/slurm/slurm.conf" in lines
    assert "PYTHON='/it'\"'\"'s/python'" in lines
    assert any(line.startswith("FORMER='/x;y' ") for line in lines)
    assert re.findall("@[A-Z_]+@", text) == []


def test_by_default_this_interpreter_runs_and_no_former_hook() -> None:
    text = hook_text(Path("/s"), Site())
    assert f"PYTHON={sys.executable}\n" in text
    assert re.search("^FORMER='' ", text, re.MULTILINE)


@pytest.mark.parametrize("value", ["$(touch MARK)", "`touch MARK`", "@SITE@/@PYTHON@"])
def test_a_value_is_data_for_the_shell(tmp_path: Path, value: str) -> None:
    path = tmp_path / value.replace("MARK", f"{tmp_path}/mark")
    settings = Site(state_dir=path, slurm_bin=path, slurm_conf=path)
    text = hook_text(path, settings, python=path)
    assert text.count(f"={shlex.quote(str(path))}\n") == 5
    hook = tmp_path / "csx-epilog"
    hook.write_text(text)
    subprocess.run(["/bin/sh", hook], env=FAILED, check=False, capture_output=True, timeout=300)
    assert not (tmp_path / "mark").exists()


def test_an_installation_without_the_template_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook_script, "_SHARE", tmp_path)
    monkeypatch.setattr(hook_script, "_CHECKOUT", tmp_path)
    with pytest.raises(CsxError, match=f"{tmp_path}/csx-epilog: missing from this installation"):
        hook_text(Path("/s"), Site())


def test_the_longest_hook_contains_all_waits() -> None:
    limits = HookLimits(queue_timeout=1000, deadline=200, command_timeout=30)
    assert longest_hook(limits) == 1000 + 2 * 200 + 10 + 15 + 4 * 30
    assert longest_hook(limits, former=True) == longest_hook(limits) + 200


def test_the_cap_leaves_room_for_restarts_that_do_not_count() -> None:
    policy = SitePolicy(max_total_restarts=7, max_uncounted_restarts=20)
    assert restart_cap(Site(policy=policy)) == 27
