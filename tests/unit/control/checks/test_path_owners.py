"""Every place in a path that lets another user replace a file is found, links included."""

import os
import stat
from collections.abc import Collection
from pathlib import Path

import pytest

from slurm_restart.control.checks import path_owners
from tests.unit.control.checks.installation import NOBODY, as_root

ROOT_AND_ME = frozenset({0, os.geteuid()})


def weak_places(path: Path, trusted: Collection[int]) -> tuple[str, ...]:
    return tuple(map(str, path_owners.weak_places(path, trusted)))


@pytest.fixture
def file(top: Path) -> Path:
    """A file that only its owner can change: top/a/b/file."""
    (top / "a" / "b").mkdir(parents=True)
    path = top / "a" / "b" / "file"
    path.touch()
    for place in (path, path.parent, path.parent.parent):
        place.chmod(0o755)
    return path


def test_a_file_of_root_in_roots_directories_has_no_weak_place(file: Path) -> None:
    assert weak_places(file, ROOT_AND_ME) == ()


def test_tmp_is_sticky_and_no_weak_place(file: Path) -> None:
    mode = Path("/tmp").stat().st_mode
    assert mode & stat.S_IWOTH
    assert file.is_relative_to("/tmp")
    assert weak_places(file, ROOT_AND_ME) == ()


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("mode", [0o757, 0o777, 0o702])
def test_a_place_that_everybody_can_write(file: Path, depth: int, mode: int) -> None:
    place = (file, *file.parents)[depth]
    place.chmod(mode)
    assert weak_places(file, ROOT_AND_ME) == (f"{place} can be written by everybody",)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_place_that_a_group_can_write(file: Path, depth: int) -> None:
    place = (file, *file.parents)[depth]
    if os.geteuid() == 0:
        os.chown(place, 0, 54321)
    place.chmod(0o775)
    [weak] = weak_places(file, ROOT_AND_ME)
    assert weak.startswith(f"{place} can be written by the group ")
    assert os.geteuid() != 0 or weak.endswith(" 54321")


@as_root
def test_the_group_root_may_write(file: Path) -> None:
    os.chown(file, 0, 0)
    file.chmod(0o775)
    assert weak_places(file, ROOT_AND_ME) == ()


@as_root
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_place_of_a_user(file: Path, depth: int) -> None:
    place = (file, *file.parents)[depth]
    os.chown(place, NOBODY.pw_uid, 0)
    assert weak_places(file, ROOT_AND_ME) == (f"{place} belongs to nobody",)
    assert weak_places(file, {0, NOBODY.pw_uid}) == ()


def test_every_place_of_an_untrusted_owner_is_named(file: Path) -> None:
    weak = weak_places(file, {987654321})
    assert len(weak) == len(file.parts)
    assert weak[0].startswith("/ belongs to ")
    assert weak[-1].startswith(f"{file} belongs to ")


@pytest.mark.parametrize("relative", [False, True])
def test_the_path_of_a_links_target_counts(file: Path, top: Path, *, relative: bool) -> None:
    link = top / "link"
    link.symlink_to(Path("a/b/../b/file") if relative else file)
    assert weak_places(link, ROOT_AND_ME) == ()
    file.parent.chmod(0o777)
    assert weak_places(link, ROOT_AND_ME) == (f"{file.parent} can be written by everybody",)


def test_the_directory_of_a_link_counts(file: Path, top: Path) -> None:
    (top / "open").mkdir()
    (top / "open").chmod(0o777)
    link = top / "open" / "link"
    link.symlink_to(file)
    assert weak_places(link, ROOT_AND_ME) == (f"{top}/open can be written by everybody",)


def test_a_circle_of_links_and_an_absent_file_are_errors(top: Path) -> None:
    (top / "one").symlink_to("two")
    (top / "two").symlink_to("one")
    with pytest.raises(OSError, match="symbolic links"):
        weak_places(top / "one", ROOT_AND_ME)
    with pytest.raises(FileNotFoundError):
        weak_places(top / "absent", ROOT_AND_ME)


def test_weak_files_below_a_directory(file: Path, top: Path) -> None:
    assert path_owners.weak_files(top, ROOT_AND_ME) == ()
    file.chmod(0o666)
    [weak] = path_owners.weak_files(top, ROOT_AND_ME)
    assert (weak.path, weak.reason) == (file, "can be written by everybody")
