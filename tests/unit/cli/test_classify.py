import gzip
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from contrib.testing.json_output import read_json
from slurm_restart.cli import common
from slurm_restart.cli.restart import group
from slurm_restart.cli.scan_progress import scan_progress
from slurm_restart.core.job import Job, JobFlag, JobState, NodeState
from slurm_restart.errors import JobNotFoundError, SlurmError
from slurm_restart.slurm import accounting
from slurm_restart.slurm.commands import Commands

TRACE = """step 1 loss 2.3
Traceback (most recent call last):
  File "x.py", line 3, in <module>
    run()
ModuleNotFoundError: No module named 'flux'
srun: error: csx1: task 0: Exited with exit code 1
"""


@pytest.fixture(autouse=True)
def no_rules_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def log(tmp_path):
    def make(text, name="job.out"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return make


@pytest.fixture
def call(capsys):
    def run(*args):
        with pytest.raises(SystemExit) as caught:
            common.run(group, "csx-restart", args)
        captured = capsys.readouterr()
        return caught.value.code, captured.out, captured.err

    return run


@pytest.fixture
def judged(call):
    def run(*args):
        code, out, err = call("classify", "--json", *args)
        assert code == 0, err
        return read_json("classify", out)

    return run


def test_the_json_has_what_scripts_need(judged, log):
    path = log(TRACE)
    answer = judged("--state", "FAILED", "--exit-code", "1:0", path)
    assert answer["category"] == "code"
    assert answer["recoverable"] is False
    assert answer["confidence"] == "certain"
    assert answer["rule"] == "python.import"
    assert answer["blamed_nodes"] == []
    assert answer["root_cause"] == {
        "file": path,
        "line": 5,
        "text": "ModuleNotFoundError: No module named 'flux'",
    }
    assert [item["rule"] for item in answer["secondary"]] == ["slurm.task_exited"]
    assert answer["files"] == [
        {
            "file": path,
            "lines": 6,
            "bytes": len(TRACE),
            "error": None,
            "compression": None,
            "note": None,
        }
    ]


def test_the_text_shows_the_root_cause_with_its_neighbouring_lines(call, log):
    code, out, _ = call("classify", log(TRACE))
    assert code == 0
    assert "category     code: " in out
    assert "what to do   do not restart" in out
    assert "  > 5 | ModuleNotFoundError: No module named 'flux'" in out
    assert "    2 | Traceback (most recent call last):" in out
    assert "cascade slurm.task_exited" in out


@pytest.mark.parametrize(
    ("state", "category"),
    [
        ("CANCELLED by 1000", "cancelled"),
        ("CANCELLED+", "cancelled"),
        ("to", "timeout"),
        ("Preempted", "preemption"),
        ("OOM", "oom_host"),
        ("CD", "completed"),
        ("SE", "unknown"),
    ],
)
def test_states_in_the_forms_of_slurms_commands(judged, log, state, category):
    assert judged("--state", state, log("step 1\n"))["category"] == category


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--state", "TIRED", "LOG"], "--state: expected one of BOOT_FAIL, CANCELLED"),
        (["--state", "RUNNING", "LOG"], "--state: a job that is RUNNING has not ended; expected"),
        (["--state", "pd", "LOG"], "--state: a job that is PENDING has not ended; expected"),
        (["--state", "CG", "LOG"], "--state: a job that is COMPLETING has not ended; expected"),
        (["--exit-code", "x", "LOG"], "--exit-code: expected C or C:S, as in 1:0, got 'x'"),
        (["--exit-code", "1:", "LOG", "--nodes", "a[1-"], "--nodes: expected a hostlist"),
        ([], "expected a log (FILE, DIRECTORY or - for standard input) or --state"),
        (["--nodes", "a[1-2]"], "expected a log (FILE"),
        (["/no/such.log"], "/no/such.log: No such file or directory"),
    ],
)
def test_wrong_usage_is_reported(call, log, args, message):
    path = log(TRACE)
    code, out, err = call("classify", *(path if arg == "LOG" else arg for arg in args))
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_only_the_jobs_own_nodes_are_to_blame(judged, log):
    path = log("srun: error: Node failure on csx3\n")
    assert judged("--state", "NODE_FAIL", path)["blamed_nodes"] == ["csx3"]
    answer = judged("--state", "NODE_FAIL", "--nodes", "csx[1-2]", path)
    assert (answer["blamed_nodes"], answer["reported"]) == ([], ["csx3"])


