"""No file that a user can put somewhere makes a reader wait, fill its memory or write elsewhere."""

import errno
import os
import socket
import threading

import pytest

from slurm_restart.safe_files import (
    FileTooLargeError,
    NotRegularFileError,
    create_new,
    open_append,
    open_below,
    open_directory,
    open_own_directory,
    open_regular,
    read_bounded,
    read_tail,
)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    return path


def test_a_regular_file_is_read_up_to_the_limit(file):
    assert read_bounded(file, 10) == b"0123456789"
    assert read_tail(file, 3) == b"789"
    assert read_tail(file, 100) == b"0123456789"
    with pytest.raises(FileTooLargeError, match="at most 9 bytes"):
        read_bounded(file, 9)


def test_the_descriptor_is_not_inherited(file):
    descriptor = open_regular(file)
    try:
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)


def make(kind, path):
    match kind:
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "terminal":
            path.symlink_to("/dev/tty")
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(os.fspath(path))
        case "loop":
            path.symlink_to(path)
        case "nothing":
            pass


KINDS = ("directory", "pipe", "device", "terminal", "socket", "loop", "nothing")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("read", [lambda path: read_bounded(path, 10), open_append])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, kind, read):
    path = tmp_path / "sub" / "x"
    path.parent.mkdir()
    make(kind, path)
    if read is open_append and kind == "nothing":
        path.parent.rmdir()
    with pytest.raises(OSError, match=r".") as caught:
        read(path)
    assert caught.value.strerror


def test_the_message_names_the_kind(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotRegularFileError, match="expected a regular file, got a named pipe"):
        read_bounded(tmp_path / "pipe", 10)


def test_a_pipe_put_in_a_files_place_after_it_was_examined_is_refused(file, monkeypatch):
    status = file.stat()
    file.unlink()
    os.mkfifo(file)
    monkeypatch.setattr(os, "stat", lambda *_, **__: status)
    with pytest.raises(NotRegularFileError, match="named pipe"):
        open_regular(file)


def test_a_link_is_followed_only_where_asked_for(file, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(file)
    assert read_bounded(link, 10) == b"0123456789"
    with pytest.raises(NotRegularFileError, match="symbolic link"):
        read_bounded(link, 10, follow=False)
    with pytest.raises(NotRegularFileError, match="symbolic link"):
        open_append(link)
    link.unlink()
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        open_append(link)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("path", ["a\0b", "\ud800", "x" * 5000, ""])
def test_a_name_that_no_file_can_have_is_an_os_error(path):
    for read in (lambda: read_bounded(path, 10), lambda: open_append(path)):
        with pytest.raises(OSError, match=r"."):
            read()


def test_a_sparse_gigabyte_costs_no_memory(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as stream:
        stream.truncate(1 << 30)
    with pytest.raises(FileTooLargeError) as caught:
        read_bounded(path, 1 << 20)
    assert caught.value.errno == errno.EFBIG
    assert len(read_tail(path, 1000)) == 1000


def test_a_file_that_grows_while_it_is_read_ends_the_reading(file):
    stop = threading.Event()

    def grow():
        with file.open("ab") as stream:
            stream.write(b"x" * 65536)
            while not stop.is_set() and stream.tell() < 64 << 20:
                stream.write(b"x" * 65536)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        for _ in range(20):
            assert len(read_tail(file, 1000)) <= 1000
    finally:
        stop.set()
        writer.join()
    with pytest.raises(FileTooLargeError):
        read_bounded(file, 10)


def test_appending_creates_a_file_and_keeps_what_is_there(tmp_path):
    for text in (b"a", b"b"):
        descriptor = open_append(tmp_path / "log")
        os.write(descriptor, text)
        os.close(descriptor)
    assert (tmp_path / "log").read_bytes() == b"ab"


def test_a_new_file_is_created_once(tmp_path):
    path = tmp_path / "new"
    assert create_new(path, b"a", mode=0o600)
    assert not create_new(path, b"b")
    assert path.read_bytes() == b"a"
    assert path.stat().st_mode & 0o777 == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert not create_new(tmp_path / "link", b"x")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(file):
    file.chmod(0)
    with pytest.raises(PermissionError):
        read_bounded(file, 10)


def test_a_file_and_a_directory_below_an_open_directory(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    directory = open_directory(tmp_path, "a")
    # The descriptor still means the same directory once its path means another one.
    (tmp_path / "a").rename(tmp_path / "moved")
    (tmp_path / "a" / "b").mkdir(parents=True)
    try:
        for inner, name in ((os.dup(directory), "log"), (open_below(directory, "b"), "inner.log")):
            descriptor = open_append(name, directory=inner)
            os.close(descriptor)
            os.close(inner)
        with pytest.raises(OSError, match=r"expected a directory, no link.*'shown/c'"):
            open_below(directory, "c", shown="shown")
    finally:
        os.close(directory)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*log")}
    assert found == {"moved/log", "moved/b/inner.log"}


@pytest.mark.parametrize("link", [False, True])
def test_only_its_owner_opens_a_directory_to_write_in_it(tmp_path, monkeypatch, link):
    owner, path = 4711, tmp_path / "own"
    path.mkdir()
    if os.geteuid() == 0:
        os.chown(path, owner, -1)
    else:
        owner = os.geteuid()
    if link:
        (tmp_path / "link").symlink_to(path)
        path = tmp_path / "link"
    for user in (0, owner + 1):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        with pytest.raises(PermissionError, match=f"got owner {owner}"):
            open_own_directory(path)
    monkeypatch.setattr(os, "geteuid", lambda: owner)
    os.close(open_own_directory(path))


def test_root_writes_not_even_in_a_directory_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(PermissionError, match="expected an owner who is not root"):
        open_own_directory(tmp_path)
