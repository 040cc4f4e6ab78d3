"""Each cluster has a folder of its own, whose name is safe and can be read back."""

import os
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.control.cluster_folder import folder_name


@pytest.mark.parametrize(
    ("cluster", "folder"),
    [
        ("c1", "c1"),
        ("Big-Cluster_2.site", "Big-Cluster_2.site"),
        ("a" * 200, "a" * 200),
        ("-x", "%2Dx"),
        (".", "%2E"),
        ("..", "%2E."),
        (".hidden", "%2Ehidden"),
        ("_x", "%5Fx"),
        ("a/../b", "a%2F..%2Fb"),
        ("a%2F", "a%252F"),
        ("ünï", "%C3%BCn%C3%AF"),
        ("", "%"),
        ("a\0\nb c*", "a%00%0Ab%20c%2A"),
    ],
)
def test_names(cluster: str, folder: str) -> None:
    assert folder_name(cluster) == folder


@given(cluster=st.text(max_size=60))
def test_a_folder_is_safe_and_reversible(cluster: str) -> None:
    folder = folder_name(cluster)
    assert folder
    assert folder[0] not in ".-"
    assert len(folder) <= 200
    assert set(folder) <= set("%~._-") | set(map(chr, range(48, 58))) | set(
        map(chr, (*range(65, 91), *range(97, 123)))
    )
    if "%~" not in folder and cluster:
        assert unquote(folder) == cluster


@given(names=st.lists(st.text(min_size=190, max_size=210, alphabet="aü%"), unique=True))
def test_long_names_are_told_apart(names: list[str]) -> None:
    folders = [folder_name(name) for name in names]
    assert len(set(folders)) == len(names)
    assert all(len(folder) <= 200 for folder in folders)


def test_the_hook_and_scontrol_name_the_same_folder() -> None:
    raw = b"caf\xe9"  # in Latin-1: the environment keeps the byte, scontrol's output is replaced
    assert folder_name(os.fsdecode(raw)) == folder_name(raw.decode(errors="replace"))
    assert folder_name("a\ud800") == folder_name("a\ufffd")