def test_all_logs_of_a_directory_are_read(judged, log, tmp_path):
    log("step 1\n", "a.out")
    log(TRACE, "b.log")
    log("MemoryError\n", "notes.txt")
    answer = judged("--exit-code", "1", str(tmp_path))
    assert [item["file"] for item in answer["files"]] == [
        str(tmp_path / "b.log"),
        str(tmp_path / "a.out"),
    ] or [item["file"] for item in answer["files"]] == [
        str(tmp_path / "a.out"),
        str(tmp_path / "b.log"),
    ]
    assert answer["root_cause"]["file"] == str(tmp_path / "b.log")


def test_of_a_run_directory_the_last_attempt_is_judged(judged, tmp_path):
    for attempt, text in (("0", "MemoryError\n"), ("9", "step 1\n"), ("10", TRACE)):
        (tmp_path / "attempts" / attempt).mkdir(parents=True)
        (tmp_path / "attempts" / attempt / "output.log").write_text(text)
    (tmp_path / "run.log").write_text("[main] x\n")
    answer = judged(str(tmp_path))
    assert [item["file"] for item in answer["files"]] == [str(tmp_path / "attempts/10/output.log")]
    assert answer["category"] == "code"


def test_the_context_has_no_colours_and_long_lines_do_not_hide_it(call, log):
    text = "x" * 100_000 + "\n\x1b[31mMemoryError\x1b[0m\nlast\n"
    _, out, _ = call("classify", log(text))
    assert "  > 2 | MemoryError\n    3 | last\n" in out


def test_of_several_files_other_findings_are_shown_with_their_file(call, log):
    _, out, _ = call("classify", log("MemoryError\n", "a.log"), log(TRACE, "b.log"))
    assert "b.log:6" in out.replace("\n             ", "")


def test_a_directory_without_logs_is_an_error(call, tmp_path):
    code, _, err = call("classify", str(tmp_path))
    assert code == 2
    assert "expected a log, or a directory with *.log" in err


def test_a_file_that_cannot_be_read_does_not_hide_the_others(judged, log, tmp_path):
    missing = str(tmp_path / "gone.log")
    answer = judged(missing, log(TRACE))
    assert answer["category"] == "code"
    assert [item["error"] for item in answer["files"]] == ["No such file or directory", None]


def test_standard_input_is_read(judged, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TRACE.encode())))
    answer = judged("-")
    assert answer["root_cause"]["line"] == 5


def test_a_pipe_without_a_writer_does_not_block(call, tmp_path):
    os.mkfifo(tmp_path / "fifo.log")
    code, _, err = call("classify", str(tmp_path / "fifo.log"))
    assert code == 2
    assert "expected a regular file" in err


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 5000, b"\xff\xfe\x1b[31m", b"a" * 300_000, b"\r" * 9]
)
def test_any_bytes_can_be_classified(judged, log, data):
    assert judged(log(data))["category"] == "unknown"
    assert judged("--exit-code", "0", log(data))["category"] == "completed"


def test_given_rules_are_tried_first(judged, log, tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text(
        "rules:\n- id: own.flux\n  category: storage.full\n  role: root\n  pattern: named 'flux'\n"
        "  meaning: x\n  remedy: Fill it up.\n  examples: {positive: [\"named 'flux'\"]}\n"
    )
    answer = judged("--rules", str(own), log(TRACE))
    assert (answer["category"], answer["remedy"]) == ("storage.full", "Fill it up.")


def test_a_bad_rule_of_the_user_is_reported_and_does_not_stop(call, log, tmp_path):
    rules = tmp_path / "config" / "slurm_restart" / "rules.d"
    rules.mkdir(parents=True)
    (rules / "own.yaml").write_text("rules:\n- id: own.flux\n")
    code, out, err = call("classify", "--json", log(TRACE))
    assert code == 0
    assert json.loads(out)["category"] == "code"
    assert f"warning: rule left out: {rules}/own.yaml:2: own.flux: category: missing" in err


def test_classify_needs_no_slurm_and_little_of_the_package(log):
    code = (
        "import sys; from slurm_restart.cli.restart import main; sys.argv[1:] = "
        f"['classify', '--json', {log(TRACE)!r}]\n"
        "try: main()\nexcept SystemExit as done: assert done.code == 0\n"
        "assert 'h5py' not in sys.modules and 'jinja2' not in sys.modules"
    )
    environment = {"PATH": "/nonexistent", "XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"]}
    # -P: the installed package, not the checkout.
    subprocess.run([sys.executable, "-P", "-c", code], env=environment, check=True)


