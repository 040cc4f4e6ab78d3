"""The state directory knows since when it has records, and errors about it name the remedy."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from slurm_restart.control import state_dir as module
from slurm_restart.control.state_dir import birth, foreign_files, state_error
from slurm_restart.errors import StateError
from tests.unit.other_users import NOBODY, as_root


def test_the_first_process_writes_the_time_for_good(tmp_path: Path) -> None:
    before = int(time.time())
    first = birth(tmp_path / "state")
    assert before <= first <= time.time()
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    (tmp_path / "state" / "created").write_text("77\n")
    assert birth(tmp_path / "state") == 77


def test_an_emptied_directory_is_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "created").write_text("77\n")
    assert birth(tmp_path) == 77
    (tmp_path / "created").unlink()
    assert birth(tmp_path) > 77


def test_a_directory_of_an_earlier_release_is_as_old_as_its_oldest_journal(tmp_path: Path) -> None:
    for name, changed in (("a", 500), ("b", 300)):
        path = tmp_path / "journal" / name / f"1-1-{name}.jsonl"
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, (changed, changed))
    assert birth(tmp_path) == 300


@pytest.mark.parametrize("text", ["", "x", "12 34", "-5", "\xb2"])
def test_a_file_without_a_number_is_as_old_as_it_is(tmp_path: Path, text: str) -> None:
    (tmp_path / "created").write_text(text)
    os.utime(tmp_path / "created", (300, 300))
    assert birth(tmp_path) == 300


def test_many_processes_agree(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from slurm_restart.control import state_dir\n"
        "sys.stdin.read(); state_dir.time.time = lambda: int(sys.argv[2])\n"
        "print(state_dir.birth(Path(sys.argv[1])))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "state"), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(6)
    ]
    answers = {process.communicate(timeout=300)[0].strip() for process in processes}
    chosen = (tmp_path / "state" / "created").read_text().strip()
    # One that came while the file was still empty has the time of the file itself.
    assert chosen in {str(number) for number in range(6)}
    assert all(answer == chosen or int(answer) > 10**9 for answer in answers)


def test_a_full_disk_does_not_hide_the_birth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(StateError, match="created: No space left on device: make room"):
            birth(tmp_path)
    assert abs(birth(tmp_path) - time.time()) < 600


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_something_else_in_the_place_of_the_time(tmp_path: Path, make: object) -> None:
    make(tmp_path / "created")  # type: ignore[operator]
    with pytest.raises(StateError, match="created: expected a regular file"):
        birth(tmp_path)


def test_a_file_in_the_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(StateError, match="state"):
        birth(tmp_path / "state")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach, as pytest's are root's alone."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def error_as(uid: int, folder: Path) -> str:
    """The error that another user gets from `birth`."""
    code = (
        "import sys; from pathlib import Path; from slurm_restart.control.state_dir import birth\n"
        "from slurm_restart.errors import StateError\n"
        "try: birth(Path(sys.argv[1]))\nexcept StateError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        user=uid,
        group=uid,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return done.stdout.strip()


@as_root
def test_what_belongs_to_root_is_named_with_the_remedy(open_folder: Path) -> None:
    state = open_folder / "state"
    assert error_as(NOBODY, state) == (
        f"{open_folder}: belongs to root, not to nobody: chown nobody {open_folder}"
    )
    state.mkdir(mode=0o700)
    assert (
        error_as(NOBODY, state) == f"{state}: belongs to root, not to nobody: chown nobody {state}"
    )
    os.chown(state, NOBODY, NOBODY)
    (state / "created").write_text("1")
    (state / "created").chmod(0o600)
    path = state / "created"
    assert error_as(NOBODY, state) == f"{path}: belongs to root, not to nobody: chown nobody {path}"
    os.chown(path, NOBODY, NOBODY)
    path.chmod(0)
    assert error_as(NOBODY, state) == f"{path}: Permission denied: chmod u+rwX {path}"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSPC, "No space left on device: make room on its file system"),
        (errno.EDQUOT, "Disk quota exceeded: make room on its file system"),
        (errno.EROFS, "Read-only file system"),
        (errno.ESTALE, "Stale file handle"),
    ],
)
def test_errors(tmp_path: Path, number: int, text: str) -> None:
    error = state_error(tmp_path / "x", OSError(number, os.strerror(number)))
    assert str(error) == f"{tmp_path}/x: {text}"
    assert str(state_error(tmp_path, OSError("odd"))) == f"{tmp_path}: odd"


def test_files_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("one", "a/two", "a/b/three"):
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("/etc/passwd")
    me = os.geteuid()
    assert list(foreign_files(tmp_path, me)) == []
    found = dict(foreign_files(tmp_path, me + 1))
    assert set(found) == {tmp_path, *tmp_path.rglob("*")}
    assert set(found.values()) == {me}
    with pytest.raises(StateError, match="none"):
        list(foreign_files(tmp_path / "none", me))
    monkeypatch.setattr(module.os, "access", lambda *_: False)
    assert len(dict(foreign_files(tmp_path, me + 1))) == 4
