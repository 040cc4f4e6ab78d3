"""Where no rule knows the program, the words of its last message tell the kind of the failure."""

import pytest

from slurm_restart.core.attribute_log import ExitFacts
from slurm_restart.core.category import Category
from slurm_restart.core.inferred_state import attribute_with_inferred_state
from slurm_restart.logs.rule_test import explain_line
from slurm_restart.logs.rules import load_rules
from slurm_restart.logs.scanner import LogScanner

from .judge_text import MATCHER, judge_text

RULES = load_rules(site=None)
PROGRESS = "".join(f"step {number} | loss 2.{number}\n" for number in range(1, 400))
EXIT = "srun: error: n3: task 7: Exited with exit code 1\n"

DEMANDS = [
    "The parallel version of KITE must be used with 2 or more processors!",
    "Halo3D: the decomposition requires at least 4 tasks, cannot be used with 2",
    "FATAL ERROR: resident mode is not supported in this build",
    "Section BOUNDARY LINES is unknown",
    "abort: unknown keyword SOLVVER in the run file",
    "no basis set was specified for element Xx, aborting",
    "*** Error: number of layers does not match the table of soils",
    "setup failed: the grid is inconsistent with the mask",
    "error: unknown method 'rk5', known are rk2 and rk4",
    "The mesh reader cannot find boundary 'inlett'",
    "the order of the spline is too large for 12 points",
    "run.py: the tokenizer has 50257 entries, but the model expects 32000",
    "Illegal value for the roughness length",
    "error: expected a '=' between key and value, found ':'",
    "restraints: mismatch between the list and the topology",
]


OF_NO_OTHER_RULE = [
    line
    for line in DEMANDS
    if explain_line(line, RULES).rule.id.startswith("kind.")  # type: ignore[union-attr]
]


@pytest.mark.parametrize("line", DEMANDS)
def test_a_program_that_demands_another_input_at_its_start_is_stopped(line: str) -> None:
    judged = judge_text(f"reading input\n{line}\n{EXIT}")
    assert judged.category in {Category.CONFIG, Category.CODE}
    assert judged.root_cause is not None
    assert judged.root_cause.text == line


@pytest.mark.parametrize("line", DEMANDS)
def test_after_progress_it_is_restarted(line: str) -> None:
    assert judge_text(f"{PROGRESS}{line}\n{EXIT}").recoverable


@pytest.mark.parametrize("line", OF_NO_OTHER_RULE)
@pytest.mark.parametrize("exit_code", ["139:0", "0:11", "137:0", "0:9", "0:15"])
def test_no_message_explains_a_signal(line: str, exit_code: str) -> None:
    assert judge_text(f"reading input\n{line}\n", exit_code).recoverable


@pytest.mark.parametrize("line", OF_NO_OTHER_RULE)
def test_no_message_far_before_the_end_stops_a_run(line: str) -> None:
    rest = "".join(f"cell {number} of the grid\n" for number in range(80))
    assert judge_text(f"reading input\n{line}\n{rest}{EXIT}").recoverable


@pytest.mark.parametrize(
    "front",
    ["slurmstepd: error: ", "kernel: ", "n3:9:9 [0] NCCL WARN ", "UCX  ERROR "],
)
@pytest.mark.parametrize("line", DEMANDS[:4])
def test_a_speaker_that_cannot_know_never_stops_a_run(front: str, line: str) -> None:
    assert judge_text(f"starting\n{front}{line}\n").recoverable


@pytest.mark.parametrize(
    "line",
    [
        "ERROR: the device must be reset",
        "abort: the connection must be opened by rank 0 first",
        "WARNING: unknown option tol, ignored, error bounds unchanged",
        "[2026-01-02 10:00:00] [WARNING] invalid value for tol: must be one of 1, 2",
        "Warning: unrecognized arguments: --tol",
        "cannot open the restart file rst.0007",
        "failed: some output files are missing",
        "ERROR: IO layer: bad return value",
        "the barrier must be reached by all ranks, aborting",
        "unable to load the plugin, using default instead",
        "error: the heartbeat of block 7 is missing",
        "fatal: server version is not supported by host n3",
        "the quota of the project is too small, failed",
        "aborting: node n7 has an unknown state",
        "RTNETLINK answers: Invalid argument",
        "mesh(): invalid chunk size",
        "unable to open mca_x: libx.so: cannot open shared object file: No such file (ignored)",
        "error: the profiler is not a valid library, ignoring it",
    ],
)
def test_what_may_lie_outside_the_input_is_restarted(line: str) -> None:
    assert judge_text(f"starting\n{line}\n{EXIT}").recoverable


