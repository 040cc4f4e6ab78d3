"""Writes what a package has beside the Python package: commands, completion, pages, units."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from click.shell_completion import get_completion_class

from contrib import man_run
from slurm_restart.cli.completion import sbatch_completion
from slurm_restart.cli.restart import group

CONTRIB = Path(__file__).resolve().parent
_COMMAND = """\
#!/usr/bin/python3 -s
from slurm_restart.cli.console import {function}

{function}()
"""
"""A user's own packages (-s) do not take the place of those that the package depends on."""
_ZSH = '#compdef csx-sbatch\n{body}\n_csx_sbatch "$@"\n'
_MAN = "usr/share/man"
_ONLY_THERE = "ConditionPathExists=/etc/slurm_restart/site.toml"


def commands() -> Iterator[tuple[str, str, int]]:
    """Yield path, text and mode of the commands."""
    for name in ("csx-restart", "csx-sbatch"):
        yield f"usr/bin/{name}", _COMMAND.format(function=name.replace("-", "_")), 0o755


def completion() -> Iterator[tuple[str, str, int]]:
    """Yield path, text and mode of the completion: each shell loads it by the command's name."""
    own, sbatch = "csx-restart", "csx-sbatch"
    places = {
        "bash": "usr/share/bash-completion/completions/{}",
        "fish": "usr/share/fish/vendor_completions.d/{}.fish",
        "zsh": "usr/share/zsh/vendor-completions/_{}",
    }
    for shell, place in places.items():
        kind = get_completion_class(shell)
        if kind is None:
            raise SystemExit(f"click has no completion for {shell}")
        whole = kind(group, {}, own, "_CSX_RESTART_COMPLETE")
        text = (whole.source_template % whole.source_vars()).strip()
        yield place.format(own), f"{text}\n", 0o644
        of_sbatch = sbatch_completion(shell)
        if shell == "zsh":
            of_sbatch = _ZSH.format(body=of_sbatch.partition("\n")[0]).rstrip()
        yield place.format(sbatch), f"{of_sbatch}\n", 0o644


def pages() -> Iterator[tuple[str, str, int]]:
    """Yield path, text and mode of the manual pages."""
    for name, page in man_run.PAGES.items():
        yield f"{_MAN}/man{name[-1]}/{name}", f"{page()}\n", 0o644


def units() -> Iterator[tuple[str, str, int]]:
    """Yield path, text and mode of systemd's units, which are for controllers only."""
    for path in sorted((CONTRIB / "systemd").iterdir()):
        text = path.read_text().replace("/opt/slurm_restart/bin/", "/usr/bin/")
        if path.suffix == ".service":
            text = text.replace("[Unit]\n", f"[Unit]\n{_ONLY_THERE}\n")
        yield f"usr/lib/systemd/system/{path.name}", text, 0o644


def main(args: Sequence[str] | None = None) -> int:
    """Write the files below a directory that stands for `/`."""
    parser = argparse.ArgumentParser(prog="contrib.package_files", description=__doc__)
    parser.add_argument("root", type=Path, help="such as the build root of a package")
    root = parser.parse_args(args).root
    for name, text, mode in (*commands(), *completion(), *pages(), *units()):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
    return 0


if __name__ == "__main__":
    sys.exit(main())
