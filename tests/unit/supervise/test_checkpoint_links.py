"""Links such as `latest`, to checkpoints that are set aside."""

import itertools
import os
from dataclasses import replace

import pytest

from slurm_restart.supervise.checkpoint_links import redirect_links
from slurm_restart.supervise.set_aside_names import holder_of
from slurm_restart.trainer.checkpoint_names import to_regex
from slurm_restart.trainer.checkpoint_probe import Probe, Soundness
from slurm_restart.trainer.run_plan import CheckpointFormat, CheckpointLayout

from .test_set_aside import attempt, origin, use


@pytest.fixture
def files(run):
    """A run whose checkpoints are files `step-N.dat`."""
    use(run, "step-{step}.dat")
    return run


def layout_of(directory, pattern="step-{step}.dat"):
    return CheckpointLayout(directory=str(directory), pattern=to_regex(pattern))


def make(directory, *names):
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(name)


def redirect(directory, aside, start, pattern="step-{step}.dat", changed=()):
    layout = layout_of(directory, pattern)
    held = [holder_of(layout, str(directory / name)) for name in aside]
    checkpoint = None if start is None else str(directory / start)
    return list(redirect_links(layout, held, checkpoint, changed))


def test_a_link_to_what_is_set_aside_is_pointed_at_the_start(tmp_path):
    make(tmp_path, "step-1.dat", "step-2.dat", "other")
    latest = tmp_path / "latest"
    latest.symlink_to("step-2.dat")
    (tmp_path / "best").symlink_to("step-1.dat")
    (tmp_path / "second").symlink_to("latest")
    [note] = redirect(tmp_path, ["step-2.dat"], "step-1.dat")
    assert (note.path, note.targets) == (str(latest), ("step-2.dat", "step-1.dat"))
    assert note.text == (
        f"link {latest} points to step-2.dat, which is not used: "
        "it points to step-1.dat now, which the attempt starts from"
    )
    assert str(latest.readlink()) == "step-1.dat"
    assert str((tmp_path / "best").readlink()) == "step-1.dat"
    assert str((tmp_path / "second").readlink()) == "latest"
    assert len(list(tmp_path.iterdir())) == 6


@pytest.mark.parametrize(
    ("pattern", "link", "target", "expected"),
    [
        ("step-{step}.dat", "latest", "{0}/step-2.dat", "{0}/step-1.dat"),
        ("step-{step}.dat", "latest", "../{1}/step-2.dat", "step-1.dat"),
        ("step-{step}", "latest", "step-2/", "step-1"),
        ("step-{step}/w.pt", "latest", "step-2", "step-1"),
        ("step-{step}/w.pt", "latest.pt", "step-2/w.pt", "step-1/w.pt"),
        ("run/step-{step}", "latest", "run/step-2", "run/step-1"),
        ("run/step-{step}", "run/latest", "step-2", "step-1"),
        ("run/step-{step}", "run", "elsewhere", "elsewhere"),
    ],
)
def test_what_a_link_holds_then(tmp_path, pattern, link, target, expected):
    names = [pattern.format(step=step) for step in (1, 2)]
    make(tmp_path, *(name if "." in name else f"{name}/w" for name in names))
    if link == "run":
        (tmp_path / "run").rename(tmp_path / "elsewhere")
    path = tmp_path / link
    path.symlink_to(target.format(tmp_path, tmp_path.name))
    redirect(tmp_path, [names[1]], names[0], pattern)
    assert str(path.readlink()) == expected.format(tmp_path)
    assert path.exists()


def test_one_that_was_left_pointing_to_nothing_is_pointed_at_the_next_start(tmp_path):
    make(tmp_path, "step-2.dat.unusable", "step-1.dat")
    latest = tmp_path / "latest"
    latest.symlink_to("step-2.dat")
    (tmp_path / "elsewhere").symlink_to("step-3.dat")
    [note] = redirect(tmp_path, [], None)
    assert note.targets is None
    assert note.text.endswith("it stays as it is, as the attempt starts from scratch")
    assert not latest.exists()
    [note] = redirect(tmp_path, [], "step-1.dat")
    assert latest.read_text() == "step-1.dat"
    assert redirect(tmp_path, [], "step-1.dat") == []


