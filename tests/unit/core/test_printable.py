import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.core.printable import escape_controls


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 漢 😀", "plain ü 漢 😀"),
        ("a\x1b[31mb\x07", r"a\x1b[31mb\x07"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x7f\x80\x9b31m\x9f", r"\x7f\x80\x9b31m\x9f"),
        ("\u202a\u202e\u2066\u2069", r"\u202a\u202e\u2066\u2069"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\udcff\ufeff\u200f", r"\udcff\ufeff\u200f"),
        ("\U000e0041", r"\U000e0041"),
        (r"C:\new", r"C:\new"),
    ],
)
def test_characters_that_steer_a_terminal_are_escaped(text, shown):
    assert escape_controls(text) == shown


def test_kept_characters_and_other_types():
    assert escape_controls("a\nb\x1b", keep="\n") == "a\nb\\x1b"
    assert escape_controls(None) == "None"


@given(st.text())
def test_no_control_is_left_whatever_the_text(text):
    shown = escape_controls(text)
    assert not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in shown)
    assert not any(unicodedata.bidirectional(char) in BIDI_CONTROLS for char in shown)
    shown.encode()


BIDI_CONTROLS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
