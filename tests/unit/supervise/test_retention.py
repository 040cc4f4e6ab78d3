"""What may be removed, and above all what may not."""

import os

import pytest

from slurm_restart.supervise.late_checkpoints import save
from slurm_restart.supervise.retention import Retention, superfluous
from slurm_restart.trainer.attempt_records import AttemptStart, LateCheckpoint, Saved, to_line
from slurm_restart.trainer.checkpoints import iterate
from slurm_restart.trainer.known_checkpoints import KnownCheckpoints


def of(step, name=None, mark=(1, 1)):
    return Saved(at=1.0, step=step, path=f"/m/{name or step}", mark=mark)


@pytest.mark.parametrize(
    ("keep", "earlier", "own", "kept", "expected"),
    [
        (2, [10, 20], [], (), []),
        (2, [10, 20], [30], (), []),
        (2, [10, 20], [30, 40], (), [10, 20]),
        (2, [10, 20], [30, 40], (20,), [10]),
        (1, [10, 20], [30], (20,), [10]),
        (3, [10, 20], [30, 40], (), []),
        # Those of the same or a later step are no older ones.
        (2, [10, 30, 50], [30, 40], (), [10]),
        (1, [10, 30, 50], [40], (), [10, 30]),
        # The same step twice is one checkpoint.
        (2, [10], [30, 30], (), []),
    ],
)
def test_what_the_limit_leaves_no_place_for(keep, earlier, own, kept, expected):
    found = superfluous(
        keep, [of(step) for step in earlier], [of(step) for step in own], {f"/m/{k}" for k in kept}
    )
    assert [saved.step for saved in found] == expected


def test_a_record_without_a_mark_is_no_proof():
    assert superfluous(1, [of(10, mark=None)], [of(20)], set()) == ()


class Place:
    """A run of which one attempt has saved, and a second one runs."""

    def __init__(self, run, keep=2):
        self.run, self.lines = run, []
        run.set(keep_checkpoints=keep)
        self.before = KnownCheckpoints.of(iterate(run.plan.checkpoint))
        self.attempts = [run.dir.new_attempt(), run.dir.new_attempt()]
        self.first = [self.write(step) for step in (10, 20, 30)]
        lines = "".join(f"{to_line(saved)}\n" for saved in self.first)
        self.attempts[0].progress_file.write_text(lines)

    def write(self, step):
        path = self.run.model / f"checkpoint_{step}.mdl"
        path.write_text(f"data {step}")
        status = path.stat()
        mark = (status.st_mtime_ns, status.st_size)
        return Saved(at=1.0, step=step, path=str(path), mark=mark)

    def go(self, *steps):
        retention = Retention(
            self.run.plan,
            self.run.dir,
            self.attempts[1],
            before=self.before,
            report=self.lines.append,
        )
        for step in steps:
            retention.saved(self.write(step))

    @property
    def left(self):
        return sorted(int(path.stem.split("_")[1]) for path in self.run.model.glob("*.mdl"))


def test_older_ones_go_once_there_are_enough(run):
    place = Place(run)
    place.go(40)
    assert (place.left, place.lines) == ([10, 20, 30, 40], [])
    place.go(40, 50)
    assert place.left == [40, 50]
    assert (
        place.lines[0] == f"removed {run.model}/checkpoint_10.mdl: the config keeps 2 checkpoints"
    )


@pytest.mark.parametrize("resumed", [True, False])
def test_what_a_killed_supervisor_has_not_recorded_goes_if_an_attempt_has_resumed_it(run, resumed):
    place = Place(run)
    loaded = place.write(35)
    start = AttemptStart(
        attempt=1,
        at=1.0,
        job_id=7,
        restarts=1,
        nodes=("n1",),
        num_csx=1,
        first_step=0,
        last_step=100,
        checkpoint=loaded.path,
        from_step=35,
        resumed=resumed,
        mark=loaded.mark,
    )
    place.attempts[1].start_file.write_text(to_line(start))
    place.go(40, 50)
    assert place.left == ([40, 50] if resumed else [35, 40, 50])


def test_without_the_callback_all_stay(run):
    place = Place(run, keep=None)
    place.go(40, 50, 60)
    assert place.left == [10, 20, 30, 40, 50, 60]


def test_what_was_there_before_the_run_stays(run):
    (run.model / "checkpoint_10.mdl").write_text("older")
    place = Place(run)
    place.go(40, 50)
    assert place.left == [10, 40, 50]


def test_the_checkpoint_of_the_config_stays(run):
    place = Place(run)
    run.set(initial_checkpoint=str(run.model / "checkpoint_20.mdl"))
    place.go(40, 50)
    assert place.left == [20, 40, 50]


def test_what_somebody_has_changed_or_put_elsewhere_stays(run):
    place = Place(run)
    os.utime(run.model / "checkpoint_10.mdl", ns=(1, 1))
    (run.model / "kept").write_text("data 20")
    (run.model / "checkpoint_20.mdl").unlink()
    (run.model / "checkpoint_20.mdl").symlink_to(run.model / "kept")
    place.go(40, 50)
    assert place.left == [10, 20, 40, 50]


def test_own_ones_that_are_gone_do_not_count(run):
    place = Place(run)
    retention = Retention(
        run.plan,
        run.dir,
        place.attempts[1],
        before=place.before,
        report=place.lines.append,
    )
    gone = place.write(40)
    (run.model / "checkpoint_40.mdl").unlink()
    for saved in (gone, place.write(50)):
        retention.saved(saved)
    assert place.left == [10, 20, 30, 50]


def test_an_attempt_that_is_superseded_removes_nothing(run):
    place = Place(run)
    run.dir.new_attempt()
    place.go(40, 50)
    assert place.left == [10, 20, 30, 40, 50]


def test_what_was_written_too_late_is_not_removed(run):
    """It is evidence, and may be all that is left."""
    place = Place(run)
    late = [
        LateCheckpoint(at=1.0, path=saved.path, mark=saved.mark, step=saved.step, reason="late")
        for saved in place.first[1:]
    ]
    save(place.attempts[1], late)
    place.go(40, 50)
    assert place.left == [20, 30, 40, 50]


def test_paths_of_other_directories_in_the_records_are_left_alone(run, tmp_path):
    place = Place(run)
    other = tmp_path / "checkpoint_5.mdl"
    other.write_text("x")
    status = other.stat()
    mark = (status.st_mtime_ns, status.st_size)
    saved = [
        Saved(at=1.0, step=5, path=path, mark=mark)
        for path in (str(other), f"{run.model}/../{other.name}", f"{run.model}/{other.name}.txt")
    ]
    lines = "".join(f"{to_line(one)}\n" for one in saved)
    place.attempts[0].progress_file.write_text(lines)
    place.go(40, 50)
    assert other.exists()
    assert place.lines == []
