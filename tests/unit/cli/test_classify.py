import io
import json
import os
import subprocess
import sys

import pytest

from slurm_restart.cli import common
from slurm_restart.cli.restart import group

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
        return json.loads(out)

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
    assert answer["files"] == [{"file": path, "lines": 6, "bytes": len(TRACE), "error": None}]


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
        ("RUNNING", "unknown"),
        ("SE", "unknown"),
    ],
)
def test_states_in_the_forms_of_slurms_commands(judged, log, state, category):
    assert judged("--state", state, log("step 1\n"))["category"] == category


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--state", "TIRED", "LOG"], "--state: expected one of BOOT_FAIL, CANCELLED"),
        (["--exit-code", "x", "LOG"], "--exit-code: expected C or C:S, as in 1:0, got 'x'"),
        (["--exit-code", "1:", "LOG", "--nodes", "a[1-"], "--nodes: expected a hostlist"),
        ([], "expected a log: FILE, DIRECTORY or -"),
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
