"""Stacks that faulthandler prints into the output of several processes, and whose they are."""

import pytest

from slurm_restart.core.python_stack import assign_dumps, find_dumps, format_place


def dump(address: int, *functions: str, kind: str = "Current thread") -> list[str]:
    frames = [f'  File "/x/{name}.py", line {at} in {name}' for at, name in enumerate(functions)]
    return [f"{kind} 0x{address:016x} (most recent call first):", *frames]


FATAL = ["Fatal Python error: Aborted", ""]
END = ["", "Extension modules: numpy._core, torch._C (total: 2)"]


def unlabelled(*parts: list[str]) -> list[tuple[str, str]]:
    return [("", line) for part in parts for line in part]


def names(stacks) -> list[str]:
    return [str(stack).rpartition(" in ")[2] for stack in stacks]


def test_each_process_is_found_by_the_addresses_of_its_threads():
    text = unlabelled(
        ["step 40"], FATAL, dump(0x100, "waits", kind="Thread"), [""], dump(0x110, "stuck"), END,
        ["srun: error: csx3: tasks 4-5: Aborted"],
        FATAL, dump(0x300, "other"), END,
    )  # fmt: skip
    found, rest = assign_dumps(find_dumps(text), {7: [(0x200, 0x400)], 8: [(0x100, 0x180)]})
    assert (names(found[8]), names(found[7]), rest) == (["waits", "stuck"], ["other"], ())


def test_labels_keep_lines_apart_that_are_mixed():
    one, two = [*FATAL, *dump(0x100, "a", "b")], [*FATAL, *dump(0x300, "c", "d")]
    mixed = [
        pair
        for lines in zip(one, two, strict=True)
        for pair in zip(("0:", "1:"), lines, strict=True)
    ]
    found, rest = assign_dumps(find_dumps(mixed), {1: [(0x100, 0x200)], 2: [(0x300, 0x400)]})
    assert (names(found[1]), names(found[2]), rest) == (["b"], ["d"], ())


def test_mixed_lines_without_labels_are_nobodys():
    """As srun of 22.05 prints those of two nodes."""
    one, two = dump(0x100, "stuck"), dump(0x300, "stuck")
    text = unlabelled(FATAL, FATAL, one[:1], two[:1], one[1:], two[1:])
    found, rest = assign_dumps(find_dumps(text), {1: [(0x100, 0x200)], 2: [(0x300, 0x400)]})
    assert found == {}
    assert names(rest) == ["stuck"]


def test_threads_of_two_processes_that_follow_each_other_are_told_apart():
    text = unlabelled(FATAL, FATAL, dump(0x100, "a"), dump(0x300, "b"))
    found, _ = assign_dumps(find_dumps(text), {1: [(0x100, 0x200)], 2: [(0x300, 0x400)]})
    assert (names(found[1]), names(found[2])) == (["a"], ["b"])


@pytest.mark.parametrize("missing", [False, True])
def test_forked_processes_have_printed_in_the_order_of_the_signals(missing):
    memory = {9: [(0x100, 0x200)], 8: [(0x100, 0x200)]}
    child, parent = [*FATAL, *dump(0x100, "child")], [*FATAL, *dump(0x100, "parent")]
    found, rest = assign_dumps(find_dumps(unlabelled(child, [] if missing else parent)), memory)
    if missing:
        assert (found, names(rest)) == ({}, ["child"])
    else:
        assert (names(found[9]), names(found[8]), rest) == (["child"], ["parent"], ())


def test_what_no_process_has_is_kept():
    found, rest = assign_dumps(find_dumps(unlabelled(FATAL, dump(0x999, "odd"))), {})
    assert (found, names(rest)) == ({}, ["odd"])


def test_lines_that_are_no_stack_are_left_out():
    """Python 3.14 prints the functions in C, too."""
    text = unlabelled(
        FATAL,
        [
            "Current thread 0x00007f [python3] (most recent call first):",
            '  File "/x/a.py", line 1 in a',
            "step 41",
            "  ...",
            "Current thread's C stack trace (most recent call first):",
            '  Binary file "/usr/bin/python3", at _Py_DumpStack+0x1 [0x5]',
            "  loss 3.5",
        ],
    )
    [[stack]] = find_dumps(text)
    assert stack.address == 0x7F
    assert "41" not in str(stack)
    assert "loss" not in str(stack)
    assert "_Py_DumpStack" in str(stack)


def test_a_traceback_is_no_stack():
    """Of another rank, which noticed that this one had ended."""
    text = unlabelled(
        FATAL,
        dump(0x100, "a"),
        [
            "Traceback (most recent call last):",
            '  File "/x/train.py", line 190, in <dictcomp>',
            "    got = {r: recv(c) for r, c in peers}",
            "ConnectionError: peer went away",
            '  File "/x/b.py", line ??? in b',
            "  File ???, line 3 in ???",
            '  File "/x/train.py", line 3',
        ],
    )
    [[stack]] = find_dumps(text)
    assert stack.lines[1:] == (
        '  File "/x/a.py", line 0 in a',
        '  File "/x/b.py", line ??? in b',
        "  File ???, line 3 in ???",
    )


PY_SPY = """\
Process 7: python3 train.py
Python v3.11.2 (/usr/bin/python3.11)

Thread 9 (idle): "Thread-1"
    wait (threading.py:320)
Thread 7 (active): "MainThread"
    forward (model.py:3)
    step (/home/alice/train.py:9)
    fit (train.py:19)
    <module> (train.py:29)
"""
HANDLER = """\
Thread 0x0000000000000001 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 320 in wait

{main} 0x0000000000000002 (most recent call first):
  File "/home/alice/train.py", line 9 in step
  File "/home/alice/train.py", line 19 in <module>
"""


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (PY_SPY, "forward (model.py:3), called by step (train.py:9), called by fit (train.py:19)"),
        (
            HANDLER.replace("{main}", "Current thread"),
            "step (train.py:9), called by <module> (train.py:19)",
        ),
        # The signal came to another thread.
        (
            "Current thread 0x3 (most recent call first):\n"
            '  File "/home/alice/train.py", line 7 in waits\n\n'
            + HANDLER.replace("{main}", "Thread"),
            "step (train.py:9), called by <module> (train.py:19)",
        ),
        # faulthandler prints the main thread last; the signal came to one without Python.
        (
            HANDLER.replace("{main}", "Thread"),
            "step (train.py:9), called by <module> (train.py:19)",
        ),
        ("no stack: py-spy is not installed", ""),
        ("", ""),
    ],
)
def test_the_innermost_functions_of_the_main_thread_tell_where_it_is(text, place):
    assert format_place(text) == place
