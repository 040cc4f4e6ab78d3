"""Values of `scontrol show config` as the checks read them."""

import os

import pytest

from slurm_restart.control.checks.context import Context, NotKnownError
from tests.unit.control.checks.installation import ME, configured


def test_the_slurm_user_is_an_account_of_this_host(context: Context) -> None:
    user = context.slurm_user
    assert (user.name, user.uid, user.gid) == (ME.pw_name, ME.pw_uid, ME.pw_gid)
    assert context.trusted == {0, os.geteuid()}


@pytest.mark.parametrize("shown", ["slurm", "", "a(b)(1)", "a(987654321)", "a(99999999999999)"])
def test_a_slurm_user_that_this_host_does_not_have(context: Context, shown: str) -> None:
    with pytest.raises(NotKnownError, match="SlurmUser"):
        _ = configured(context, SlurmUser=shown).slurm_user


@pytest.mark.parametrize(
    ("shown", "release"),
    [
        ("22.05.8", (22, 5, 8)),
        ("26.05.0-0rc1", (26, 5, 0)),
        ("24.11.5-1", (24, 11, 5)),
        ("25.11.10", (25, 11, 10)),
    ],
)
def test_the_release(context: Context, shown: str, release: tuple[int, int, int]) -> None:
    assert configured(context, SLURM_VERSION=shown).release == release


@pytest.mark.parametrize("shown", ["", "slurm", "22.05"])
def test_no_release(context: Context, shown: str) -> None:
    with pytest.raises(NotKnownError, match="SLURM_VERSION"):
        _ = configured(context, SLURM_VERSION=shown).release


@pytest.mark.parametrize(
    ("config", "values"),
    [
        ({}, ()),
        ({"Prolog": "(null)"}, ()),
        ({"Prolog": ""}, ()),
        ({"Prolog": "/a"}, ("/a",)),
        ({"Prolog[0]": "/a", "Prolog[1]": "/b"}, ("/a", "/b")),
        ({"Prolog": "/a,/b"}, ("/a", "/b")),
        ({"PrologSlurmctld": "/p", "XProlog": "/x", "PrologFlags": "Alloc"}, ()),
    ],
)
def test_settings_that_may_be_there_several_times(
    context: Context, config: dict[str, str], values: tuple[str, ...]
) -> None:
    assert configured(context, **config).several("Prolog") == values


@pytest.mark.parametrize(
    ("text", "number"), [("300 sec", 300), ("0", 0), ("INFINITE", None), ("", None)]
)
def test_seconds(context: Context, text: str, number: int | None) -> None:
    assert configured(context, MinJobAge=text).seconds("MinJobAge") == number
