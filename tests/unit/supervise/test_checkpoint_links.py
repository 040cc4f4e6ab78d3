"""Links such as `latest`, to checkpoints that are set aside."""

import itertools
import os
from dataclasses import replace

import pytest

from slurm_restart.supervise import checkpoint_links
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


def redirect(directory, aside, start, pattern="step-{step}.dat", changed=(), work_dir=None):
    layout = layout_of(directory, pattern)
    held = [holder_of(layout, str(directory / name)) for name in aside]
    checkpoint = None if start is None else str(directory / start)
    return list(redirect_links(layout, held, checkpoint, changed, work_dir and str(work_dir)))


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


def test_one_in_the_working_directory_follows_them_as_well(files, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    files.set(work_dir=str(work))
    attempt(files, writes=(10, 20))
    newest = work / "newest"
    newest.symlink_to(files.model / "step-20.dat")
    attempt(files)
    third = attempt(files)
    assert origin(third) == "step-10.dat"
    assert newest.resolve() == files.model / "step-10.dat"
    assert list(third.start.links) == [str(newest)]


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


@pytest.fixture
def places(tmp_path):
    """The checkpoint directory, the one above it and the job's."""
    work = tmp_path / "work"
    make(work / "run/ck", "step-1.dat", "step-2.dat")
    return work / "run/ck", work / "run", work


def test_links_beside_the_checkpoint_directory_are_changed_as_well(places):
    ck, run, work = places
    (run / "latest").symlink_to("ck/step-2.dat")
    (work / "newest").symlink_to(ck / "step-2.dat")
    (work / "best").symlink_to("run/ck/step-1.dat")
    (work / "elsewhere").symlink_to("run/step-2.dat")
    (work / "step-2.dat").symlink_to("run/ck/step-2.dat")
    (work / "below").mkdir()
    (work / "below/latest").symlink_to("../run/ck/step-2.dat")
    notes = redirect(ck, ["step-2.dat"], "step-1.dat", work_dir=work)
    changed = {note.path: note.targets for note in notes}
    assert changed == {
        str(run / "latest"): ("ck/step-2.dat", "ck/step-1.dat"),
        str(work / "newest"): (str(ck / "step-2.dat"), str(ck / "step-1.dat")),
    }
    assert (run / "latest").read_text() == (work / "newest").read_text() == "step-1.dat"
    # They follow the run back.
    notes = redirect(ck, [], "step-2.dat", changed=[changed], work_dir=work)
    assert [note.path for note in notes] == list(changed)
    assert (run / "latest").read_text() == (work / "newest").read_text() == "step-2.dat"


def test_one_that_was_pointed_at_another_name_follows_back(places):
    ck, run, _ = places
    make(run, "initial.pt")
    (run / "latest").symlink_to("ck/step-2.dat")
    [note] = redirect(ck, ["step-2.dat"], run / "initial.pt")
    assert note.targets == ("ck/step-2.dat", "initial.pt")
    redirect(ck, [], "step-2.dat", changed=[{note.path: note.targets}])
    assert str((run / "latest").readlink()) == "ck/step-2.dat"


@pytest.mark.parametrize("work_dir", ["alias", "work/run/ck", "work/run", "nowhere"])
def test_each_directory_is_looked_at_once(places, tmp_path, work_dir):
    ck, run, _ = places
    (tmp_path / "alias").symlink_to(run)
    (run / "latest").symlink_to("ck/step-2.dat")
    assert len(redirect(ck, ["step-2.dat"], None, work_dir=tmp_path / work_dir)) == 1


def test_other_links_beside_it_are_not_followed(places, monkeypatch):
    """They may lead to a file system that hangs."""
    ck, _, work = places
    (work / "data").symlink_to("/nowhere/data")
    monkeypatch.setattr(checkpoint_links, "_rest", lambda link, *_: pytest.fail(str(link)))
    assert redirect(ck, ["step-2.dat"], "step-1.dat", work_dir=work) == []


def test_a_directory_with_very_many_entries_is_not_read_to_its_end(places, monkeypatch):
    ck, run, _ = places
    for number in range(5):
        (run / f"latest-{number}").symlink_to("ck/step-2.dat")
        (ck / f"latest-{number}").symlink_to("step-2.dat")
    monkeypatch.setattr(checkpoint_links, "MOST_ENTRIES", 3)
    notes = redirect(ck, ["step-2.dat"], "step-1.dat")
    beside = [note for note in notes if note.path.startswith(f"{run}/latest")]
    assert len(notes) - len(beside) == 5
    assert 2 <= len(beside) <= 3
