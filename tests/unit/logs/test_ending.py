from io import BytesIO
from typing import Any

import pytest

from slurm_restart.core.attribute_log import ExitFacts
from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.inferred_state import STATE_RULES, attribute_with_inferred_state
from slurm_restart.core.job import JobFlag, JobState
from slurm_restart.logs.log_files import scan_stream
from slurm_restart.logs.rules import read_rules
from slurm_restart.logs.scanner import make_matcher

RULES = read_rules(site=None).rules
MATCHER = make_matcher(RULES)
STEPS = "".join(f"step {n}/4000 | loss 2.{n}\n" for n in range(3900, 4000))
LAST = "step 4000/4000 | loss 1.93\n"
NAN = "found NaN gradient, skipping step 3\n"
SLURM = "slurmstepd: error: *** JOB 12 ON n1 CANCELLED AT 2026-01-05T10:00:00"
TRACE = 'Traceback (most recent call last):\n  File "t.py", line 3, in <module>\n'


def judged(text: str, *others: str, **facts: Any) -> tuple[Any, Any]:
    findings = [
        finding
        for number, part in enumerate((text, *others))
        for finding in scan_stream(BytesIO(part.encode()), MATCHER, name=f"{number}").findings
    ]
    attribution, inferred = attribute_with_inferred_state(ExitFacts(**facts), findings)
    return attribution, inferred.state if inferred else None


FINISHED = {
    "steps": STEPS
    + LAST
    + "saving final model to out/final\n"
    + "UCX  WARN  object 0x1233 was not returned to mpool ucp_requests\n",
    "huggingface": STEPS + "{'train_runtime': 812.4, 'train_loss': 1.2, 'epoch': 3.0}\n",
    "lightning": "Epoch 2: 100%|##| 10/10 [00:01<00:00,  9.1it/s]\n"
    "`Trainer.fit` stopped: `max_epochs=3` reached.\n"
    "Epoch 2: 100%|##| 10/10 [00:01<00:00,  9.1it/s]\n",
    "megatron": " iteration     1000/    1000 | lm loss: 6.3E+00 |\n"
    "[after training is done] datetime: 2026-01-05 10:00:00\n"
    " validation loss at iteration 1000 on test set | lm loss value: 6.1E+00\n",
    "espresso": "     PWSCF        :     12.31s CPU     13.02s WALL\n\n   JOB DONE.\n=---------=\n",
    "gaussian": " Normal termination of Gaussian 16 at Mon Jan  5 10:00:00 2026.\n",
    "gromacs": "Performance:      217.764        0.110\nFinished mdrun on rank 0 Mon Jan  5 2026\n",
    "lammps": "Dangerous builds = 0\nTotal wall time: 0:10:20\n",
    "openfoam": "ExecutionTime = 91.2 s  ClockTime = 92 s\n\nEnd\n\nFinalising parallel run\n",
    "survived": NAN + STEPS + LAST + "Training completed successfully!\n",
}


@pytest.mark.parametrize("text", FINISHED.values(), ids=FINISHED)
def test_a_finished_run_is_recognised_by_its_last_lines(text: str) -> None:
    attribution, state = judged(text)
    assert (attribution.category, state) == (Category.COMPLETED, JobState.COMPLETED)
    assert attribution.confidence is Confidence.LIKELY


NOT_FINISHED = {
    "error after it": LAST + TRACE + "OSError: [Errno 5] Input/output error: 'out/final'\n",
    "exit status after it": LAST + "srun: error: n3: task 7: Exited with exit code 1\n",
    "death before it": STEPS + "[n3:1] *** Process received signal ***\n"
    "[n3:1] Signal: Segmentation fault (11)\n" + LAST,
    "long before the end": "Training completed\n" + STEPS,
    "of an earlier phase": "Training completed\nstep 1/500 | loss 2.0\nstep 2/500 | loss 1.9\n",
    "not the last step": STEPS,
    "an epoch's last step": "Epoch [1/5], Step [100/100], Loss: 0.2\n",
    "stopped by time": "[exiting program after 120 minutes] datetime: 2026-01-05 10:00:00\n",
    "LAMMPS after an error": "ERROR: Lost atoms: original 64 current 21\nTotal wall time: 0:01\n"
    "srun: error: n3: task 0: Exited with exit code 1\n",
    "cancelled": STEPS + SLURM + " DUE TO TIME LIMIT ***\n",
}


@pytest.mark.parametrize("text", NOT_FINISHED.values(), ids=NOT_FINISHED)
def test_a_run_that_failed_or_goes_on_has_not_finished(text: str) -> None:
    attribution, state = judged(text)
    assert attribution.category is not Category.COMPLETED
    assert state is not JobState.COMPLETED


def test_an_exit_status_stands_above_the_programs_own_words() -> None:
    assert judged(LAST, exit_code=1)[0].category is Category.UNKNOWN
    assert judged(LAST, state=JobState.FAILED, exit_code=1)[0].category is Category.UNKNOWN
    assert judged("step 1\n", exit_code=0)[0].confidence is Confidence.CERTAIN


@pytest.mark.parametrize(
    ("line", "state", "category"),
    [
        (SLURM + " DUE TO TIME LIMIT ***", JobState.TIMEOUT, "timeout"),
        (SLURM + " DUE TO PREEMPTION ***", JobState.PREEMPTED, "preemption"),
        (SLURM + " DUE TO JOB REQUEUE ***", JobFlag.REQUEUED, "preemption"),
        (
            SLURM + " DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS ***",
            JobState.NODE_FAIL,
            "hardware.node",
        ),
        (SLURM + " ***", JobState.CANCELLED, "cancelled"),
        (
            "slurmstepd: error: Detected 1 oom_kill event in StepId=12.batch.",
            JobState.OUT_OF_MEMORY,
            "oom_host",
        ),
        ("srun: error: n3: task 7: Exited with exit code 1", JobState.FAILED, "unknown"),
        ("nothing to see", None, "unknown"),
    ],
)
def test_the_state_that_slurms_own_lines_show(
    line: str, state: JobState | JobFlag | None, category: str
) -> None:
    attribution, inferred = judged(STEPS + line + "\n")
    assert (attribution.category.value, inferred) == (category, state)
    assert attribution.rule != "state.timeout"


def test_a_cause_before_the_imposed_end_stays_the_cause() -> None:
    text = STEPS + TRACE + "ModuleNotFoundError: No module named 'flux'\n"
    assert judged(text + SLURM + " DUE TO TIME LIMIT ***\n")[0].category is Category.CODE


def test_the_end_of_an_earlier_attempt_in_the_log_is_not_the_end() -> None:
    assert judged(SLURM + " DUE TO PREEMPTION ***\n" + STEPS + LAST)[1] is JobState.COMPLETED


def test_every_rule_that_shows_a_state_exists() -> None:
    assert set(STATE_RULES) <= {rule.id for rule in RULES}


def test_one_rank_that_fails_contradicts_the_others() -> None:
    assert judged(LAST, LAST)[1] is JobState.COMPLETED
    assert judged(LAST, "step 3999/4000\n")[1] is JobState.COMPLETED
    assert judged(LAST, TRACE + "NameError: name 'x' is not defined\n")[1] is JobState.FAILED


def test_of_several_files_the_one_without_complaints_about_others_has_the_cause() -> None:
    complaint = "torch.distributed.DistBackendError: NCCL error: remote process exited\n"
    failed = STEPS + TRACE + "ModuleNotFoundError: No module named 'flux'\n"
    for files in ((complaint, failed), (failed, complaint)):
        assert judged(*files)[0].category is Category.CODE
