"""What Slurm's error messages mean; the texts are from 22.05 and 25.11."""

import pytest

from slurm_restart.errors import (
    JobNotFoundError,
    JobNotPendingError,
    SlurmError,
    SlurmUnavailableError,
)
from slurm_restart.slurm.error_messages import (
    error_for,
    ignored_a_value,
    is_transient,
    missing_configuration,
)
from slurm_restart.slurm.process import Completed


@pytest.mark.parametrize(
    ("stderr", "kind", "transient"),
    [
        ("slurm_load_jobs error: Invalid job id specified", JobNotFoundError, False),
        ("Invalid job id specified for job 9", JobNotFoundError, False),
        (
            "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
            SlurmUnavailableError,
            False,
        ),
        ("slurm_load_node error: Connection refused", SlurmUnavailableError, True),
        ("Connection reset by peer for job 7", SlurmUnavailableError, True),
        ("Socket timed out on send/recv operation", SlurmUnavailableError, False),
        (
            "Job update not available right now, the DB index is being set, try again in a bit",
            SlurmError,
            True,
        ),
        ("Job is no longer pending execution for job 7", JobNotPendingError, False),
        ("Access/permission denied for job 7", SlurmError, False),
        ("", SlurmError, False),
    ],
)
def test_meaning(stderr: str, kind: type[SlurmError], *, transient: bool) -> None:
    done = Completed(1, "", stderr)
    error = error_for(done, "update job 7")
    assert type(error) is kind
    assert str(error).startswith("update job 7: ")
    assert error.stderr == stderr
    assert is_transient(done) is transient


def test_the_whole_answer_is_told() -> None:
    error = error_for(Completed(1, "", "one\n  two\n"), "hold job 7")
    assert str(error) == "hold job 7: one; two"
    assert str(error_for(Completed(3, "", ""), "hold job 7")) == "hold job 7: exit code 3"


def test_a_command_that_was_killed_has_got_no_answer() -> None:
    error = error_for(Completed(-9, "", ""), "update job 7")
    assert type(error) is SlurmUnavailableError
    assert str(error) == "update job 7: killed by signal 9 before an answer"
    told = error_for(Completed(-15, "", "Job is no longer pending execution"), "update job 7")
    assert type(told) is JobNotPendingError


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        (
            "squeue: error: s_p_parse_file: cannot stat file /x/slurm.conf: No such file, retrying",
            "there is no /x/slurm.conf",
        ),
        ("error: s_p_parse_file: unable to status file /y: No such file", "there is no /y,"),
        (
            "squeue: error: fetch_config: DNS SRV lookup failed\nsqueue: fatal: Could not",
            "find no slurm.conf on this host: set SLURM_CONF",
        ),
    ],
)
def test_a_missing_configuration_is_told_in_words(stderr: str, said: str) -> None:
    assert said in (missing_configuration(stderr) or "")
    assert said in str(error_for(Completed(1, "", stderr), "jobs"))
    assert missing_configuration("squeue: error: Invalid user: x") is None


def test_what_succeeded_is_not_repeated() -> None:
    assert not is_transient(Completed(0, "", "Connection reset by peer"))


@pytest.mark.parametrize(
    ("stderr", "ignored"),
    [
        ('scontrol: error: Invalid numeric value "x" for requested node count.', True),
        ('scontrol: error: "x" is not a valid node count', True),
        ("scontrol: error: Ignoring obsolete FastSchedule=1 option", False),
        ("", False),
    ],
)
def test_ignored_values(stderr: str, *, ignored: bool) -> None:
    assert ignored_a_value(Completed(0, "", stderr)) is ignored
