import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.core.finding import MAX_TEXT
from slurm_restart.logs.lines import readable, split_label, truncated, without_escapes


@pytest.mark.parametrize(
    ("line", "label", "rest"),
    [
        ("ValueError: x", "", "ValueError: x"),
        ("[rank3]: ValueError: x", "[rank3]:", "ValueError: x"),
        ("[rank3]:   File 'x.py'", "[rank3]:", "  File 'x.py'"),
        ("[default0]:ValueError: x", "[default0]:", "ValueError: x"),
        ("12: ValueError: x", "12:", "ValueError: x"),
        ("[1,3]<stderr>:ValueError: x", "[1,3]<stderr>:", "ValueError: x"),
        ("[csx1:0]ValueError: x", "[csx1:0]", "ValueError: x"),
        ("(Worker pid=77) ValueError: x", "(Worker pid=77)", "ValueError: x"),
        ("2026-01-05 10:00:00,123 ERROR:   stop", "", "  stop"),
        ("[2026-01-05T10:00:00.5Z] [rank1]: stop", "[rank1]:", "stop"),
        ("ERROR 01-05 10:00:00 [core.py:720] stop", "", "stop"),
        ("3: 2026-01-05 10:00:00 - ERROR - stop", "3:", "stop"),
        ("    [rank3]: indented is not a label", "", "    [rank3]: indented is not a label"),
        ("", "", ""),
    ],
)
def test_split_label(line: str, label: str, rest: str) -> None:
    assert split_label(line) == (label, rest)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\x1b[31mError\x1b[0m: \x1b]0;title\x07x", "Error: x"),
        (b"a\tb\x08\x07c\x7f", "a bc"),
        (b"caf\xe9 \xff", "caf\ufffd \ufffd"),
        ("truncated \u202etxt.exe\u2028next".encode(), "truncated txt.exenext"),
        (b"end \r", "end"),
    ],
)
def test_a_line_is_made_readable(raw: bytes, text: str) -> None:
    assert readable(without_escapes(raw)) == text


@given(st.binary(max_size=300))
def test_any_bytes_are_readable(raw: bytes) -> None:
    text = truncated(readable(without_escapes(raw)))
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in text)


def test_a_long_line_is_cut() -> None:
    assert len(truncated("x" * 5000)) == MAX_TEXT
