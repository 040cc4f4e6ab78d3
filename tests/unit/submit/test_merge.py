import pytest

from slurm_restart.core.job_comment import CommentRecord, parse_comment
from slurm_restart.submit.argv import OptionTable, layered, parse
from slurm_restart.submit.merge import JobFacts, sbatch_arguments
from slurm_restart.submit.option import OptionHandling
from slurm_restart.submit.option_rows import SBATCH
from slurm_restart.submit.stop_signal import warning_signal

TABLE = OptionTable()
DIGEST = CommentRecord(run="0" * 16, max_restarts=3, num_nodes=4, min_nodes=2)
OWN = ["--nodes=4", "--exclusive", "--open-mode=append", "--signal=B:USR1@120"]
MANAGED = ["--requeue", "--comment=csx-restart/1 run=0000000000000000;max=3;num=4;min=2"]
NAME = "--job-name=trainer"


def merged(*arguments, **facts):
    defaults = {"nodes": 4, "can_shrink": True, "comment_record": DIGEST, "name": "trainer"}
    options = layered([parse(arguments, TABLE).options])
    return sbatch_arguments(options, JobFacts(**(defaults | facts)))


def refusal(*arguments, **facts):
    problems = merged(*arguments, **facts)[1]
    assert len(problems) == 1, problems
    return problems[0]


def test_what_every_job_asks_for():
    assert merged() == ((*OWN, NAME, *MANAGED), [])
    assert merged(comment_record=None) == ((*OWN, NAME), [])
    assert merged(first=False) == ((*OWN, NAME, *MANAGED), [])
    assert merged(first=False, after="7")[0][-1] == "--dependency=afterok:7"


def test_options_are_passed_as_they_are():
    arguments, problems = merged("-p", "a b", "-vv", "--nice", "-J", "$(x)", "--exclude=csx1")
    assert problems == []
    assert arguments[:6] == (
        "--partition=a b",
        "--verbose",
        "--verbose",
        "--nice",
        "--job-name=$(x)",
        "--exclude=csx1",
    )
    assert NAME not in arguments


@pytest.mark.parametrize(
    "option",
    [row for row in SBATCH if row.handling is OptionHandling.REFUSED],
    ids=lambda row: row.name,
)
def test_a_refusal_has_a_reason_and_an_alternative(option):
    value = [] if option.argument.name == "NONE" else ["1"]
    problem = refusal(f"--{option.name}", *value)
    assert problem == f"--{option.name}: refused: {option.note}"
    assert len(option.note) > 20


@pytest.mark.parametrize(
    "option",
    [row for row in SBATCH if row.handling is OptionHandling.PASSED_IF_FIXED_SIZE],
    ids=lambda row: row.name,
)
def test_what_cannot_shrink_is_for_runs_of_one_size(option):
    given = f"--{option.name}" + ("" if option.argument.name == "NONE" else "=2")
    assert refusal(given) == f"--{option.name}: refused: {option.note}"
    arguments, problems = merged(given, can_shrink=False)
    assert problems == []
    assert arguments[0] == given


@pytest.mark.parametrize(
    ("arguments", "lead", "argument"),
    [
        ([], 120, "--signal=B:USR1@120"),
        (["--signal=B:USR1@300"], 300, "--signal=B:USR1@300"),
        (["--signal=usr1@300"], 300, "--signal=B:USR1@300"),
        (["--signal=B:SIGUSR1"], 60, "--signal=B:USR1@60"),
        (["--signal=RB:10@5"], 5, "--signal=RB:USR1@5"),
    ],
)
def test_the_signal_is_the_supervisors_and_its_time_the_persons(arguments, lead, argument):
    result, problems = merged(*arguments)
    assert problems == []
    assert [text for text in result if text.startswith("--signal")] == [argument]
    assert warning_signal(layered([parse(arguments, TABLE).options])).lead == lead


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("--signal=USR2@60", "--signal: refused: B:USR1@120 warns"),
        ("--signal=R:USR1@60", "--signal: refused: B:USR1@120 warns"),
        ("--signal=B:USR1@", "--signal: expected B:USR1@SECONDS, got 'B:USR1@'"),
        ("--signal=B:USR1@0", "--signal: expected B:USR1@SECONDS, got 'B:USR1@0'"),
        ("--signal=B:USR1@70000", "--signal: expected B:USR1@SECONDS, got 'B:USR1@70000'"),
        (f"--comment={'ü' * 201}", "--comment: expected at most 400 bytes, got 402"),
        ("--comment=a\nb", "--comment: expected text without control characters and newlines"),
        ("--comment=csx-restart/1 run=1", "--comment: expected a comment of your own, got one"),
        ('--comment={"csx-restart/1":1}', "--comment: expected a comment of your own, got one"),
        ("--nodes=3", "--nodes: expected 4, got 3: the number of nodes follows from num_csx"),
        ("--nodes=2-4", "--nodes: expected one number of nodes, got '2-4'"),
        ("--nodes=x", "--nodes: expected one number of nodes, got 'x'"),
        ("--constraint=[a*2&b*2]", "--constraint: refused with node counts (`*N`)"),
        ("--exclusive=user", "--exclusive: expected no value, got 'user'"),
        ("--no-kill", "--no-kill: refused unless =off"),
        ("--open-mode=truncate", "--open-mode: expected append, got 'truncate'"),
        ("--requeue=expedite", "--requeue: expected no value, got 'expedite'"),
        ("--no-requeue", "--no-requeue: refused where the config has autorestart"),
        ("--partition=a\0b", "--partition: expected text without NUL characters"),
    ],
)
def test_what_contradicts_is_refused(argument, problem):
    assert refusal(argument).startswith(problem)