@pytest.mark.parametrize(
    ("args", "category", "restart"),
    [
        (["--state", "OUT_OF_MEMORY", "--exit-code", "0:125"], "oom_host", True),
        (["--state", "CANCELLED"], "cancelled", False),
        (["--exit-code", "0"], "completed", False),
        (["--exit-code", "139"], "software.crash", True),
        (["--state", "FAILED", "--exit-code", "1:0"], "unknown", True),
        (["--state", "NODE_FAIL"], "hardware.node", True),
        (["--state", "PREEMPTED", "--exit-code", "0:15"], "preemption", True),
        (["--state", "TIMEOUT", "--exit-code", "0:15"], "timeout", True),
        (["--state", "DEADLINE"], "deadline", False),
        (["--exit-code", "127"], "config", False),
        (["--state", "FAILED", "--exit-code", "0:7"], "software.crash", True),
    ],
)
def test_facts_answer_without_a_log(judged, call, args, category, restart):
    answer = judged(*args)
    assert (answer["category"], answer["recoverable"], answer["files"]) == (category, restart, [])
    _, out, _ = call("classify", *args)
    assert "root cause   there is no log" in out
    assert ", no log" in out


def test_a_log_without_a_failure_and_no_state_asks_for_the_state(call, judged, log):
    path = log("starting\nstep 1 loss 2.0\n")
    _, out, _ = call("classify", path)
    assert "what to do   no failure found; give --state and --exit-code, or --job" in out
    answer = judged(path)
    assert (answer["state"], answer["exit_code"]) == (None, None)
    assert answer["notes"] == ["no failure found; give --state and --exit-code, or --job"]
    assert judged("--state", "FAILED", path)["notes"] == []


def test_the_likely_state_is_shown_with_its_line(call, judged, log):
    line = (
        "slurmstepd: error: *** JOB 12 ON n1 CANCELLED AT 2026-01-05T10:00:00 DUE TO TIME LIMIT ***"
    )
    path = log(f"step 1 loss 2.0\n{line}\n")
    state = judged(path)["state"]
    assert (state["value"], state["source"]) == ("TIMEOUT", "log")
    assert state["line"] == {"file": path, "line": 2, "text": line, "rule": "slurm.time_limit"}
    _, out, _ = call("classify", path)
    assert "state        probably TIMEOUT, line 2: slurmstepd: error: *** JOB 12" in out
    _, out, _ = call("classify", "--state", "TO", path)
    assert "state        TIMEOUT, as given" in out


def test_a_finished_run_needs_nothing(call, judged, log):
    path = log("step 4000/4000 | loss 1.93\nFinal weights saved to out\n")
    assert judged(path)["recoverable"] is False
    _, out, _ = call("classify", path)
    assert "what to do   nothing" in out
    assert "confidence   likely" in out


def test_a_compressed_log_is_judged_and_shown(call, judged, log):
    path = log(gzip.compress(TRACE.encode()), "job.out")
    _, out, _ = call("classify", path)
    assert "  > 5 | ModuleNotFoundError: No module named 'flux'" in out
    assert "gzip decompressed" in out
    [file] = judged(path)["files"]
    assert (file["compression"], file["lines"]) == ("gzip", 6)


def test_an_archive_is_refused_and_not_judged_as_text(call, log):
    code, out, err = call("classify", log(b"PK\x03\x04" + TRACE.encode(), "logs.zip"))
    assert (code, out) == (2, "")
    assert "a ZIP archive: unpack it first" in err


