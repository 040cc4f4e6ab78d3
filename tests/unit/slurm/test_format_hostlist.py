"""Hostlists: ours and ClusterShell's reading agree, and no hostlist can fill the memory."""

import subprocess
import sys
import time

import pytest
from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.core.hostlist import MAX_NAMES, expand
from slurm_restart.errors import SlurmError
from slurm_restart.slurm.format_hostlist import format_hostlist


@pytest.mark.parametrize(
    ("hostlist", "names"),
    [
        ("", ()),
        ("csx1", ("csx1",)),
        ("csx1,login,csx1", ("csx1", "login")),
        ("csx[1-3,7]", ("csx1", "csx2", "csx3", "csx7")),
        ("csx[08-10]", ("csx08", "csx09", "csx10")),
        ("a[1-2],b[1-2]", ("a1", "a2", "b1", "b2")),
        ("r[1-2]n[1-2]-ib", ("r1n1-ib", "r1n2-ib", "r2n1-ib", "r2n2-ib")),
        ("[1-2]x", ("1x", "2x")),
    ],
)
def test_expand(hostlist: str, names: tuple[str, ...]) -> None:
    assert expand(hostlist) == names


@pytest.mark.parametrize(
    "hostlist",
    [
        "csx[1-",
        "csx]1[",
        "csx[]",
        "csx[1,]",
        "csx[-1]",
        "csx[2-1]",
        "csx[1-2-3]",
        "csx[a-b]",
        "a,,b",
        ",a",
        "a b",
        "a\nb",
        "[[1]]",
        f"csx[1-{MAX_NAMES + 1}]",
        "csx[1-400][1-400]",
        "csx[1-999999999999999999]",
        "csx[0-9]" * 30,
        ",".join(f"{letter}[1-20000]" for letter in "abcdefgh"),
        "x[" * 50_000,
    ],
)
def test_refused_at_once(hostlist: str) -> None:
    before = time.process_time()
    with pytest.raises(SlurmError):
        expand(hostlist)
    assert time.process_time() - before < 2


def test_as_many_names_as_allowed() -> None:
    assert len(expand(f"csx[1-{MAX_NAMES}]")) == MAX_NAMES


NAMES = st.lists(st.from_regex(r"[a-z]{1,3}(-[a-z])?[0-9]{1,4}(-ib)?", fullmatch=True), max_size=40)


@given(NAMES)
def test_fold_and_expand_are_inverse(names: list[str]) -> None:
    assert set(expand(format_hostlist(names))) == set(names)


@given(NAMES)
def test_clustershell_reads_the_same(names: list[str]) -> None:
    folded = str(NodeSet.fromlist(names, resolver=RESOLVER_NOGROUP))
    assert set(expand(folded)) == set(names)


def test_fold() -> None:
    assert format_hostlist(["csx10", "csx9", "csx10"]) == "csx9,csx10"
    assert format_hostlist(f"csx{number}" for number in range(1, 21)) == "csx[1-20]"
    assert format_hostlist([]) == ""


def test_expanding_imports_no_clustershell() -> None:
    code = (
        "import sys; from slurm_restart.core.hostlist import expand;"
        "from slurm_restart.slurm.format_hostlist import format_hostlist;"
        "expand('csx[1-100]'); format_hostlist(['a1', 'a2']);"
        "sys.exit(any(name.split('.')[0] in ('ClusterShell', 'yaml') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
