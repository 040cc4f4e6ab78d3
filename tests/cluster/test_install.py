"""The printed way from nothing to a survived failure, for an administrator and then for a user.

In a root directory of its own, with a Slurm that knows nothing of this project. systemd is a small
script there: units are files, and slurmctld is restarted by devcluster.
"""

import re
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from contrib.testing import clean_root
from contrib.testing.clean_root import TOP, CleanRoot

CLUSTER = "/srv/cluster"
USER = "csx-alice"
CHECKOUT = "/root/slurm_restart"
DEVCLUSTER = f"{TOP}/contrib/devcluster"
RESTART = f"{DEVCLUSTER} fault {CLUSTER} kill-ctld && {DEVCLUSTER} fault {CLUSTER} start-ctld"
SYSTEMCTL = f"""\
#!/bin/sh
units=/etc/systemd/system
sweep=$units/slurm-restart-reconcile.service
case $1 in
enable)
    mkdir -p $units/timers.target.wants
    ln -s $units/$3 $units/timers.target.wants/
    runuser -u "$(sed -n 's/^User=//p' $sweep)" -- $(sed -n 's/^ExecStart=//p' $sweep)
    ;;
restart) {RESTART} ;;
show)
    echo LoadState=loaded; echo ActiveState=active; echo UnitFileState=enabled; echo Result=success
    echo 'TimersMonotonic={{ OnUnitInactiveUSec=30s ; next_elapse=0 }}'
    sed 's/^ExecStart=\\(.*\\)/ExecStart={{ argv[]=\\1 ; }}/' "$units/$3"
    ;;
esac
"""


def blocks(page: str, begin: str, end: str) -> list[str]:
    """Return the blocks of shell commands between two headings of a page."""
    text = (TOP / page).read_text()
    part = text[text.index(f"\n{begin}\n") : text.index(f"\n{end}\n")]
    return re.findall(r"^```sh\n(.*?)^```", part, re.DOTALL | re.MULTILINE)


def number_of_commands(text: str) -> int:
    """Return how many lines a person types; what stands in a here-document is one."""
    shorter = re.sub(r"<<'EOF'\n.*?^EOF$", "", text, flags=re.DOTALL | re.MULTILINE)
    return len([line for line in shorter.splitlines() if line and not line.startswith("#")])


@pytest.fixture
def root() -> Iterator[CleanRoot]:
    """A machine with a Slurm of three nodes, an ordinary user, and the checkout in /root."""
    if (reason := clean_root.missing()) is not None:
        pytest.skip(reason)
    with CleanRoot() as root:
        pack = subprocess.run(
            ["tar", "c", "--exclude=./.*", "--exclude=__pycache__", "."],
            cwd=TOP,
            capture_output=True,
            check=True,
        )
        root.path(CHECKOUT).mkdir(parents=True)
        subprocess.run(["tar", "x", "-C", root.path(CHECKOUT)], input=pack.stdout, check=True)
        root.run("useradd", "--create-home", USER)
        root.run(DEVCLUSTER, "up", "--nodes", "3", "--timeout", "300", CLUSTER)
        root.run("mkdir", "-p", "/etc/slurm")
        root.run("ln", "-sf", f"{CLUSTER}/etc/slurm.conf", "/etc/slurm/slurm.conf")
        try:
            if reason := no_index(root):
                pytest.skip(reason)
            yield root
        finally:
            root.run(DEVCLUSTER, "down", "--purge", CLUSTER, check=False)


def no_index(root: CleanRoot) -> str | None:
    """Return why pip can fetch nothing, or None."""
    root.run("python3", "-m", "venv", "/tmp/venv")
    done = root.run("/tmp/venv/bin/pip", "download", "-q", "-d", "/tmp", "click", check=False)
    return None if done.returncode == 0 else f"pip can fetch nothing: {done.stdout[-300:]}"