def test_markdown_has_a_table_and_the_evidence(call, log):
    path = log(TRACE)
    code, out, _ = call("classify", "--format", "md", "--exit-code", "1", path)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "### Why the job ended: code"
    assert "| exit code | 1:0 |" in lines
    assert lines[lines.index("```text") + 4] == "> 5 | ModuleNotFoundError: No module named 'flux'"
    assert lines.count("```") == 2
    _, out, _ = call("classify", "--format", "md", "--state", "TIMEOUT")
    assert "Evidence: there is no log." in out


def test_markdown_of_a_hostile_log_stays_inside_its_block_and_cells(call, log, tmp_path):
    fence = "`" * 7
    evil = f"\x1b[2J{fence} @admin | <img src=x> [a](http://x) \u202e"
    own = tmp_path / "own.yaml"
    own.write_text(
        "rules:\n- id: own.flux\n  category: code\n  role: root\n  pattern: admin\n"
        "  meaning: 'a | b @me <b> `c` http://x.org www.x.org'\n  examples: {positive: ['admin']}\n"
    )
    path = log(f"{evil}\n{fence}\n# heading\n", "a`|b.out")
    _, out, _ = call("classify", "--format", "md", "--rules", str(own), path)
    lines = out.splitlines()
    assert [line for line in lines if set(line) == {"`"}] == ["`" * 8]
    assert "`" * 8 + "text" in lines
    assert "\x1b" not in out
    assert "\u202e" not in out
    rule = next(line for line in lines if line.startswith("| rule"))
    assert r"a \| b &#64;me \<b\> \`c\` http:&#47;&#47;x.org www&#46;x.org" in rule


def test_the_format_option_and_the_flag_give_the_same_json(call, log):
    path = log(TRACE)
    assert call("classify", "--json", path) == call("classify", "--format", "json", path)


@pytest.fixture
def slurm_has(monkeypatch):
    """Let Slurm show this job, or raise this error, and sacct print these ends."""

    def prepare(job, ends=(), nodes=(), tasks=None):
        def show(*_):
            if isinstance(job, Exception):
                raise job
            return job

        def accounted(*_):
            if not ends:
                raise SlurmError("sacct: Slurm accounting storage is disabled")
            return ends[-1]

        monkeypatch.setattr(Commands, "job", show)

        def counted(*_):
            if isinstance(tasks, Exception):
                raise tasks
            return tasks

        monkeypatch.setattr(Commands, "nodes", lambda _: nodes)
        monkeypatch.setattr(Commands, "tasks", counted)
        monkeypatch.setattr(accounting, "accounted_end", accounted)

    return prepare


GONE = JobNotFoundError("job 12: Invalid job id specified")


def test_a_job_that_slurm_has_forgotten_is_looked_up_in_the_accounting(judged, slurm_has, log):
    path = Path(log("step 1 loss 2.0\n"))
    end = accounting.AccountedEnd(
        state=JobState.TIMEOUT, exit_code=0, signal=15, nodes=("n1",), std_out=path
    )
    slurm_has(GONE, [end])
    answer = judged("--job", "12")
    assert (answer["category"], answer["exit_code"]) == ("timeout", "0:15")
    assert answer["state"] == {"value": "TIMEOUT", "source": "accounting", "line": None}
    assert [file["file"] for file in answer["files"]] == [str(path)]
    assert "accounting" in answer["notes"][0]
    slurm_has(GONE, [replace(end, std_out=path.parent / "gone.out")])
    answer = judged("--job", "12")
    assert answer["category"] == "timeout"
    assert answer["files"][0]["error"] == "No such file or directory"


LIKELY_STOP = "TypeError: 'int' object is not callable\n"
FAILED = Job(
    job_id=12, uid=1, state=JobState.FAILED, exit_code=1, nodes=("n1", "n2"), end_time=5000
)


