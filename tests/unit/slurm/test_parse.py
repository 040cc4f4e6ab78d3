"""Jobs from what squeue printed: recorded on real clusters, and forged."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.core.job import Job, JobFlag, JobState
from slurm_restart.errors import SlurmError
from slurm_restart.slurm import parse, parse_values

RECORDED = Path(__file__).parent / "recorded"
RELEASES = ("22.05", "25.11")
MARK = "~0123456789abcdef~"
HOSTILE = "a|b\nJobId=9 JobState=COMPLETED Restarts=99"
COMPLETING = frozenset({JobFlag.COMPLETING})


def recorded(release: str, name: str) -> Job:
    """The only job of a recording, read as `Commands.job` reads it."""
    base = RECORDED / release / name
    (record,) = parse.job_records(base.with_suffix(".rows").read_text(), MARK)
    (detail,) = parse.detail_records(base.with_suffix(".details").read_text(), MARK)
    states = base.with_suffix(".state.json")
    bases = parse.parse_bases(states.read_text()) if states.exists() else {}
    told = bases.get(int(record["job_id"]))
    assert parse.agree(record, detail, told)
    return parse.to_job(record, detail, told)


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_running_with_hostile_texts(release: str) -> None:
    job = recorded(release, "running-hostile")
    assert (job.job_id, job.uid, job.state, job.flags) == (1, 65534, JobState.RUNNING, frozenset())
    assert (job.comment, job.admin_comment, job.reason) == (HOSTILE, "", "None")
    assert (job.nodes, job.exc_nodes, job.batch_host) == (("csx1", "csx2"), ("csx3",), "csx1")
    assert (job.num_nodes, job.partitions, job.restarts) == (2, ("main",), 0)
    assert job.time_limit == 26 * 3600 + 2 * 60 + 1 * 60
    assert job.start_time is not None
    assert job.end_time == job.start_time + job.time_limit
    assert (job.exit_code, job.signal, job.requeue, job.name) == (0, 0, True, "1")
    assert (job.reservation, job.features, job.preempt_time) == (None, None, None)
    assert job.std_out == f"{job.work_dir}/out-1-nobody.log"


def test_what_is_requested_of_a_node() -> None:
    text = (RECORDED / "22.05" / "held.details").read_text()
    assert text.endswith(f"1  {MARK}0  {MARK}0  {MARK}N/A  {MARK}\n")
    job = recorded("22.05", "held")
    assert (job.min_cpus, job.min_memory, job.min_tmp_disk, job.tres_per_node) == (1, 0, 0, None)
    (record,) = parse.job_records((RECORDED / "22.05" / "held.rows").read_text(), MARK)
    wanted = text.removesuffix(f"1  {MARK}0  {MARK}0  {MARK}N/A  {MARK}\n")
    wanted += f"8  {MARK}4096M  {MARK}512M  {MARK}gres:gpu:4  {MARK}\n"
    (detail,) = parse.detail_records(wanted, MARK)
    job = parse.to_job(record, detail)
    assert (job.min_cpus, job.min_memory, job.min_tmp_disk) == (8, 4096, 512)
    assert job.tres_per_node == "gres:gpu:4"


@pytest.mark.parametrize(
    ("text", "megabytes"),
    [("0", 0), ("4096M", 4096), ("104857600", None), ("4G", None), ("", None), ("1.50M", None)],
)
def test_megabytes(text: str, megabytes: int | None) -> None:
    assert parse_values.parse_megabytes(text) == megabytes


def test_held(release: str) -> None:
    job = recorded(release, "held")
    assert (job.state, job.reason, job.priority, job.held) == (
        JobState.PENDING,
        "JobHeldUser",
        0,
        True,
    )
    assert (job.num_nodes, job.nodes, job.batch_host) == (2, (), None)
    assert sorted(job.partitions) == ["high", "main"]
    assert (job.comment, job.admin_comment) == ("c", "held | for a test")
    assert (job.requeue, job.time_limit, job.eligible_time) == (False, 5400, None)
    assert (job.start_time, job.end_time) == (None, None)
    assert job.std_out == f"{job.work_dir}/slurm-2.out"


def test_array(release: str) -> None:
    job = recorded(release, "array")
    assert job.is_waiting_array
    assert (job.array_job_id, job.array_task_id) == (job.job_id, None)
    assert job.eligible_time is not None
    assert job.submit_time is not None
    assert job.eligible_time == job.submit_time + 3600


@pytest.mark.parametrize("release", ["22.05", "24.11", "26.05"])
def test_the_tasks_of_an_array_are_told_apart(release: str) -> None:
    base = RECORDED / release / "array-tasks"
    records = parse.job_records(base.with_suffix(".rows").read_text(), MARK)
    details = parse.detail_records(base.with_suffix(".details").read_text(), MARK)
    states = base.with_suffix(".state.json")
    bases = parse.parse_bases(states.read_text()) if states.exists() else {}
    assert not bases or bases.keys() == {30, 31, 32}
    # The last task has the job id of the array, of which squeue -j shows all tasks.
    shown = {30: "30_2", 31: "30_0", 32: "30_1"}
    for job_id, name in shown.items():
        record, detail = parse.job_of(records, job_id), parse.job_of(details, job_id)
        assert record is not None
        assert detail is not None
        assert parse.agree(record, detail, bases.get(job_id))
        job = parse.to_job(record, detail, bases.get(job_id))
        assert (job.job_id, job.name, job.state) == (job_id, name, JobState.RUNNING)
        assert (job.is_waiting_array, job.num_cpus) == (False, 1)


@pytest.mark.parametrize(
    ("name", "state", "status", "reasons"),
    [
        ("failed-5", JobState.FAILED, (5, 0), {"NonZeroExitCode"}),
        ("killed-9", JobState.FAILED, (0, 9), {"JobLaunchFailure", "RaisedSignal"}),
        ("completed", JobState.COMPLETED, (0, 0), {"None"}),
    ],
)
def test_ended(
    release: str, name: str, state: JobState, status: tuple[int, int], reasons: set[str]
) -> None:
    job = recorded(release, name)
    assert (job.state, (job.exit_code, job.signal)) == (state, status)
    assert job.reason in reasons
    assert job.end_time is not None


@pytest.mark.parametrize(
    ("name", "base", "status", "restarts"),
    [
        ("completing-failed", JobState.FAILED, (7, 0), 0),
        ("completing-cancelled", JobState.CANCELLED, (0, 15), 0),
        ("completing-requeued", JobState.PENDING, (0, 0), 1),
    ],
)
def test_completing(
    release: str, name: str, base: JobState, status: tuple[int, int], restarts: int
) -> None:
    job = recorded(release, name)
    assert job.flags == COMPLETING
    assert job.state is (None if release == "22.05" else base)
    assert ((job.exit_code, job.signal), job.restarts) == (status, restarts)


def test_a_shrunk_job_shows_its_new_size(release: str) -> None:
    """22.05 goes on printing the former size, 3, everywhere but in the requested resources."""
    job = recorded(release, "requeued-shrunk")
    assert (job.num_nodes, job.exc_nodes, job.restarts) == (2, ("csx1",), 1)
    assert job.submit_time is not None
    assert job.eligible_time == job.submit_time + 121


def test_formats() -> None:
    assert parse.job_format("#").startswith("%A#%F#%K#%T#")
    assert parse.job_format("#").endswith("%k#")
    assert parse.detail_format("#").startswith("jobid:20#,state:20#,")


def row(**changes: str) -> dict[str, str]:
    text = (RECORDED / "22.05" / "failed-5.rows").read_text()
    return {**parse.job_records(text, MARK)[0], **changes}


def printed(*records: dict[str, str]) -> str:
    """What squeue prints for these: each field ended by the mark, each job by a newline."""
    return "".join("".join(value + MARK for value in one.values()) + "\n" for one in records)


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_no_text_changes_another_field(texts: list[tuple[str, str]]) -> None:
    rows = [
        row(job_id=str(number), work_dir=f"/{path}", comment=comment)
        for number, (path, comment) in enumerate(texts)
    ]
    read = parse.job_records(printed(*rows), MARK)
    assert [dict(one) for one in read] == rows


@given(st.text())
def test_a_comment_comes_back_as_it_is(comment: str) -> None:
    (record,) = parse.job_records(printed(row(comment=comment)), MARK)
    job = parse.to_job(record)
    assert job.comment == (
        "" if comment in {"(null)", "N/A", "n/a", "None", "NONE", "Unknown"} else comment
    )
    assert (job.state, job.uid) == (JobState.FAILED, 65534)


@pytest.mark.parametrize("text", ["1|RUNNING\n", f"1{MARK}2{MARK}", f"{printed(row())}trailing"])
def test_other_output_is_an_error(text: str) -> None:
    with pytest.raises(SlurmError, match="squeue: expected"):
        parse.job_records(text, MARK)


def test_no_jobs() -> None:
    assert parse.job_records("", MARK) == []
    assert parse.job_of([], 7) is None


def test_the_others_of_an_array_are_passed_over() -> None:
    records = [row(job_id="7"), row(job_id="70"), row(job_id="8")]
    assert parse.job_of(records, 70) is records[1]


@pytest.mark.parametrize(
    ("words", "state", "flags"),
    [
        (["RUNNING"], JobState.RUNNING, set()),
        (["COMPLETING"], None, {JobFlag.COMPLETING}),
        (["CONFIGURING"], JobState.RUNNING, {JobFlag.CONFIGURING}),
        (["REQUEUE_HOLD"], JobState.PENDING, {JobFlag.REQUEUE_HOLD}),
        (["SPECIAL_EXIT"], JobState.PENDING, {JobFlag.SPECIAL_EXIT}),
        (["FAILED", "COMPLETING"], JobState.FAILED, {JobFlag.COMPLETING}),
        (["SOMETHING_NEW"], None, set()),
    ],
)
def test_states(words: list[str], state: JobState | None, flags: set[JobFlag]) -> None:
    assert parse_values.parse_state(words) == (state, frozenset(flags))


@pytest.mark.parametrize(
    ("shown", "changed", "base", "agrees"),
    [
        ({}, {}, None, True),
        ({}, {"state": "PENDING"}, None, False),
        ({}, {"submit": "1"}, None, False),
        ({}, {"start": "N/A"}, None, False),
        ({}, {}, (JobState.FAILED, frozenset()), True),
        ({}, {}, (JobState.PENDING, frozenset()), False),
        ({}, {}, (JobState.FAILED, COMPLETING), False),
        ({"state": "COMPLETING"}, {"state": "COMPLETING"}, (JobState.FAILED, COMPLETING), True),
        ({"state": "COMPLETING"}, {"state": "COMPLETING"}, (JobState.FAILED, frozenset()), False),
    ],
)
def test_answers_of_different_moments_do_not_agree(
    shown: dict[str, str], changed: dict[str, str], base: parse_values.Base | None, *, agrees: bool
) -> None:
    text = (RECORDED / "22.05" / "failed-5.details").read_text()
    (detail,) = parse.detail_records(text, MARK)
    assert parse.agree(row(**shown), {**detail, **changed}, base) is agrees


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("None", "None"),
        ("launch failed requeued held", "launch_failed_requeued_held"),
        ("RaisedSignal:9(Killed)", "RaisedSignal"),
        ("ReqNodeNotAvail, UnavailableNodes:csx1", "ReqNodeNotAvail,_UnavailableNodes:csx1"),
    ],
)
def test_reasons(text: str, expected: str) -> None:
    assert parse_values.parse_reason(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0:00", 0),
        ("1:30", 90),
        ("1:00:00", 3600),
        ("2-01:00:30", 2 * 86400 + 3630),
        ("UNLIMITED", None),
        ("NOT_SET", None),
        ("INVALID", None),
        ("", None),
    ],
)
def test_durations(text: str, expected: int | None) -> None:
    assert parse_values.parse_duration(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", (0, 0)),
        ("1280", (5, 0)),
        ("9", (0, 9)),
        ("139", (0, 11)),  # a core was dumped
        ("35072", (137, 0)),
        ("5:0", (5, 0)),
        ("0:15", (0, 15)),
    ],
)
def test_exit_codes(text: str, expected: tuple[int, int]) -> None:
    assert parse_values.parse_exit(text) == expected


@pytest.mark.parametrize(
    "changes",
    [{"submit": "2026-11-25T02:47:47"}, {"num_nodes": "1K"}, {"uid": "ann"}, {"nodes": "csx[1-"}],
)
def test_a_value_in_another_form_is_an_error(changes: dict[str, str]) -> None:
    with pytest.raises(SlurmError):
        parse.to_job(row(**changes))


def test_ten_thousand_jobs_in_little_time() -> None:
    text = (RECORDED / "22.05" / "failed-5.rows").read_text() * 10_000
    before = time.process_time()
    assert len([parse.to_job(one) for one in parse.job_records(text, MARK)]) == 10_000
    assert time.process_time() - before < 5


@pytest.mark.parametrize("text", ["", "[]", '{"jobs": [{}]}', '{"jobs": 3}', "{}"])
def test_odd_json_is_an_error(text: str) -> None:
    with pytest.raises(SlurmError, match="JSON"):
        parse.parse_bases(text)


def test_the_states_of_several_jobs() -> None:
    text = '{"jobs": [{"job_id": "10", "state": ["RUNNING"]}, {"job_id": 9, "state": "FAILED"}]}'
    found = parse.parse_bases(text)
    assert found[10] == (JobState.RUNNING, frozenset())
    assert 1 not in found


@pytest.mark.parametrize(
    ("job_id", "tasks"), [(2, (6, 2)), (3, (3, 0)), (4, (5, 0)), (5, None), (9, None)]
)
def test_the_tasks_of_a_job_are_read(job_id: int, tasks: tuple[int, int] | None) -> None:
    # Measured on 22.05; releases differ in what they print where nothing was requested.
    shown = (
        "2                   6                   2                   \n"
        "3                   3                   0                   \n"
        "4                   5                   N/A                 \n"
        "5                   N/A                 0                   \n"
    )
    assert parse.parse_tasks(shown, job_id) == tasks
