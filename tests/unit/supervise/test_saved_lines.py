"""Lines of output that say that a checkpoint at a URL was saved."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.supervise import output_saved
from slurm_restart.supervise.output_saved import OutputSaved
from slurm_restart.supervise.saved_lines import MAX_LINE, SavedLines
from slurm_restart.trainer.run_plan import CheckpointLayout

ROOT = "s3://bucket/run"
ZOO = CheckpointLayout(
    directory=ROOT, pattern=r"checkpoint_(?P<step>\d+)(?P<stamp>_\d{8}_\d{6})?\.mdl"
)
STEPS = CheckpointLayout(directory=ROOT, pattern=r"step\-(?P<step>\d+)")


def named(line, layout=STEPS):
    found = SavedLines(layout).read(line.encode(), (3, 0))
    return found and found.path


def test_the_line_of_the_model_zoo():
    line = f"2026-11-30 05:00:00,123 INFO:   Saved checkpoint {ROOT}/checkpoint_200.mdl"
    found = SavedLines(ZOO).read(line.encode(), (3, 0))
    assert (found.path, found.step, found.mark) == (f"{ROOT}/checkpoint_200.mdl", 200, (3, 0))
    again = SavedLines(ZOO).read(line.replace("200.", "200_20261122_072652.").encode(), (3, 0))
    assert again.order > found.order
    assert named("INFO: Saving checkpoint at step 200", ZOO) is None


@pytest.mark.parametrize(
    "line",
    [
        f"Saved checkpoint {ROOT}/step-10",
        f"checkpoint saved to {ROOT}/step-10.",
        f"[rank0]: wrote '{ROOT}/step-10' in 3.1 s",
        f"Model written ({ROOT}/step-10)",
        f"upload: ../ckpt/step-10 to {ROOT}/step-10",
        f'{{"event": "uploaded", "path": "{ROOT}/step-10"}}',
        f'{{"event": "checkpoint_saved", "path": "{ROOT}/step-10", "step": 10}}',
        f"moved {ROOT}/tmp-10 to {ROOT}/step-10: saved",
        f"\x1b[32mSAVED\x1b[0m {ROOT}/step-10/",
        f"[loader.py:12] stored {ROOT}/step-10",
        f"[thread=async_save] Finished saving checkpoint (finalized tmp dir) to `{ROOT}/step-10`.",
        f"done uploading {ROOT}/step-10",
        f"Async upload success: {ROOT}/step-10",
        f"Successfully completed the background writing of {ROOT}/step-10",
    ],
)
def test_other_programs_say_it_in_the_past(line):
    assert named(line) == f"{ROOT}/step-10"


@pytest.mark.parametrize(
    "line",
    [
        f"Saving checkpoint {ROOT}/step-10",
        f"checkpoint {ROOT}/step-10",
        f"checkpoint {ROOT}/step-10 was not saved",
        f"upload to {ROOT}/step-10 started",
        f"has not finished saving {ROOT}/step-10",
        f"saving {ROOT}/step-10, done with the rest",
        f"couldn't be saved: {ROOT}/step-10",
        f"upload failed: ckpt/step-10 to {ROOT}/step-10 saved nothing",
        f"checkpoint will be saved to {ROOT}/step-10",
        f"Loading weights saved in {ROOT}/step-10",
        f"resumed from {ROOT}/step-10, saved yesterday",
        f"deleted {ROOT}/step-10, saved too long ago",
        f'{{"event": "resume_from", "last_saved": "{ROOT}/step-10"}}',
        # Others, or none at all.
        "Saved checkpoint s3://bucket/run2/step-10",
        "Saved checkpoint gs://bucket/run/step-10",
        f"Saved checkpoint x{ROOT}/step-10",
        f"Saved checkpoint {ROOT}",
        f"Saved checkpoint {ROOT}/step-10.tmp",
        f"Saved checkpoint {ROOT}/.step-10",
        f"Saved checkpoint {ROOT}/step-x",
        f"Saved checkpoint {ROOT}/a/../step-10",
        f"Saved checkpoint {ROOT}/../run/step-10",
        f"Saved checkpoint {ROOT}/step-9{'9' * 20}",
        f"Saved checkpoint {ROOT}/step-10 {'x' * MAX_LINE}",
    ],
)
def test_what_names_no_saved_checkpoint(line):
    assert named(line) is None


def test_bytes_that_are_no_text():
    line = f"Saved {ROOT}/step-1".encode() + b"\xff"
    assert SavedLines(STEPS).read(line, (0, 0)) is None


@pytest.mark.parametrize(
    ("pattern", "line", "expected"),
    [
        (r"done: (?P<path>\S+)", f"done: {ROOT}/step-10", f"{ROOT}/step-10"),
        (r"done: (?P<path>\S+)", "done: step-10", f"{ROOT}/step-10"),
        (r"done: (?P<path>\S+)", "done: /step-10", None),
        (r"done: (?P<path>\S+)", "done: ../step-10", None),
        (r"done: (?P<path>\S+)", "done: s3://other/step-10", None),
        (r"done: (?P<path>\S+)", "done: model-10", None),
        (r"done: (?P<path>\S+)", f"Saved checkpoint {ROOT}/step-10", None),
        (r"done(?:: (?P<path>\S+))?", "done", None),
        (r"fertig früh: (?P<path>\S+)", "fertig früh: step-10", f"{ROOT}/step-10"),
    ],
)
def test_a_pattern_of_the_users(pattern, line, expected):
    layout = CheckpointLayout(directory=ROOT, pattern=STEPS.pattern, saved=pattern)
    assert named(line, layout) == expected


def fed(data, size, layout=STEPS):
    search = OutputSaved(layout, 2, clock=lambda: 5.0)
    for start in range(0, len(data), size):
        search.feed(data[start : start + size])
    return search


@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_each_is_found_once_in_the_order_of_the_output(size):
    said = "".join(
        f"step {n}\n[rank{rank}] saved {ROOT}/step-{n}\n" for n in (30, 20) for rank in range(8)
    )
    search = fed(said.encode() + f"saved {ROOT}/step-4".encode(), size)
    first = search.scan()
    assert [(saved.step, saved.mark, saved.at) for saved in first] == [
        (30, (2, 0), 5.0),
        (20, (2, 0), 5.0),
    ]
    # The name of the last line may have gone on.
    search.feed(b"0\nsaved " + f"{ROOT}/step-30\n".encode())
    assert [saved.step for saved in search.scan()] == [40]
    assert search.scan(full=True) == ()


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(output_saved, "MAX_KNOWN", 10)
    search = fed("".join(f"saved {ROOT}/step-{n}\n" for n in range(100)).encode(), 999)
    assert len(search.scan()) == 100
    assert len(search._known) == 10


@given(st.binary(max_size=300), st.integers(0, 2**32))
def test_no_output_is_an_error_or_a_path_elsewhere(data, seed):
    parts = [data, f" {ROOT}/step-".encode(), b"saved", b"\n", b"/", b"..", b"\x1b[1m", b"7"]
    shuffled = b"".join(random.Random(seed).choices(parts, k=30)) + b"\n"
    for layout in (
        STEPS,
        CheckpointLayout(directory=ROOT, pattern=".*(?P<step>7).*", saved="(?P<path>.+)"),
    ):
        for saved in fed(shuffled, 50, layout).scan():
            assert saved.path.startswith(f"{ROOT}/")
            assert saved.path.isprintable()
            assert ".." not in saved.path.split("/")
