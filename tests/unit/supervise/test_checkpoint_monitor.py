import os
from pathlib import Path

import pytest

from slurm_restart.supervise import checkpoint_monitor
from slurm_restart.supervise.checkpoint_monitor import CheckpointMonitor, CheckpointMonitorThread
from slurm_restart.trainer.checkpoint_probe import Probe, Soundness
from slurm_restart.trainer.checkpoints import find
from slurm_restart.trainer.run_plan import CheckpointFormat, CheckpointLayout


class Prober:
    """A check that finds complete what does not hold `bad`, and counts."""

    def __init__(self):
        self.asked = []

    def __call__(self, paths):
        self.asked += [path.rpartition("/")[2] for path in paths]
        return [
            Probe(
                path=path,
                soundness=Soundness.BROKEN
                if "bad" in Path(path).read_text()
                else Soundness.COMPLETE,
            )
            for path in paths
        ]


@pytest.fixture(autouse=True)
def _no_rescan_by_the_clock(monkeypatch):
    monkeypatch.setattr(checkpoint_monitor, "RESCAN", float("inf"))


@pytest.fixture
def prober():
    return Prober()


@pytest.fixture
def monitor(run, prober):
    known = {one.name: one.mark for one in find(run.plan.checkpoint)}
    return CheckpointMonitor(run.plan.checkpoint, known, clock=lambda: 1.0, probe=prober)


def put(run, step, text="good"):
    """Write a checkpoint as trainers do, and let the directory's time of change differ."""
    path = run.model / f"checkpoint_{step}.mdl"
    path.write_text(text)
    put.time += 1_000_000_000
    os.utime(run.model, ns=(put.time, put.time))


put.time = 10**18


def steps(saved):
    return [one.step for one in saved]


def test_each_new_checkpoint_is_reported_once_in_order(run, prober):
    put(run, 5)
    known = {one.name: one.mark for one in find(run.plan.checkpoint)}
    monitor = CheckpointMonitor(run.plan.checkpoint, known, clock=lambda: 1.0, probe=prober)
    assert monitor.scan() == ()
    put(run, 20)
    put(run, 10)
    assert steps(monitor.scan()) == [10, 20]
    assert monitor.scan(full=True) == ()
    put(run, 30)
    assert steps(monitor.scan()) == [30]
    assert prober.asked == ["checkpoint_10.mdl", "checkpoint_20.mdl", "checkpoint_30.mdl"]


def test_a_known_checkpoint_that_is_written_anew_is_new(run, prober):
    put(run, 5)
    known = {one.name: one.mark for one in find(run.plan.checkpoint)}
    monitor = CheckpointMonitor(run.plan.checkpoint, known, probe=prober)
    put(run, 5, "good again")
    assert steps(monitor.scan()) == [5]


def test_an_unchanged_directory_is_not_read(run, monitor, monkeypatch):
    put(run, 10)
    assert steps(monitor.scan()) == [10]
    monkeypatch.setattr(checkpoint_monitor, "iterate", lambda *_: pytest.fail("read"))
    assert monitor.scan() == ()


def test_a_broken_checkpoint_is_opened_once_until_it_changes(run, monitor, prober):
    put(run, 10, "bad")
    assert monitor.scan() == ()
    for step in (20, 30):
        put(run, step)
        assert steps(monitor.scan()) == [step]
    assert prober.asked.count("checkpoint_10.mdl") == 1
    put(run, 10, "good now")
    # It may still be written: it is opened once it changes no more.
    assert monitor.scan() == ()
    assert steps(monitor.scan()) == [10]


def test_the_last_scan_opens_a_broken_checkpoint_again(run, monitor, prober):
    put(run, 10, "bad")
    monitor.scan()
    monitor.scan(full=True)
    assert prober.asked.count("checkpoint_10.mdl") == 2


def test_a_marker_inside_completes_a_checkpoint(run):
    rule = CheckpointLayout(
        directory=str(run.model),
        pattern=r"step-(?P<step>\d+)",
        format=CheckpointFormat.ANY,
        complete="{path}/DONE",
    )
    monitor = CheckpointMonitor(rule, {}, probe=lambda _: pytest.fail("opened"))
    (run.model / "step-10").mkdir()
    assert monitor.scan() == ()
    (run.model / "step-10" / "DONE").touch()
    assert steps(monitor.scan()) == [10]
    (run.model / "step-10" / "more").touch()
    assert monitor.scan(full=True) == ()


def test_the_thread_scans_at_its_end_and_survives_errors(run, monitor, monkeypatch, waits):
    monkeypatch.setattr(checkpoint_monitor, "INTERVAL", 0.01)
    warnings, saved = [], []
    thread = CheckpointMonitorThread(monitor, saved.append, warnings.append)
    fails = [OSError(5, "Input/output error", "/m")] * 3
    real = CheckpointMonitor.scan

    def scan(self, *, full=False):
        if fails:
            raise fails.pop()
        return real(self, full=full)

    monkeypatch.setattr(CheckpointMonitor, "scan", scan)
    thread.start()
    waits(lambda: not fails, "the errors")
    put(run, 10)
    assert thread.finish(240)
    assert steps(saved) == [10]
    assert len(warnings) == 1
    assert "Input/output error" in warnings[0]


def test_a_directory_that_is_slow_to_read_is_read_less_often(monitor, monkeypatch):
    waits = []

    class Finish:
        def wait(self, seconds):
            waits.append(seconds)
            return len(waits) == 3

    monkeypatch.setattr(CheckpointMonitor, "scan", lambda *_, **__: ())
    times = iter([0.0, 0.01, 5.0, 8.0])
    monkeypatch.setattr(checkpoint_monitor.time, "thread_time", lambda: next(times))
    thread = CheckpointMonitorThread(monitor, lambda _: None, lambda _: None)
    thread._finish = Finish()
    thread.run()
    assert waits == [2.0, 2.0, 200.0]