@pytest.mark.parametrize(
    ("line", "category"),
    [
        ("halo exchange: the connection to block 7 was lost, aborting", Category.NETWORK_FABRIC),
        ("ERROR: message to rank 12 failed", Category.NETWORK_FABRIC),
        ("fft_plan: failed to allocate 12 arrays of 800000 words", Category.OOM_HOST),
        ("abort: insufficient memory for the transform", Category.OOM_HOST),
        ("inner loop failed to converge in block 7", Category.NUMERIC_NAN),
        ("aborting: the matrix of the overlap is numerically singular", Category.NUMERIC_NAN),
        ("error: negative density in cell 12", Category.NUMERIC_NAN),
        ("block 12: checksum mismatch", Category.DATA_CORRUPT),
        ("error: reads.7 ends early, truncated", Category.DATA_CORRUPT),
        ("snapshot 12: unable to write the header of block 7", Category.STORAGE_IO),
        ("ERROR: write failed for out/field.7", Category.STORAGE_IO),
        ("  #000: layers/out.c line 29 in put(): can't write data", Category.STORAGE_IO),
    ],
)
def test_words_tell_the_kind_of_what_a_restart_may_mend(line: str, category: Category) -> None:
    judged = judge_text(f"starting\n{line}\n{EXIT}")
    assert judged.category is category
    assert judged.recoverable


def test_words_tell_the_kind_of_an_exception_that_no_rule_knows() -> None:
    trace = 'Traceback (most recent call last):\n  File "a.py", line 3, in <module>\n'
    judged = judge_text(f"{trace}RuntimeError: inner loop failed to converge in block 7\n")
    assert judged.category is Category.NUMERIC_NAN


@pytest.mark.parametrize(
    "title",
    [
        "PROC 0 ERROR in /src/input_file.cpp, line 12:",
        "[ERROR] [2025.11.26 16:13:03 /src/grid.cpp:134 @ Grid::init()] :",
        "The set-up of the mesh has failed with this error:",
        "[ERROR] Program stopped due to fatal error",
        "the simulation was aborted after an exception",
    ],
)
def test_the_line_under_a_title_is_the_reason(title: str) -> None:
    judged = judge_text(f"starting\n{title}\nSection BOUNDARY LINES is unknown\n{EXIT}")
    assert judged.category is Category.CONFIG
    assert judged.root_cause is not None
    assert judged.root_cause.text == "Section BOUNDARY LINES is unknown"


def test_a_known_cause_under_a_title_is_judged_by_its_own_rule() -> None:
    judged = judge_text("Job 7 failed with an error like this:\nMemoryError\n")
    assert judged.category is Category.OOM_HOST


def test_a_title_of_a_simulation_gives_way_to_words_of_trouble_outside() -> None:
    judged = judge_text("Fatal error:\nsnapshot 12: unable to write block 7\n")
    assert judged.category is Category.STORAGE_IO


@pytest.mark.parametrize("abort", ["Program received signal SIGABRT: Process abort signal.", EXIT])
def test_what_a_cpp_program_throws_at_its_start_stops_it(abort: str) -> None:
    text = f"terminate called after throwing\n  what():  unknown option --solvr\n{abort}\n"
    assert judge_text(text, "134:0").category is Category.CONFIG
    assert judge_text(PROGRESS + text, "134:0").category is Category.SOFTWARE_CRASH


def test_what_is_told_before_an_abort_is_shown_as_its_cause() -> None:
    said = "overlap: the inner loop failed to converge"
    judged = judge_text(f"{said}\nProgram received signal SIGABRT: Process abort\n", "134:0")
    assert judged.category is Category.SOFTWARE_CRASH
    assert judged.root_cause is not None
    assert judged.root_cause.text == said


@pytest.mark.parametrize(
    "said", ["no convergence: error in block 7", "no species was given, error"]
)
@pytest.mark.parametrize("exit_code", ["1:0", "134:0"])
def test_an_abort_of_unknown_cause_is_explained_by_the_message_near_it(
    said: str, exit_code: str
) -> None:
    text = f"terminate called after throwing an instance of 'Stop'\n  what():  told\n{said}\n"
    judged = judge_text(text, exit_code)
    assert judged.root_cause is not None
    before = judge_text(f"{said}\nsrun: error: n3: task 0: Aborted\n", exit_code)
    assert before.root_cause is not None
    assert before.root_cause.text == said