@pytest.mark.parametrize(
    ("node", "category", "blamed"),
    [
        (NodeState(name="n2", state="DOWN"), "hardware.node", ["n2"]),
        (NodeState(name="n2", state="DOWN", reason_time=5300), "hardware.node", ["n2"]),
        (NodeState(name="n2", state="DOWN", reason_time=90_000), "code", []),
        (NodeState(name="n2", state="IDLE"), "code", []),
        (NodeState(name="n9", state="DOWN"), "code", []),
    ],
)
def test_a_node_that_slurm_shows_down_outranks_a_likely_stop(
    judged, slurm_has, log, node, category, blamed
):
    slurm_has(FAILED, nodes=(node,))
    answer = judged("--job", "12", log(LIKELY_STOP))
    assert (answer["category"], answer["blamed_nodes"]) == (category, blamed)


@pytest.mark.parametrize(
    ("state", "seconds", "category"),
    [
        (JobState.FAILED, 3599, "code"),
        (JobState.FAILED, 3600, "unknown"),
        (JobState.FAILED, None, "code"),
        # It may have hung since its start.
        (JobState.TIMEOUT, 7200, "code"),
    ],
)
def test_the_run_time_of_a_job_tells_whether_it_was_starting(
    judged, slurm_has, log, state, seconds, category
):
    slurm_has(replace(FAILED, state=state, run_time=seconds))
    path = log(LIKELY_STOP)
    assert judged("--job", "12", path)["category"] == category
    end = accounting.AccountedEnd(
        state=state, exit_code=1, signal=0, nodes=(), std_out=Path(path), seconds=seconds
    )
    slurm_has(GONE, [end])
    assert judged("--job", "12", path)["category"] == category


LABELLED = """\
0: step 10 | loss 2.1
1: RuntimeError: CUDA error: uncorrectable ECC error encountered
0: torch.distributed.DistBackendError: NCCL error: remote process exited
"""


@pytest.mark.parametrize(
    ("tasks", "blamed"),
    [
        ((2, 0), ["n2"]),
        ((2, 1), ["n2"]),
        # The step had another number of tasks than the job, or nobody knows where they ran.
        ((3, 0), []),
        ((4, 2), []),
        (None, []),
        (SlurmError("squeue: no"), []),
    ],
)
def test_the_node_of_a_labelled_task_is_known_from_slurm(judged, slurm_has, log, tasks, blamed):
    slurm_has(FAILED, tasks=tasks)
    answer = judged("--job", "12", log(LABELLED))
    assert (answer["category"], answer["blamed_nodes"]) == ("hardware.accelerator", blamed)


def test_a_job_that_nobody_knows_is_an_error(call, slurm_has):
    slurm_has(GONE)
    code, out, err = call("classify", "--job", "12")
    assert (code, out) == (5, "")
    assert "Invalid job id specified; sacct: Slurm accounting storage is disabled" in err


def test_a_job_that_runs_is_refused(call, judged, slurm_has, log):
    slurm_has(Job(job_id=12, uid=1, state=JobState.RUNNING))
    code, _, err = call("classify", "--job", "12", log(TRACE))
    assert code == 2
    assert "job 12 is RUNNING: it has not ended" in err
    slurm_has(Job(job_id=12, uid=1, state=JobState.PENDING, restarts=1))
    answer = judged("--job", "12", log(TRACE))
    assert answer["category"] == "code"
    assert answer["notes"] == ["job 12 is PENDING again: Slurm has no state of its last end"]
    slurm_has(Job(job_id=12, uid=1, state=None, flags=frozenset({JobFlag.COMPLETING})))
    assert "is ending" in judged("--job", "12", log(TRACE))["notes"][0]


def test_a_bar_is_shown_on_a_terminal_after_a_while(monkeypatch, capsys):
    times = iter([0.0, 0.5, 1.5])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with scan_progress(100, lambda: next(times)) as on_read:
        on_read(10)
        assert capsys.readouterr().err == ""
        on_read(30)
        on_read(90)
    assert "reading logs" in capsys.readouterr().err
    times = iter([0.0, 0.5, 1.5, 1.6, 1.8])
    with scan_progress(None, lambda: next(times)) as on_read:
        on_read(10)
        assert capsys.readouterr().err == ""
        for _ in range(3):
            on_read(2_000_000)
    assert capsys.readouterr().err == "\rreading logs: 2 MB\rreading logs: 6 MB\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    with scan_progress(100, lambda: next(times)) as on_read:
        on_read(100)
    assert capsys.readouterr().err == ""
