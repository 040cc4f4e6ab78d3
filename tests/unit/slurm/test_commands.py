"""Running Slurm's commands; stand-ins record their arguments and environment."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from slurm_restart.core.job import Job, JobState
from slurm_restart.errors import JobNotFoundError, NoJobIdError, SlurmError, SlurmUnavailableError
from slurm_restart.slurm import client, parse
from slurm_restart.slurm.commands import Commands

RECORDED = Path(__file__).parent / "recorded"
DELIMITER = "~0123456789abcdef~"
STAND_IN = """#!/usr/bin/python3 -I
import json, os, pathlib, sys
here = pathlib.Path(__file__).parent
with open(here / "calls", "a") as calls:
    call = {"name": pathlib.Path(__file__).name, "args": sys.argv[1:], "env": dict(os.environ)}
    calls.write(json.dumps(call) + "\\n")
answers = json.loads((here / "answers.json").read_text())
key = " ".join([pathlib.Path(__file__).name, *sys.argv[1:]])
steps = next((answers[start] for start in answers if key.startswith(start)), [[0, "", ""]])
tries = sum(key == " ".join([c["name"], *c["args"]]) for c in map(json.loads, open(here / "calls")))
code, out, err = steps[min(tries, len(steps)) - 1]
for name in ("SQUEUE_FORMAT", "SQUEUE_FORMAT2"):
    if name in os.environ:
        out = (here / name).read_text()
        out = out.replace("~0123456789abcdef~", "~" + os.environ[name].split("~")[1] + "~")
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""
Answers = dict[str, list[tuple[int, str, str]]]