def test_the_lower_lines_of_a_complaint_tell_the_mistake() -> None:
    text = """\
[rank1]: torch.distributed.DistBackendError: NCCL error in: x.cpp:12, internal error
[rank1]: ncclInternalError: Internal check failed.
[rank1]: Last error:
[rank1]: Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 7000
"""
    judged = judge_text(text)
    assert judged.category is Category.CONFIG
    assert judged.root_cause is not None
    assert "Duplicate GPU" in judged.root_cause.text


def test_a_rank_that_aborts_after_its_own_complaint_did_not_crash() -> None:
    complaint = " 12: libfabric:9:1:cxi:core:f():9<warn> RXC: Software endpoint mode required."
    text = f"{complaint}\n 12: Program received signal SIGABRT: Process abort signal.\n"
    judged = judge_text(text, "134:0")
    assert judged.category is Category.NETWORK_FABRIC
    assert judged.root_cause is not None
    assert judged.root_cause.text == complaint.strip()


@pytest.mark.parametrize("pad", ["", " ", "   "])
def test_numbers_of_tasks_that_are_set_flush_right_are_labels(pad: str) -> None:
    text = f"""\
{pad}7: Traceback (most recent call last):
{pad}7:   File "a.py", line 3, in <module>
{pad}7: KeyError: 'tokens'
"""
    judged = judge_text(text)
    assert judged.category is Category.CODE
    assert judged.root_cause is not None
    assert "KeyError" in judged.root_cause.text


MODULE = """\
Lmod has detected the following error: Cannot load module "mesh" without these modules loaded:
  atlas, lapack
While processing the following module(s):

Module fullname  Module Filename
"""


def test_a_module_that_cannot_be_loaded_is_the_cause_if_the_log_ends_there() -> None:
    assert judge_text(MODULE).category is Category.CONFIG
    assert judge_text(f"{MODULE}{EXIT}").recoverable
    assert judge_text(MODULE + "cell 7 of the grid\n" * 20).recoverable


def test_a_warning_of_a_try_is_no_root_beside_the_exception_at_the_end() -> None:
    end = "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='h'): refused"
    text = f"""\
[10:00:00 WARNING] ReadTimeoutError("HTTPSConnectionPool(host='h')") while requesting GET /a
Traceback (most recent call last):
  File "a.py", line 3, in <module>
{end}
"""
    judged = judge_text(text)
    assert judged.category is Category.DEPENDENCY_SERVICE
    assert judged.root_cause is not None
    assert judged.root_cause.text == end


@pytest.mark.parametrize(
    ("path", "restarts"),
    [
        ("/var/spool/slurmd/job12/slurm_script", True),
        ("/var/spool/slurmd/job12/stage_two.sh", False),
        ("/var/spool/slurm/d/scripts/inner.py", False),
    ],
)
def test_a_script_beside_the_batch_script_is_the_users(path: str, restarts: bool) -> None:
    text = f"slurmstepd: error: execve(): {path}: No such file or directory\n"
    assert judge_text(text, "2:0").recoverable is restarts


@pytest.mark.parametrize(
    "line",
    [
        "jaxlib.xla_extension.XlaRuntimeError: OUT_OF_RANGE: slice 7 of 4",
        "jax.errors.JaxRuntimeError: INVALID_ARGUMENT: the two meshes differ",
        "XlaRuntimeError: NOT_FOUND: no profile for this chip",
        "RuntimeError: the assembler requires cutool version 11.8 or higher",
    ],
)
def test_status_codes_and_versions_tell_mistakes(line: str) -> None:
    assert not judge_text(f"starting\n{line}\n").recoverable
    assert judge_text(f"{PROGRESS}{line}\n").recoverable


def test_an_event_of_memory_outweighs_the_cancellation_after_it() -> None:
    scanner = LogScanner(MATCHER)
    scanner.feed(
        b"slurmstepd: error: *** JOB 12 ON n3 CANCELLED AT 2026-01-02T10:00:00 ***\n"
        b"slurmstepd: error: Detected 1 oom-kill event(s) in StepId=12.batch. Some\n"
    )
    judged, _ = attribute_with_inferred_state(ExitFacts(), scanner.findings())
    assert judged.category is Category.OOM_HOST


def test_the_rule_over_words_is_told_for_one_line() -> None:
    told = explain_line("Section BOUNDARY LINES is unknown", RULES)
    assert told.rule is not None
    assert told.rule.id == "kind.refused"
    outside = explain_line("failed: the heartbeat must be seen", RULES)
    assert outside.rule is not None
    assert outside.rule.id == "message.failure"
