import os
import time
from dataclasses import replace

import pytest

from slurm_restart.core.job_comment import MAX_STEP
from slurm_restart.supervise import progress_monitor
from slurm_restart.supervise.output_steps import OutputSteps
from slurm_restart.supervise.progress_monitor import (
    ProgressMonitorThread,
    file_size,
    highest_measured,
    make_gauge,
    measured_steps,
)
from slurm_restart.trainer.attempt_records import AttemptEnd, AttemptStart, Measured, to_json
from slurm_restart.trainer.run_plan import CheckpointFormat, ProgressMeasure

DEADLINE = 240


@pytest.fixture
def plan(run):
    none = replace(run.plan.checkpoint, format=CheckpointFormat.NONE)
    return replace(run.plan, checkpoint=none)


@pytest.fixture
def measured(plan):
    return lambda **given: replace(plan, progress=ProgressMeasure(**given))


def start_of(number, step):
    return AttemptStart(
        attempt=number, at=0, job_id=1, restarts=0, nodes=(), num_csx=1, checkpoint=None,
        from_step=step, resumed=False, first_step=0, last_step=None,
    )  # fmt: skip


def end_of(number, step):
    return AttemptEnd(attempt=number, at=1, category="unknown", rule="x", reason="", step=step)


def test_the_first_given_measure_counts(measured, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    steps = OutputSteps("step (.)")
    steps.feed(b"step 7\n")
    assert make_gauge(measured(pattern="step (.)", file=str(file)), 0, steps)() == 7
    assert make_gauge(measured(file=str(file), after=1), 0, None)() == 5


def test_run_time_counts_once_an_attempt_has_lasted_long_enough(measured, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    given, default = make_gauge(measured(after=60), 500, None), make_gauge(measured(), 0, None)
    now[0] += 59.9
    assert given() is None
    now[0] += 0.1
    assert given() == 560
    assert default() is None
    now[0] += 3540
    assert default() == 3600


def test_the_size_of_a_file(tmp_path):
    path = tmp_path / "file"
    assert file_size(str(path)) == 0
    path.write_bytes(b"x" * 30)
    assert file_size(str(path)) == 30
    os.truncate(path, MAX_STEP + 1)
    assert file_size(str(path)) == MAX_STEP
    with pytest.raises(NotADirectoryError):
        file_size(f"{path}/below")


def test_a_run_starts_beyond_all_earlier_attempts(measured, run):
    plan = measured(pattern="(.)")
    assert highest_measured(plan, []) == 0
    attempts = [run.dir.new_attempt() for _ in range(4)]
    assert highest_measured(plan, attempts) == 0
    attempts[0].start_file.write_bytes(to_json(start_of(0, 3)))
    assert highest_measured(plan, attempts) == 3
    attempts[1].measured_file.write_bytes(to_json(Measured(at=1, step=40)))
    attempts[2].end_file.write_bytes(to_json(end_of(2, 7)))
    attempts[3].measured_file.write_bytes(b"{torn")
    assert measured_steps(attempts[3]) == []
    assert highest_measured(plan, attempts) == 40


def test_a_file_counts_from_its_size_when_the_run_began(measured, run, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    plan = measured(file=str(file))
    assert highest_measured(plan, []) == 5
    attempt = run.dir.new_attempt()
    attempt.start_file.write_bytes(to_json(start_of(0, 2)))
    assert highest_measured(plan, [attempt]) == 2


class Gauge:
    def __init__(self):
        self.value = None
        self.read = 0

    def __call__(self):
        self.read += 1
        if isinstance(self.value, OSError):
            raise self.value
        return self.value


@pytest.fixture
def monitored(monkeypatch):
    monkeypatch.setattr(progress_monitor, "INTERVAL", 0.01)
    started = []

    def start(gauge, from_step=10):
        reports, saves, warnings = [], [], []
        thread = ProgressMonitorThread(
            gauge, from_step, reports.append, saves.append, warnings.append
        )
        thread.start()
        started.append(thread)
        return thread, reports, saves, warnings

    yield start
    for thread in started:
        assert thread.finish(DEADLINE)


def read_again(gauge, waits):
    before = gauge.read
    waits(lambda: gauge.read > before + 1, "two more measurements")


def test_the_first_progress_is_reported_at_once_and_the_last(monitored, waits):
    gauge = Gauge()
    thread, reports, saves, warnings = monitored(gauge)
    for value in (None, 3, 10):
        gauge.value = value
        read_again(gauge, waits)
    assert reports == saves == []
    gauge.value = 11
    waits(lambda: reports == [11], "the report")
    for value in (12, 13, 5):
        gauge.value = value
        read_again(gauge, waits)
    assert reports == saves == [11]
    assert thread.finish(DEADLINE)
    assert reports == saves == [11, 13]
    assert warnings == []


def test_a_failure_is_reported_once(monitored, waits):
    gauge = Gauge()
    _thread, reports, _, warnings = monitored(gauge)
    gauge.value = OSError(5, "I/O error")
    read_again(gauge, waits)
    gauge.value = 20
    waits(lambda: reports == [20], "the report")
    assert len(warnings) == 1
    assert "the progress cannot be measured: [Errno 5] I/O error" in warnings[0]
