import threading
from dataclasses import replace

import pytest

from slurm_restart.core.category import Category
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import (
    CommentRecord,
    format_comment,
    parse_comment,
    split_user_comment,
)
from slurm_restart.errors import SlurmError, SlurmUnavailableError
from slurm_restart.supervise import comment_writer
from slurm_restart.supervise.comment_writer import CommentWriter, SelfReport

DEADLINE = 240.0
BASE = CommentRecord(run="0123456789abcdef", max_restarts=2, num_nodes=4, min_nodes=1)


class FakeSlurm:
    """One job; `failures` are raised by the next updates, in order."""

    def __init__(self, text=None, failures=()):
        text = format_comment(BASE, "mine") if text is None else text
        self.shown = Job(job_id=7, uid=1, state=JobState.RUNNING, comment=text, submit_time=1000)
        self.failures = list(failures)
        self.written = []

    def job(self, _job_id):
        return self.shown

    def update(self, _job_id, fields):
        if self.failures:
            raise self.failures.pop(0)
        self.written.append(fields["Comment"])
        self.shown = replace(self.shown, comment=fields["Comment"])


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def writer(warnings):
    def make(slurm, *, interval=DEADLINE, fallback=BASE):
        made = CommentWriter(slurm, 7, fallback=fallback, warn=warnings.append, interval=interval)
        made.start()
        return made

    return make


def test_the_first_update_is_written_at_once_and_the_final_one_too(writer, waits, warnings):
    slurm = FakeSlurm()
    thread = writer(slurm)
    thread.update(attempt=1, restarts=1, from_step=20, step=20)
    waits(lambda: slurm.written, "the first update")
    record = parse_comment(slurm.written[0])
    assert (record.attempt, record.restarts, record.from_step, record.submit) == (1, 1, 20, 1000)
    # Within the interval nothing is written but the final update.
    thread.update(step=30)
    assert thread.finish(DEADLINE, ended=True, exit=1, cause=Category.UNKNOWN)
    assert len(slurm.written) == 2
    record = parse_comment(slurm.written[1])
    assert (record.step, record.ended, record.exit, record.cause) == (30, True, 1, Category.UNKNOWN)
    assert split_user_comment(slurm.written[1]) == "mine"
    assert warnings == []


def test_the_record_of_a_later_attempt_is_left_alone(writer, waits, warnings):
    """This attempt goes on, on a node that Slurm has given up."""
    slurm = FakeSlurm()
    thread = writer(slurm, interval=0.0)
    thread.update(attempt=0, step=10)
    waits(lambda: slurm.written, "the first update")
    later = format_comment(replace(BASE, attempt=1, submit=2000, step=10), "mine")
    slurm.shown = replace(slurm.shown, submit_time=2000, comment=later)
    thread.update(step=20)
    assert thread.finish(DEADLINE, ended=True, exit=1)
    assert slurm.shown.comment == later
    assert len(slurm.written) == 1
    assert warnings == []


def test_updates_within_the_interval_are_merged(writer, waits):
    class Slow(FakeSlurm):
        """Does not answer its first update until `answer` is set."""

        asked, answer = threading.Event(), threading.Event()

        def update(self, job_id, fields):
            self.asked.set()
            assert self.answer.wait(DEADLINE)
            super().update(job_id, fields)

    slurm = Slow()
    thread = writer(slurm, interval=0.0)
    thread.update(attempt=0, step=10)
    assert slurm.asked.wait(DEADLINE)
    for step in range(11, 200):
        thread.update(step=step)
    slurm.answer.set()
    waits(lambda: slurm.written and parse_comment(slurm.written[-1]).step == 199, "the newest step")
    assert [parse_comment(text).step for text in slurm.written] == [10, 199]


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        # A person changes the policy, or the text after the record; both stay.
        (format_comment(replace(BASE, max_restarts=9), "new"), (9, "new")),
        # The record of an earlier attempt is ignored.
        (format_comment(replace(BASE, attempt=0, ended=True, exit=1, root="0" * 8), "a"), (2, "a")),
        # The record is gone or damaged: the one at submission is used.
        ("only mine", (2, "only mine")),
        ("csx-restart/1 nonsense mine", (2, "mine")),
        (
            '{"csx-restart/1":"run=0123456789abcdef;max=5;num=4;min=1","x":1}',
            (5, '{"x":1}'),
        ),
        ("", (2, "")),
    ],
)
def test_what_people_have_changed_stays(present, expected):
    text = SelfReport(values={"attempt": 1, "step": 5}).merge_into(present, BASE)
    record = parse_comment(text)
    assert (record.max_restarts, split_user_comment(text)) == expected
    assert (record.attempt, record.step, record.ended, record.exit, record.root) == (
        1,
        5,
        False,
        None,
        None,
    )


