"""The exported copy holds nothing of AdminComment, and all else as it is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.control.public_copy import LEFT_OUT, public_lines

ADMIN = "ticket 4711, ask Eve | csx-restart: failures=1/3"


def public(*data: object) -> list[dict[str, object]]:
    lines = public_lines(json.dumps(entry, separators=(",", ":")) for entry in data)
    return [json.loads(line) for line in lines.splitlines()]


@pytest.mark.parametrize(
    ("operations", "left"),
    [
        (["requeue"], ["requeue"]),
        (["requeue", f"update\tAdminComment={ADMIN}"], ["requeue"]),
        ([f"update\tStartTime=now+2\tAdminComment={ADMIN}"], ["update\tStartTime=now+2"]),
        ([f"update\tAdminComment={ADMIN}\tNumNodes=2-2"], ["update\tNumNodes=2-2"]),
        (["update\tAdminComment=a=b\tAdminComment=c\tx=1"], ["update\tx=1"]),
        (["update\tAdminComment=part one\tand, behind a tab"], ["update\tand, behind a tab="]),
        (["odd AdminComment=x"], [LEFT_OUT]),
        (["update\tx=AdminComment=y"], [LEFT_OUT]),
    ],
)
def test_operations(operations: list[str], left: list[str]) -> None:
    [event] = public({"event": "intend", "operations": operations, "at": 1})
    assert event == {"event": "intend", "operations": left, "at": 1}


INTEND = {"operations": [f"update\tStartTime=now+2\tAdminComment={ADMIN}", "hold"]}


@pytest.mark.parametrize(
    ("failed", "left"),
    [
        (None, None),
        ("hold: Access denied", "hold: Access denied"),
        (f"update StartTime=now+2 AdminComment={ADMIN}: no", "update StartTime=now+2: no"),
        (f"update StartTime=now+2 AdminComment={ADMIN}"[:50], LEFT_OUT),
        (f"update: invalid text {ADMIN}", LEFT_OUT),
        ("update: invalid text 'ticket 4711, ask Eve'", LEFT_OUT),
        ("update AdminComment=of another time: no", LEFT_OUT),
    ],
)
def test_refusals(failed: str | None, left: str | None) -> None:
    assert public(INTEND, {"failed": failed})[1] == {"failed": left}


def test_a_key_of_any_event() -> None:
    events = public(
        {"event": "wanted", "admin_comment": ADMIN, "new": {"admin_comment": 1, "x": [2]}},
        {"failed": f"no: {ADMIN}"},
    )
    assert events == [{"event": "wanted", "new": {"x": [2]}}, {"failed": LEFT_OUT}]


def test_other_lines_are_not_touched() -> None:
    lines = ['{ "event" : "note", "text":"\\u00fc\\t" , "nodes":["",null]}', '{"operations":["a"]}']
    assert public_lines(lines) == "".join(f"{line}\n" for line in lines)


SECRET = st.text(min_size=6, alphabet="SECRT").map(lambda text: f"<{text}>")
VALUES = st.sampled_from(["now+2", "csx1,csx2", "2-2"])


@given(
    secret=SECRET,
    before=st.lists(VALUES, max_size=2),
    after=st.lists(VALUES, max_size=2),
    cut=st.integers(0, 200),
)
def test_no_part_is_left(secret: str, before: list[str], after: list[str], cut: int) -> None:
    pairs = [
        *(f"a={value}" for value in before),
        f"AdminComment={secret}",
        *(f"b={v}" for v in after),
    ]
    operation = "update\t" + "\t".join(pairs)
    refusal = f"{operation.replace(chr(9), ' ')}: refused"[:cut]
    text = json.dumps(public({"operations": [operation], "done": [operation]}, {"failed": refusal}))
    assert "AdminComment" not in text.replace(LEFT_OUT, "")
    assert "<" not in text
