"""What a run that is taken up again keeps, and how it is submitted."""

import os
import pwd
from pathlib import Path

import pytest

from slurm_restart.cli.resume_plan import Kept, new_record, require_owner, sbatch_arguments
from slurm_restart.errors import UsageError
from tests.unit.core import facts


class Plan:
    """What is read of a plan."""

    comment_record = facts.comment_record(attempt=None, ended=False)


def test_settings_that_people_have_changed_and_the_counters_are_kept():
    former = facts.comment_record(max_restarts=9, exclude_for=60, stop=3, step=40)
    record = new_record(Plan(), former, Kept(failures=2, total=7, cleared=5))
    assert (record.max_restarts, record.exclude_for) == (9, 60)
    assert (record.prior_failures, record.prior_total, record.cleared) == (2, 7, 5)
    # The request to stop, and what the former attempt reported, belong to the former job.
    assert (record.stop, record.step) == (None, Plan.comment_record.step)
    assert new_record(Plan(), None, Kept()) == Plan.comment_record


def test_the_options_of_the_first_submission_that_still_make_sense():
    given = ["--partition=a", "--exclude=csx9", "--begin=now+1", "--hold", "--comment=old"]
    words = sbatch_arguments(given, "new", excluded=["csx2", "csx1"], after="12")
    assert words == [
        "--partition=a",
        "--comment=new",
        "--exclude=csx9,csx1,csx2",
        "--dependency=afterok:12",
    ]
    assert sbatch_arguments(["--nodes=2"], "new", excluded=[], after=None) == [
        "--nodes=2",
        "--comment=new",
    ]


def test_only_the_owner_may_take_a_run_up(tmp_path):
    if os.geteuid() == 0:
        os.chown(tmp_path, pwd.getpwnam("games").pw_uid, -1)
        with pytest.raises(UsageError, match="expected its owner games, got root"):
            require_owner(tmp_path)
    else:
        require_owner(tmp_path)
        with pytest.raises(UsageError, match="expected its owner root"):
            require_owner(Path("/"))