class FakeSlurm:
    """A directory of stand-ins for Slurm's commands."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("scontrol", "squeue", "scancel", "sbatch"):
            (directory / name).write_text(STAND_IN)
            (directory / name).chmod(0o755)
        self.answer({"scontrol --version": [(0, "slurm 22.05.8\n", "")]})

    def answer(self, answers: Answers) -> None:
        (self.directory / "answers.json").write_text(json.dumps(answers))

    def recorded(self, name: str) -> None:
        for suffix, variable in ((".rows", "SQUEUE_FORMAT"), (".details", "SQUEUE_FORMAT2")):
            text = (RECORDED / "22.05" / f"{name}{suffix}").read_text()
            (self.directory / variable).write_text(text)

    @property
    def calls(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.directory / "calls").read_text().splitlines()]

    def commands(
        self, timeout: float = 120, report: Callable[[str], None] | None = None
    ) -> Commands:
        return Commands(self.directory, "/etc/slurm.conf", timeout, report=report)


@pytest.fixture
def fake(tmp_path: Path) -> FakeSlurm:
    return FakeSlurm(tmp_path)


def test_the_environment_is_small_and_fixed(
    fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SQUEUE_FORMAT", "SQUEUE_USERS", "SINFO_FORMAT", "SLURM_CLUSTERS", "LD_PRELOAD"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("SLURM_CONF", "/another/slurm.conf")
    monkeypatch.setenv("SLURM_TIME_FORMAT", "relative")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    monkeypatch.delenv("TZ", raising=False)
    fake.commands().nodes()
    (call,) = fake.calls
    env = call["env"]
    assert isinstance(env, dict)
    env.pop("PATH")
    env.pop("LC_CTYPE", None)  # Python's own, in the stand-in
    expected = {"LC_ALL": "C", "SLURM_CONF": "/etc/slurm.conf", "SLURM_TIME_FORMAT": "%s"}
    assert env == expected | {"SCONTROL_ALL": "1"}


def test_a_job_is_read_by_two_calls_with_a_secret_delimiter(fake: FakeSlurm) -> None:
    fake.recorded("running-hostile")
    slurm = fake.commands()
    assert slurm.job(1).state is JobState.RUNNING
    delimiters = set()
    for call in fake.calls[1:]:
        env = call["env"]
        assert isinstance(env, dict)
        text = env.get("SQUEUE_FORMAT") or env.get("SQUEUE_FORMAT2")
        delimiters.add(text.split("~")[1])
        assert call["args"] == ["-h", "-a", "-t", "all", "--noconvert", "-j", "1"]
    assert len(delimiters) == 1
    assert len(delimiters.pop()) == 16
    slurm.job(1)
    assert len(fake.calls) == 5  # the version is asked for once


def test_another_job_than_asked_for_is_no_answer(fake: FakeSlurm) -> None:
    fake.recorded("running-hostile")
    with pytest.raises(JobNotFoundError):
        fake.commands().job(9)


def test_several_jobs_are_read_by_as_many_calls_as_one(fake: FakeSlurm) -> None:
    fake.recorded("running-hostile")
    slurm = fake.commands()
    alone = slurm.job(1)
    before = len(fake.calls)
    assert slurm.known_jobs([1, 9]) == {1: alone}
    calls = fake.calls[before:]
    assert [call["args"] for call in calls] == [
        ["-h", "-a", "-t", "all", "--noconvert", "-j", "1,9"]
    ] * 2


def test_of_several_jobs_those_that_change_meanwhile_are_left_out(fake: FakeSlurm) -> None:
    fake.recorded("running-hostile")
    details = fake.directory / "SQUEUE_FORMAT2"
    details.write_text(details.read_text().replace("RUNNING", "PENDING", 1))
    assert fake.commands().known_jobs([1]) == {}


def test_several_jobs_that_slurm_does_not_know(fake: FakeSlurm) -> None:
    unknown = "slurm_load_jobs error: Invalid job id specified\n"
    fake.answer({"scontrol --version": [(0, "slurm 22.05.8\n", "")], "squeue": [(1, "", unknown)]})
    fake.recorded("running-hostile")
    assert fake.commands().known_jobs([8, 9]) == {}


def counts_of(job_id: str, submit: str, restarts: int) -> str:
    fields = (job_id, "RUNNING", submit, str(restarts))
    return "".join(f"{field:20}{DELIMITER}" for field in fields) + "\n"


def test_all_jobs_are_read_by_two_calls(fake: FakeSlurm) -> None:
    fake.recorded("running-hostile")
    rows = (fake.directory / "SQUEUE_FORMAT").read_text()
    submit = parse.job_records(rows, DELIMITER)[0]["submit"]
    (fake.directory / "SQUEUE_FORMAT2").write_text(
        counts_of("9", submit, 4) + counts_of("1", submit, 3)
    )
    (job,) = fake.commands().jobs()
    assert (job.job_id, job.restarts, job.min_cpus) == (1, 3, None)
    assert len(fake.calls) == 2


def test_a_job_that_changes_while_all_are_listed_is_read_again(
    fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.recorded("running-hostile")
    (fake.directory / "SQUEUE_FORMAT2").write_text(counts_of("1", "1", 3))
    again: list[int] = []

    def read(_: Commands, job_id: int) -> Job:
        again.append(job_id)
        if len(again) > 1:
            raise JobNotFoundError("gone")
        return Job(job_id=job_id, uid=0, state=JobState.PENDING, restarts=4)

    monkeypatch.setattr(Commands, "job", read)
    slurm = fake.commands()
    assert [(job.job_id, job.restarts) for job in slurm.jobs()] == [(1, 4)]
    assert slurm.jobs() == ()
    assert again == [1, 1]


def test_cluster_facts_are_read_by_one_call(fake: FakeSlurm) -> None:
    text = "SLURM_VERSION = 24.11.5\nRequeueExit = 7\n"
    fake.answer({"scontrol show config": [(0, text, "")]})
    facts = fake.commands().cluster_facts()
    assert (facts.release, facts.requeue_exit) == ((24, 11), {7})
    assert len(fake.calls) == 1


def test_partitions(fake: FakeSlurm) -> None:
    text = "PartitionName=main Default=NO MaxNodes=4 MaxTime=1 State=UP TotalNodes=4 \n"
    fake.answer({"scontrol show partition -o": [(0, text, "")]})
    (found,) = fake.commands().partitions()
    assert (found.name, found.max_nodes) == ("main", 4)
    env = fake.calls[0]["env"]
    assert isinstance(env, dict)
    assert env["SCONTROL_ALL"] == "1"


@pytest.mark.parametrize(
    ("shown", "wait"),
    [
        ("", False),
        ("7|Priority\n8|JobHeldUser\n9|Dependency\n", False),
        ("7|None\n8|Resources\n", True),
        ("8|Priority\n", True),
        ("8|None\n", True),
    ],
)
def test_whether_other_jobs_wait_for_nodes(fake: FakeSlurm, shown: str, wait: bool) -> None:
    job = Job(job_id=7, uid=1000, state=JobState.RUNNING, partitions=("main", "long"))
    fake.answer({"squeue -h -a -t PENDING -o %A|%r -p main,long": [(0, shown, "")]})
    assert fake.commands().others_wait(job) is wait


@pytest.mark.parametrize(
    ("shown", "nodes"),
    [("", ""), ("csx[1-3]\ncsx1\n\n", "csx1 csx2 csx3"), ("csx2,csx4\ncsx1\n", "csx1 csx2 csx4")],
)
def test_the_nodes_of_all_steps(fake: FakeSlurm, shown: str, nodes: str) -> None:
    fake.answer({"squeue -h -s -j 7 -o %N": [(0, shown, "")]})
    assert fake.commands().step_nodes(7) == frozenset(nodes.split())


def test_the_limit_of_nodes(fake: FakeSlurm) -> None:
    job = Job(job_id=7, uid=1000, state=JobState.PENDING, partitions=("main",))
    partition = "PartitionName=main Default=NO QoS=part MaxNodes=4 MaxTime=1 State=UP TotalNodes=4 "
    limits = "QOS=part(2) UsageRaw=0.0 GrpTRES=cpu=N(1),node=5(2) Priority=0 "
    answers: Answers = {
        "scontrol show partition": [(0, partition, "")],
        "scontrol show node": [(0, "", "")],
        "scontrol show assoc_mgr -o flags=assoc,qos": [(0, limits, "")],
    }
    fake.answer(answers)
    fields = ("4", "physics", "1000", "normal", "NO")
    (fake.directory / "SQUEUE_FORMAT2").write_text("".join(f + DELIMITER for f in fields) + "\n")
    assert fake.commands().node_limit(job) == 3
    (fake.directory / "SQUEUE_FORMAT2").write_text("")
    with pytest.raises(JobNotFoundError):
        fake.commands().node_limit(job)


def test_answers_that_do_not_agree_are_requested_again(fake: FakeSlurm) -> None:
    fake.recorded("running-hostile")
    text = (fake.directory / "SQUEUE_FORMAT2").read_text()
    (fake.directory / "SQUEUE_FORMAT2").write_text(text.replace("RUNNING  ", "PENDING  ", 1))
    with pytest.raises(SlurmError, match="its state changed during each of 4 attempts"):
        fake.commands().job(1)
    assert len(fake.calls) == 1 + 2 * 4


BUSY = (1, "", "Job update not available right now, the DB index is being set, try again in a bit")
RESET = (1, "", "Connection reset by peer for job 7")


def test_a_transient_error_is_tried_again(fake: FakeSlurm) -> None:
    fake.answer(
        {"scontrol update": [BUSY, RESET, (0, "", "")], "scontrol requeue": [RESET, (0, "", "")]}
    )
    fake.commands().update(7, {"Comment": "x"})
    assert len(fake.calls) == 3
    fake.commands().requeue(7)
    assert len(fake.calls) == 5


@pytest.mark.parametrize(("pause", "tries"), [(250.0, 3), (599.9, 2), (600.0, 2)])
def test_a_transient_error_is_tried_again_until_the_deadline(
    fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch, pause: float, tries: int
) -> None:
    clock = [0.0]

    def sleep(_: float) -> None:
        clock[0] += pause

    monkeypatch.setattr(client, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
    fake.answer({"scontrol update": [BUSY], "scontrol hold": [RESET]})
    with pytest.raises(SlurmError, match="DB index") as caught:
        fake.commands(timeout=600).update(7, {"Comment": "x"})
    assert not isinstance(caught.value, SlurmUnavailableError)
    assert len(fake.calls) <= tries
    clock[0] = 0.0
    with pytest.raises(SlurmUnavailableError, match="hold job 7: Connection reset by peer"):
        fake.commands(timeout=600).hold(7)


def test_a_job_that_waits_for_accounting_is_not_waited_for_to_the_deadline(
    fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    monkeypatch.setattr(client, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
    fake.answer({"scontrol update": [BUSY], "scontrol hold": [RESET]})
    with pytest.raises(SlurmError, match="DB index"):
        fake.commands(timeout=60).update(7, {"Comment": "x"})
    assert 2 < clock[0] <= client.DATABASE_TIMEOUT
    with pytest.raises(SlurmUnavailableError):
        fake.commands(timeout=60).hold(7)
    assert clock[0] > 50


def test_pauses_grow_up_to_a_second(fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(client, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=pauses.append))
    fake.answer({"scontrol hold": [*[RESET] * 6, (0, "", "")]})
    fake.commands().hold(7)
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_a_refusal_is_not_tried_again(fake: FakeSlurm) -> None:
    fake.answer({"scontrol update": [(1, "", "Access/permission denied for job 7")]})
    with pytest.raises(SlurmError, match="update job 7: Access/permission denied"):
        fake.commands().update(7, {"Comment": "x"})
    assert len(fake.calls) == 1


def test_update_is_one_call_with_whole_values(fake: FakeSlurm) -> None:
    fake.commands().update(7, {"ExcNodeList": "csx[1-2]", "AdminComment": "a b JobId=8 \n;$(x)"})
    (call,) = fake.calls
    expected = ["update", "JobId=7", "ExcNodeList=csx[1-2]", "AdminComment=a b JobId=8 \n;$(x)"]
    assert call["args"] == expected


def test_submission_has_the_callers_environment_and_is_tried_once(
    fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBATCH_PARTITION", "gpu")
    monkeypatch.setenv("SLURM_TIME_FORMAT", "standard")
    lines: list[str] = []
    fake.answer({"sbatch": [(0, "welcome\n123;alps\n", "sbatch: your quota is low\n"), RESET]})
    slurm = fake.commands(report=lines.append)
    assert slurm.submit("job.sh", ["-N2", "--comment=a b"]) == "123"
    assert lines == ["sbatch: your quota is low"]
    (call,) = fake.calls
    assert call["args"] == ["--parsable", "-N2", "--comment=a b", "job.sh"]
    env = call["env"]
    assert isinstance(env, dict)
    assert (env["SBATCH_PARTITION"], env["SLURM_CONF"]) == ("gpu", "/etc/slurm.conf")
    assert env["SLURM_TIME_FORMAT"] == "standard"
    with pytest.raises(SlurmUnavailableError):
        slurm.submit("job.sh", ["-N2", "--comment=a b"])
    assert len(fake.calls) == 2


@pytest.mark.parametrize("text", ["Submitted, I think\n", ""])
def test_an_odd_answer_to_a_submission(fake: FakeSlurm, text: str) -> None:
    fake.answer({"sbatch": [(0, text, "")]})
    with pytest.raises(NoJobIdError, match="expected a job id"):
        fake.commands().submit("job.sh", [])


def test_ping(fake: FakeSlurm) -> None:
    up = "Slurmctld(primary) at a is DOWN\nSlurmctld(backup) at b is UP\n"
    for text, answers in ((up, True), ("Slurmctld(primary) at a is DOWN\n", False)):
        fake.answer({"scontrol ping": [(0, text, "")]})
        assert fake.commands().ping() is answers


def test_commands_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(SlurmError, match=r"/scontrol: cannot be run: No such file"):
        Commands(tmp_path).nodes()
