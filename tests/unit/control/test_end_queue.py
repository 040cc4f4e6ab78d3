"""A queued end is served by one process at a time, and stays until it is judged."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from slurm_restart.control.end_queue import (
    ClaimedEnd,
    claim,
    queue_dir,
    queued,
    read_end,
    remove_end,
)
from slurm_restart.errors import CsxError

HOLDER = """
import sys
from pathlib import Path
from slurm_restart.control.end_queue import claim
end = claim(Path(sys.argv[1]), wait=True)
print("none" if end is None else "got", flush=True)
sys.stdin.read()
"""


def queue(
    state: Path,
    name: str = "7.100",
    *,
    job_id: int = 7,
    restarts: int = 0,
    cluster: str = "c",
    comment: str = "mine",
) -> Path:
    """Put an end into the queue, as csx-epilog does."""
    folder = queue_dir(state)
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(
        f"SLURM_CLUSTER_NAME={cluster}\nSLURM_JOB_ID={job_id}\nSLURM_JOB_UID=1000\n"
        f"SLURM_JOB_EXIT_CODE2=3:0\nSLURM_JOB_RESTART_COUNT={restarts}\n"
        f"SLURM_JOB_NODELIST=csx1\nSLURM_JOB_COMMENT={comment}\n"
    )
    return path


def claimed(path: Path) -> ClaimedEnd:
    end = claim(path)
    assert end is not None
    return end


def hold(path: Path) -> subprocess.Popen[str]:
    """Another process that claims a file, and keeps it until it is killed."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_claimed_end_is_nobody_elses(tmp_path: Path) -> None:
    path = queue(tmp_path)
    end = claimed(path)
    assert claim(path) is None
    end.release(done=False)
    claimed(path).release(done=False)


def test_an_end_that_is_done_is_gone(tmp_path: Path) -> None:
    path = queue(tmp_path)
    claimed(path).release(done=True)
    assert not path.exists()
    assert claim(path) is None


def test_the_end_of_a_killed_process_is_free_again(tmp_path: Path) -> None:
    path = queue(tmp_path)
    other = hold(path)
    assert answer(other) == "got"
    assert claim(path) is None
    other.send_signal(signal.SIGKILL)
    other.communicate(timeout=300)
    claimed(path).release(done=False)


@pytest.mark.parametrize("done", [True, False])
def test_who_waits_gets_what_is_left(tmp_path: Path, done: bool) -> None:
    path = queue(tmp_path)
    end = claimed(path)
    other = hold(path)
    end.release(done=done)
    assert answer(other) == ("none" if done else "got")
    other.communicate(timeout=300)


def test_a_child_of_the_holder_does_not_inherit_the_claim(tmp_path: Path) -> None:
    path = queue(tmp_path)
    end = claimed(path)
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)
    end.release(done=False)
    claimed(path).release(done=False)
    child.communicate(timeout=300)


def test_a_file_of_the_same_name_is_another_end(tmp_path: Path) -> None:
    path = queue(tmp_path)
    other = hold(path)
    assert answer(other) == "got"
    path.unlink()
    queue(tmp_path, restarts=5)
    assert claimed(path).read().restarts == 5
    other.communicate(timeout=300)


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    path = queue(tmp_path)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        claim(path)


def test_the_oldest_end_is_first(tmp_path: Path) -> None:
    paths = [queue(tmp_path, name) for name in ("9.1", "7.2", "8.3")]
    for path, second in zip(paths, (30, 10, 20), strict=True):
        os.utime(path, (second, second))
    assert [path.name for path in queued(tmp_path)] == ["7.2", "8.3", "9.1"]


def test_what_is_being_written_is_not_in_the_queue(tmp_path: Path) -> None:
    queue(tmp_path).rename(queue_dir(tmp_path) / ".7.100")
    assert queued(tmp_path) == ()
    assert read_end(tmp_path, 7) is None


def test_without_a_directory_the_queue_is_empty(tmp_path: Path) -> None:
    assert queued(tmp_path) == ()
    (tmp_path / "queue").write_text("a file")
    assert queued(tmp_path) == ()


def test_a_file_of_another_form_is_an_error_with_its_name(tmp_path: Path) -> None:
    path = queue(tmp_path)
    path.write_bytes(b"\xff\0")
    with pytest.raises(CsxError, match="expected lines of"):
        claimed(path).read()


# --- for those who judge later -------------------------------------------------------------------


def test_the_oldest_end_of_a_job(tmp_path: Path) -> None:
    queue(tmp_path, "7.1", restarts=4)
    queue(tmp_path, "7.2", restarts=3)
    queue(tmp_path, "77.3", job_id=77)
    env = read_end(tmp_path, 7)
    assert env is not None
    assert (env.job_id, env.restarts, env.exit_code) == (7, 3, 3)
    assert env.queued_at == (queue_dir(tmp_path) / "7.2").stat().st_mtime
    assert read_end(tmp_path, 8) is None


def test_an_end_of_another_cluster(tmp_path: Path) -> None:
    queue(tmp_path, cluster="c")
    assert read_end(tmp_path, 7, cluster="d") is None
    assert read_end(tmp_path, 7, cluster="c") is not None


def test_damaged_files_are_passed_over(tmp_path: Path) -> None:
    queue(tmp_path, "7.1").write_text("x")
    queue(tmp_path, "7.2", job_id=8)
    assert read_end(tmp_path, 7) is None


def test_a_judged_end_is_removed_with_those_before(tmp_path: Path) -> None:
    for number in range(3):
        queue(tmp_path, f"7.{number}", restarts=number)
    other = queue(tmp_path, "7.9", cluster="d")
    env = claimed(queue_dir(tmp_path) / "7.1").read()
    remove_end(tmp_path, env)
    assert set(queued(tmp_path)) == {queue_dir(tmp_path) / "7.2", other}