@pytest.mark.parametrize(
    ("given", "argument"),
    [
        ("--signal=B:USR2@300", "--signal=B:USR1@300"),
        ("--signal=TERM@90", "--signal=B:USR1@90"),
        ("--signal=R:INT", "--signal=RB:USR1@60"),
    ],
)
def test_a_script_may_expect_another_signal(given, argument):
    arguments, problems = merged(given, script=True)
    assert problems == []
    assert argument in arguments


def test_a_script_may_expect_no_signal_that_cannot_be_passed_on():
    expected = "--signal: expected one of the signals TERM, INT, USR1, USR2, HUP, got 'KILL@60'"
    assert refusal("--signal=KILL@60", script=True) == expected


@pytest.mark.parametrize(
    "argument",
    ["--nodes=4", "--nodes=4-4", "--exclusive", "--no-kill=off", "--open-mode=a", "--requeue"],
)
def test_an_option_that_is_set_anyway_adds_nothing(argument):
    assert merged(argument) == ((*OWN, NAME, *MANAGED), [])


def test_the_comment_follows_the_record():
    text = "ü" * 200
    (comment,) = [a for a in merged(f"--comment={text}")[0] if a.startswith("--comment=")]
    assert comment == f"{MANAGED[1]} {text}"
    assert parse_comment(comment.removeprefix("--comment=")) == DIGEST
    assert merged("--comment=mine", comment_record=None)[0][0] == "--comment=mine"


def test_a_comment_that_is_a_json_object_takes_the_record_in():
    (comment,) = [a for a in merged('--comment={"x": 1}')[0] if a.startswith("--comment=")]
    record = MANAGED[1].removeprefix("--comment=csx-restart/1 ")
    assert comment == f'--comment={{"csx-restart/1":"{record}","x": 1}}'


def test_an_unmanaged_job_requeues_as_it_likes():
    assert merged("--no-requeue", comment_record=None)[0][0] == "--no-requeue"
    assert merged("--requeue", comment_record=None)[0][0] == "--requeue"


def test_a_run_that_is_restarted_in_place_only_is_not_requeued():
    expected = (*OWN, NAME, "--no-requeue", MANAGED[1])
    assert merged(requeues=False) == merged("--no-requeue", requeues=False) == (expected, [])
    problem = "--requeue: refused with --recovery=in-place: give --recovery=auto for both"
    assert refusal("--requeue", requeues=False) == problem


def test_a_job_that_is_to_outlive_a_node_is_submitted_so_and_with_its_spares():
    plain, _ = merged()
    kept, problems = merged(spares=2, keeps_allocation=True)
    assert problems == []
    nodes = next(text for text in plain if text.startswith("--nodes="))
    more = f"--nodes={int(nodes.partition('=')[2]) + 2}"
    assert set(kept) == {*plain, "--no-kill", more} - {nodes}
    assert "--no-kill" not in merged("--no-kill=off", spares=2, keeps_allocation=True)[0]
    assert "--no-kill" not in plain


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("value", ["yes", "no"])
def test_slurm_cancels_after_an_invalid_dependency_only_where_asked_to(first, value):
    # Without the option the site's kill_invalid_depend holds, and else the controller cancels.
    later = {"first": first, "after": None if first else "7"}
    assert not [text for text in merged(**later)[0] if "invalid-dep" in text]
    arguments, problems = merged(f"--kill-on-invalid-dep={value}", **later)
    given = [text for text in arguments if "invalid-dep" in text]
    assert (given, problems) == ([f"--kill-on-invalid-dep={value}"], [])


@pytest.mark.parametrize("script", [True, False])
def test_quiet_is_not_passed_as_sbatch_then_prints_no_job_id(script):
    assert merged("-Q", script=script) == merged(script=script)


@pytest.mark.parametrize("argument", ["--dependency=afterok:1", "--hold"])
def test_some_options_are_for_the_first_phase_only(argument):
    assert argument in merged(argument)[0]
    later, problems = merged(argument, first=False, after="7")
    assert problems == []
    assert argument not in later
    assert "--dependency=afterok:7" in later


def test_counted_constraints_are_for_runs_of_one_size():
    assert merged("-C[a*2&b*2]", can_shrink=False)[0][0] == "--constraint=[a*2&b*2]"
    assert merged("-Ca&b")[0][0] == "--constraint=a&b"


def test_every_merged_option_has_its_function():
    for option in SBATCH:
        if option.handling is OptionHandling.MERGED:
            value = "" if option.argument.name == "NONE" else "=x"
            merged(f"--{option.name}{value}")