class Guide:
    """A person who follows a page; minutes and commands are counted."""

    def __init__(self, root: CleanRoot) -> None:
        self.root, self.count, self.begun = root, 0, time.monotonic()

    def admin(self, text: str) -> str:
        return self._follow(text, "bash", "-euc", f"cd {CHECKOUT}\n{text}")

    def user(self, text: str) -> str:
        return self._follow(text, "runuser", "-l", USER, "-c", f"set -eu\n{text}")

    def _follow(self, text: str, *command: str) -> str:
        self.count += number_of_commands(text)
        return self.root.run(*command).stdout

    def told(self, who: str) -> str:
        minutes = (time.monotonic() - self.begun) / 60
        text = f"{who}: {self.count} commands, {minutes:.1f} minutes"
        self.count, self.begun = 0, time.monotonic()
        return text


def survives(guide: Guide) -> None:
    """Follow the page for users, and look at what it promises."""
    headings = ("## See it survive a failure", "## Say how to restart")
    [block] = blocks("docs/howto/batch-scripts.md", *headings)
    said = guide.user(block)
    assert "COMPLETED" in said
    assert "decision     relaunch" in said
    newest = max(guide.root.path(f"/home/{USER}").glob("slurm-*.out"))
    steps = re.findall(r"^step (\d+)$", newest.read_text(), re.MULTILINE)
    assert steps == [str(step) for step in range(1, 21)]


def say(capsys: pytest.CaptureFixture[str], *lines: str) -> None:
    with capsys.disabled():
        sys.stdout.write("\n  ".join(("", *lines, "")))


def test_the_readme(root: CleanRoot, capsys: pytest.CaptureFixture[str]) -> None:
    root.path("/run/systemd/system").mkdir(parents=True)
    systemctl = root.path("/usr/local/bin/systemctl")
    systemctl.write_text(SYSTEMCTL)
    systemctl.chmod(0o755)
    guide = Guide(root)
    [block] = blocks("README.md", "## Install it", "## Use it")
    said = guide.admin(block)
    assert "PROBLEM" not in said
    assert "0 problem" in said
    admin = guide.told("README, an administrator")
    assert root.run("csx-restart", "install", "--check").returncode == 0
    survives(guide)
    say(capsys, admin, guide.told("then a user"))


def test_the_page_for_administrators(root: CleanRoot, capsys: pytest.CaptureFixture[str]) -> None:
    """Without systemd: cron, whose first minute is not waited for."""
    guide = Guide(root)
    page = "docs/howto/install.md"
    settings = "## 2. Settings, hook, slurm.conf, sweep"
    trial = "## 6. The trial: observe mode"
    for block in blocks(page, "## 1. The package", "## 3. slurm.conf"):
        guide.admin(block)
    assert settings in (TOP / page).read_text()
    guide.admin(RESTART)
    line = root.path("/etc/cron.d/slurm-restart").read_text().splitlines()[-1]
    user, command = line.split(maxsplit=6)[5:]
    root.run("runuser", "-u", user, "--", "sh", "-c", command)
    said = "".join(guide.admin(block) for block in blocks(page, "## 5. Check", trial))
    assert "PROBLEM" not in said
    assert "0 problem" in said
    assert "observe mode" in guide.user("csx-sbatch --wrap='exit 1'")
    after = "## 7. Explain for everybody: export_dir"
    [act] = [block for block in blocks(page, trial, after) if "act" in block]
    guide.admin(act)
    admin = guide.told(f"{page}, an administrator")
    # Upgraded later, to a venv beside the first: nothing but the hook is to be done.
    [upgrade] = blocks(page, "## Upgrade", "## Removal")
    assert "0 problem" in guide.admin(upgrade)
    assert (
        "PYTHON=/opt/slurm_restart-0.3/" in root.path("/etc/slurm_restart/csx-epilog").read_text()
    )
    upgraded = guide.told("an upgrade")
    survives(guide)
    # What the hook has decided, shown to a user by the copies.
    assert "source: /var/lib/slurm_restart_public/" in guide.user("csx-restart explain 2")
    say(capsys, admin, upgraded, guide.told("then a user"))
