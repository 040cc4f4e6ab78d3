"""Which back end is chosen, and the reason given."""

import pytest

from slurm_restart.errors import SlurmError, SlurmUnavailableError, UsageError
from slurm_restart.slurm import choose_backend as module
from slurm_restart.slurm.choose_backend import choose_backend, parse_release
from slurm_restart.slurm.commands import Commands
from slurm_restart.slurm.pyslurm_backend import PyslurmBackend


def set_releases(monkeypatch: pytest.MonkeyPatch, pyslurm: str | None, slurm: str) -> None:
    monkeypatch.setattr(module, "pyslurm_version", lambda: pyslurm)
    monkeypatch.setattr(Commands, "config", lambda _: {"SLURM_VERSION": slurm})


@pytest.mark.parametrize(
    ("pyslurm", "slurm", "name", "reason"),
    [
        (None, "25.11.7", "commands", "pyslurm is not installed"),
        ("25.11.2", "22.05.8", "commands", "pyslurm is for Slurm 25.11, the cluster runs 22.05"),
        ("25.11.2", "26.05.5", "commands", "pyslurm is for Slurm 25.11, the cluster runs 26.05"),
        ("25.11.2", "25.05.3", "commands", "pyslurm is for Slurm 25.11, the cluster runs 25.05"),
        ("26.5.0", "25.11.7", "commands", "pyslurm is for Slurm 26.05, the cluster runs 25.11"),
        ("25.11.2", "25.11.7", "pyslurm", "pyslurm is of the cluster's release"),
        ("26.5.0", "26.05.5", "pyslurm", "pyslurm is of the cluster's release"),
        ("26.05.0", "26.05.5-rc1", "pyslurm", "pyslurm is of the cluster's release"),
    ],
)
def test_a_long_lived_process_uses_pyslurm_of_the_clusters_release(
    monkeypatch: pytest.MonkeyPatch, pyslurm: str | None, slurm: str, name: str, reason: str
) -> None:
    set_releases(monkeypatch, pyslurm, slurm)
    choice = choose_backend(long_lived=True)
    assert (choice.name, choice.reason) == (name, reason)
    assert isinstance(choice.slurm, PyslurmBackend) == (name == "pyslurm")
    assert str(choice) == f"{name} ({reason})"


def test_a_short_process_uses_the_commands_unless_requested(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_releases(monkeypatch, "25.11.2", "25.11.7")
    choice = choose_backend(long_lived=False)
    assert (choice.name, type(choice.slurm)) == ("commands", Commands)
    assert "short process" in choice.reason
    assert choose_backend("pyslurm", long_lived=False).name == "pyslurm"


def test_commands_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    set_releases(monkeypatch, "25.11.2", "25.11.7")
    choice = choose_backend("commands", long_lived=True)
    assert (choice.name, choice.reason) == ("commands", "requested")


def test_pyslurm_on_request_where_it_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    set_releases(monkeypatch, "25.11.2", "26.05.5")
    with pytest.raises(UsageError, match=r"pyslurm is for Slurm 25.11, the cluster runs 26.05"):
        choose_backend("pyslurm", long_lived=True)


def test_an_unknown_name() -> None:
    with pytest.raises(UsageError, match="expected one of auto, commands, pyslurm, got 'rpc'"):
        choose_backend("rpc", long_lived=True)


def test_a_controller_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def config(_: Commands) -> dict[str, str]:
        raise SlurmUnavailableError("configuration: no answer")

    monkeypatch.setattr(module, "pyslurm_version", lambda: "25.11.2")
    monkeypatch.setattr(Commands, "config", config)
    with pytest.raises(SlurmUnavailableError):
        choose_backend(long_lived=True)


def test_no_pyslurm_here_is_found_without_importing_it() -> None:
    if module.pyslurm_version() is not None:
        pytest.skip("pyslurm is installed")
    assert choose_backend(long_lived=True).reason == "pyslurm is not installed"


@pytest.mark.parametrize("text", ["", "abc", "25", "2511.2"])
def test_no_version(text: str) -> None:
    with pytest.raises(SlurmError, match=r"SLURM_VERSION: expected a version such as 25.11.2"):
        parse_release(text, "SLURM_VERSION")
