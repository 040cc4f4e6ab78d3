"""Which back end is chosen, and what it says of the reason."""

import pytest

from slurm_restart.errors import UsageError
from slurm_restart.slurm import backend, rpc
from slurm_restart.slurm.commands import Commands


@pytest.mark.parametrize(
    ("pyslurm", "slurm", "name", "reason"),
    [
        (None, (25, 11), "commands", "pyslurm is not installed"),
        ((25, 11), (22, 5), "commands", "pyslurm is for Slurm 25.11, this is 22.05"),
        ((25, 11), (25, 11), "rpc", "pyslurm matches Slurm's release"),
    ],
)
def test_choice(
    monkeypatch: pytest.MonkeyPatch,
    pyslurm: tuple[int, int] | None,
    slurm: tuple[int, int],
    name: str,
    reason: str,
) -> None:
    monkeypatch.setattr(rpc, "pyslurm_release", lambda: pyslurm)
    monkeypatch.setattr(Commands, "release", lambda _: slurm)
    choice = backend.choose()
    assert (choice.name, choice.reason) == (name, reason)
    assert backend.choose("commands").name == "commands"
    if name == "rpc":
        assert backend.choose("rpc").name == "rpc"
    else:
        with pytest.raises(UsageError, match=reason):
            backend.choose("rpc")
