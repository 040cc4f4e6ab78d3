"""The manual pages: complete, and without a warning of groff's."""

import shutil
import subprocess
from pathlib import Path

import click
import pytest

from contrib import roff
from contrib.man_run import PAGES, main
from slurm_restart.cli.restart import COMMANDS, group

GROFF = shutil.which("groff")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (".so /etc/passwd", "\\&.so /etc/passwd"),
        ("'x", "\\&'x"),
        ("a -b \\n", "a \\-b \\en"),
        ("…", "\\[u2026]"),
    ],
)
def test_no_text_is_a_request(text, shown):
    assert roff.escape(text) == shown


def test_markdown():
    text = (
        "## Limits of *all*\n\nA [link](x.md) and `--code`\ngoes on.\n\n- one\n- two\n\n"
        "| key | type | meaning |\n|---|---|---|\n| `a\\|b` | path | where |\n\n```sh\nls -l\n```\n"
    )
    assert roff.from_markdown(text).splitlines() == [
        ".SH LIMITS OF \\fIALL\\fR",
        ".PP",
        "A link and \\fB\\-\\-code\\fR goes on.",
        ".IP \\(bu 2",
        "one",
        ".IP \\(bu 2",
        "two",
        ".TP",
        "\\fBa|b\\fR",
        "where (type: path)",
        ".PP",
        ".nf",
        ".RS 4",
        "ls \\-l",
        ".RE",
        ".fi",
    ]


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    found = tmp_path_factory.mktemp("man")
    assert main([str(found)]) == 0
    return found


def page(directory: Path, name: str) -> Path:
    return directory / f"man{name[-1]}" / name


@pytest.mark.skipif(GROFF is None, reason="no groff here")
@pytest.mark.parametrize("name", PAGES)
def test_groff_has_no_warning(directory, name):
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", str(page(directory, name))],
        capture_output=True,
        check=True,
    )
    # A path, which is not broken, may leave wide gaps in its line.
    warnings = [line for line in done.stderr.decode().splitlines() if "spread" not in line]
    assert warnings == []
    assert len(done.stdout) > 1000


def test_every_subcommand_and_option_is_in_a_page(directory):
    text = "".join(page(directory, name).read_text() for name in PAGES)
    context = click.Context(group)
    for name in COMMANDS:
        command = group.get_command(context, name)
        assert command is not None
        assert f".SS csx\\-restart {name}" in text
        for each in command.params:
            for option in each.opts if isinstance(each, click.Option) else ():
                assert roff.escape(option) in text