def test_a_long_text_of_the_user_is_cut_and_never_the_record():
    text = SelfReport(values={"attempt": 1}).merge_into("ü" * 1000, BASE)
    assert len(text.encode()) <= comment_writer.MAX_COMMENT
    assert parse_comment(text).attempt == 1


def test_an_update_that_slurm_does_not_answer_is_repeated(writer, monkeypatch, warnings):
    monkeypatch.setattr(comment_writer, "FINAL_RETRY", 0.01)
    slurm = FakeSlurm(failures=[SlurmUnavailableError("no answer")] * 6)
    thread = writer(slurm)
    assert thread.finish(DEADLINE, ended=True, exit=0)
    assert parse_comment(slurm.written[0]).ended
    assert warnings == ["the job's Comment cannot be written now: no answer"]


def test_a_record_that_slurmctld_lost_is_written_again_until_it_is_saved(writer, monkeypatch):
    forgets = FakeSlurm()
    before = forgets.shown

    def saved(_seconds):
        # Killed and started again before the first two updates were on its disk.
        if len(forgets.written) < 3:
            forgets.shown = before

    monkeypatch.setattr(comment_writer.time, "sleep", saved)
    assert writer(forgets).finish(DEADLINE, durable=True, ended=True, exit=1, cause=Category.CONFIG)
    assert len(forgets.written) == 3
    assert parse_comment(forgets.shown.comment).cause is Category.CONFIG


def test_an_update_that_slurm_refuses_is_given_up_soon(writer, monkeypatch):
    monkeypatch.setattr(comment_writer, "FINAL_RETRY", 0.01)
    slurm = FakeSlurm(failures=[SlurmError("Job has already finished")] * 100)
    assert not writer(slurm).finish(DEADLINE, ended=True)
    assert len(slurm.failures) == 100 - comment_writer._MAX_REFUSED


def test_the_supervisor_does_not_wait_for_slurm_that_hangs(writer, waits):
    slurm = FakeSlurm(failures=[SlurmUnavailableError("no answer")] * 10_000)
    thread = writer(slurm)
    assert not thread.finish(0.2, ended=True)
    slurm.failures.clear()
    waits(lambda: not thread.is_alive(), "the thread's end")


def test_without_a_comment_record_nothing_is_written(writer, warnings, monkeypatch):
    monkeypatch.setattr(comment_writer, "FINAL_RETRY", 0.01)
    slurm = FakeSlurm(text="mine")
    assert not writer(slurm, fallback=None).finish(DEADLINE, ended=True)
    assert slurm.written == []
    assert "it holds no comment record" in warnings[0]


def test_a_flush_is_written_without_the_pause(writer):
    slurm = FakeSlurm()
    thread = writer(slurm)
    thread.update(attempt=1)
    assert thread.flush(DEADLINE, in_place=1, in_place_failures=1)
    assert parse_comment(slurm.written[-1]).in_place_ends.failures == 1
    assert not parse_comment(slurm.written[-1]).ended
    assert thread.finish(DEADLINE, ended=True, in_place=0, in_place_failures=0)
    assert parse_comment(slurm.written[-1]).in_place == 0


def test_a_flush_that_slurm_refuses_is_not_written(writer):
    slurm = FakeSlurm(failures=[SlurmError("no")])
    assert not writer(slurm).flush(0.2, in_place=1)


@pytest.mark.parametrize(("submit", "kept"), [(1000, 2), (999, 0)])
def test_restarts_in_place_stay_on_record_until_the_job_starts_again(submit, kept):
    present = format_comment(replace(BASE, submit=submit, attempt=3, in_place=2))
    report = SelfReport(values={"submit": 1000, "ended": True})
    found = parse_comment(report.merge_into(present, BASE))
    assert (found.in_place, found.attempt, found.ended) == (kept, None, True)
