"""Tables and lines fit the width of the terminal, and no word is broken."""

import pytest
from click.testing import CliRunner

from slurm_restart.cli import classify
from slurm_restart.cli.table import Column, cell_width, fit_table, shorten
from slurm_restart.cli.terminal import has_colours, output_width, wrap_lines

COLUMNS = [
    Column(head="JOBID"),
    Column(head="STEP", rank=1),
    Column(head="EMPTY", rank=1),
    Column(head="WHERE", rank=3),
    Column(head="WHY", rank=2, is_text=True),
]
ROWS = [
    ("4711", "1200", "-", "partition-a", "hardware.node: after progress, csx3 is excluded"),
    ("4712", "-", "", "b", "completed"),
]


def words(text: str) -> set[str]:
    return set(text.replace("…", "").split())


@pytest.mark.parametrize("width", [*range(10, 90), 200, None])
def test_a_table_fits_and_breaks_no_word(width):
    table = fit_table(COLUMNS, ROWS, width=width)
    lines = table.splitlines()
    assert len(lines) == 1 + len(ROWS)
    assert width is None or width < 12 or max(map(len, lines)) <= width
    assert words(table) <= words(" ".join(" ".join(row) for row in ROWS)) | {
        column.head for column in COLUMNS
    }
    assert "EMPTY" not in table
    assert "4711" in lines[1]


def test_a_pipe_gets_all_of_it():
    table = fit_table(COLUMNS, ROWS, width=None)
    assert "partition-a  hardware.node: after progress, csx3 is excluded" in table


def test_columns_of_the_highest_rank_are_left_out_first():
    heads = [fit_table(COLUMNS, ROWS, width=width).split("\n")[0] for width in (70, 30, 14)]
    assert [head.split() for head in heads] == [
        ["JOBID", "STEP", "WHERE", "WHY"],
        ["JOBID", "STEP", "WHY"],
        ["JOBID", "STEP"],
    ]


def test_a_text_is_shortened_where_it_is_the_last_column():
    columns = [Column(head="A"), Column(head="B", rank=2, is_text=True), COLUMNS[-1]]
    rows = [("1", "one two three four five", "-"), ("2", "six", "-")]
    assert fit_table(columns, rows, width=20).splitlines() == [
        "A  B",
        "1  one two three …",
        "2  six",
    ]
    both = [(*row[:2], "why") for row in rows]
    assert fit_table(columns, both, width=40).splitlines()[0].split() == ["A", "B", "WHY"]
    assert fit_table(columns, both, width=28).splitlines()[1] == "1  one two three four five"


def test_a_word_that_no_line_can_hold_stays_beside_its_name():
    path = "/a" * 30
    assert wrap_lines([f"  run_dir  {path} is long"], 40, 11) == [
        f"  run_dir  {path}",
        f"{'':11}is long",
    ]


def test_control_characters_are_escaped_and_wide_ones_counted():
    assert fit_table([Column(head="A"), Column(head="B")], [("\x1b[31m", "日本")], width=None) == (
        "A         B\n\\x1b[31m  日本"
    )
    assert cell_width("日本e\u0301") == 5


@pytest.mark.parametrize(
    ("width", "shown"),
    [(20, "after the first step"), (19, "after the first …"), (8, "after …"), (3, "…")],
)
def test_a_text_is_shortened_between_words(width, shown):
    assert shorten("after the first step", width) == shown


@pytest.mark.parametrize("width", range(8, 60))
def test_lines_are_wrapped_between_words(width):
    text = "  reason       hardware.node: the node csx3 does not answer any more"
    lines = wrap_lines([text, "short"], width, 15)
    assert lines[-1] == "short"
    assert " ".join(" ".join(lines[:-1]).split()) == " ".join(text.split())
    assert all(line.startswith(" " * 15) for line in lines[1:-1])
    assert wrap_lines([text], None, 15) == [text]


@pytest.mark.parametrize(
    ("columns", "width"),
    [("60", 60), ("200", 200), ("1", 40), ("x", None), ("", None), ("0", None)],
)
def test_the_width_is_that_of_columns_or_there_is_none(monkeypatch, columns, width):
    monkeypatch.setenv("COLUMNS", columns)
    assert output_width() == width


def test_a_pipe_has_no_colours(monkeypatch):
    assert not has_colours()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not has_colours()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_classify_breaks_no_word(tmp_path, monkeypatch, width):
    log = tmp_path / "job.log"
    log.write_text(
        "step 1\n"
        "HW Exception by GPU node-4 (Agent handle: 0x2d1f90) reason :GPU Hang, and some words more "
        "that make the line longer than most terminals are wide\n"
        "srun: error: csx3: tasks 8-15: Aborted\n"
    )
    monkeypatch.delenv("COLUMNS", raising=False)
    whole = CliRunner().invoke(classify.command, [str(log)]).output
    monkeypatch.setenv("COLUMNS", str(width))
    shown = CliRunner().invoke(classify.command, [str(log)]).output
    assert shown.split() == whole.split()
    path = str(log)
    assert all(len(line) <= width or path in line for line in shown.splitlines())