def test_one_that_attempts_have_changed_follows_its_checkpoint_back(tmp_path):
    make(tmp_path, "step-1.dat", "step-2.dat", "step-3.dat")
    latest = tmp_path / "latest"
    latest.symlink_to("step-3.dat")
    changed = []
    for aside, start in (["step-3.dat"], "step-2.dat"), (["step-2.dat"], "step-1.dat"):
        notes = redirect(tmp_path, aside, start, changed=changed)
        changed.append({note.path: note.targets for note in notes})
    (tmp_path / "best").symlink_to("step-1.dat")
    [note] = redirect(tmp_path, [], "step-3.dat", changed=changed)
    assert note.text.endswith("it points to step-3.dat now, which the attempt starts from")
    assert latest.read_text() == "step-3.dat"
    assert (tmp_path / "best").read_text() == "step-1.dat"
    changed.append({note.path: note.targets})
    assert redirect(tmp_path, [], "step-3.dat", changed=changed) == []


def test_one_that_the_program_has_changed_since_is_its_own(tmp_path):
    make(tmp_path, "step-1.dat", "step-2.dat", "step-3.dat")
    latest = tmp_path / "latest"
    latest.symlink_to("step-1.dat")
    changed = [{str(latest): ("step-3.dat", "step-2.dat")}]
    assert redirect(tmp_path, [], "step-3.dat", changed=changed) == []
    assert latest.read_text() == "step-1.dat"


def test_one_of_another_user_is_only_named(tmp_path, monkeypatch):
    make(tmp_path, "step-1.dat", "step-2.dat")
    latest = tmp_path / "latest"
    latest.symlink_to("step-2.dat")
    monkeypatch.setattr(os, "geteuid", lambda: latest.lstat().st_uid + 1)
    [note] = redirect(tmp_path, ["step-2.dat"], "step-1.dat")
    assert (note.targets, latest.read_text()) == (None, "step-2.dat")
    assert note.text.endswith("it belongs to another user")


def test_one_that_cannot_be_changed_is_named(tmp_path, monkeypatch):
    make(tmp_path, "step-1.dat", "step-2.dat")
    latest = tmp_path / "latest"
    latest.symlink_to("step-2.dat")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.replace", refuse)
        [note] = redirect(tmp_path, ["step-2.dat"], "step-1.dat")
    assert note.text.endswith("it cannot be changed: Permission denied")
    assert (note.targets, latest.read_text()) == (None, "step-2.dat")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "latest",
        "step-1.dat",
        "step-2.dat",
    ]


def test_a_link_with_the_name_of_a_checkpoint_stays(tmp_path):
    make(tmp_path, "step-1.dat", "step-2.dat")
    (tmp_path / "step-3.dat").symlink_to("step-2.dat")
    assert redirect(tmp_path, ["step-2.dat"], "step-1.dat") == []


def test_the_start_may_be_what_the_config_names(tmp_path):
    make(tmp_path, "ck/step-2.dat", "initial.pt")
    latest = tmp_path / "ck/latest"
    latest.symlink_to("step-2.dat")
    [note] = redirect(tmp_path / "ck", ["step-2.dat"], "../initial.pt")
    assert latest.read_text() == "initial.pt"
    # Never itself.
    latest.unlink()
    latest.symlink_to("step-2.dat")
    [note] = redirect(tmp_path / "ck", ["step-2.dat"], "latest")
    assert (note.targets, str(latest.readlink())) == (None, "step-2.dat")


def test_a_link_follows_the_starts_of_the_attempts(files):
    attempt(files, writes=(10, 20, 30))
    latest = files.model / "latest"
    latest.symlink_to("step-30.dat")
    seen, prepared = [], []
    for _ in range(4):
        prepared.append(attempt(files))
        seen.append(str(latest.readlink()))
    names = [f"step-{step}.dat" for step in (30, 20, 10, 30)]
    assert seen == [origin(each) for each in prepared] == names
    assert [each.start.links for each in prepared] == [
        {},
        *({str(latest): pair} for pair in itertools.pairwise(names)),
    ]


def test_a_link_to_a_broken_one_is_changed_before_it_is_renamed(files):
    """Else the program dies of it, which would speak against a checkpoint that it never read."""
    attempt(files, writes=(10, 20))
    latest = files.model / "latest"
    latest.symlink_to("step-20.dat")
    files.set(checkpoint=replace(files.plan.checkpoint, format=CheckpointFormat.AUTO))

    def check(paths):
        for path in paths:
            is_broken = path.endswith("step-20.dat")
            yield Probe(
                path=path,
                soundness=Soundness.BROKEN if is_broken else Soundness.COMPLETE,
                reason="it ends early",
            )

    second = attempt(files, probe=check)
    assert [note.path for note in second.set_aside.links] == [str(latest)]
    assert latest.resolve() == files.model / "step-10.dat"
    assert (files.model / "step-20.dat.unusable").exists()
