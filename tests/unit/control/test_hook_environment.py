"""The hook's environment is read strictly: what Slurm always sets has to be there and whole."""

import pytest

from slurm_restart.control.hook_environment import HookEnvironment, parse_end, read_environment
from slurm_restart.errors import CsxError

ENV = {
    "SLURM_CLUSTER_NAME": "c",
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_UID": "1000",
    "SLURM_JOB_COMMENT": "anything; at = all",
    "SLURM_JOB_EXIT_CODE2": "5:9",
    "SLURM_JOB_RESTART_COUNT": "2",
    "SLURM_JOB_NODELIST": "csx[1-3]",
}


def test_the_values() -> None:
    assert read_environment(ENV) == HookEnvironment(
        cluster="c",
        job_id=7,
        uid=1000,
        comment="anything; at = all",
        exit_code=5,
        signal=9,
        restarts=2,
        nodelist="csx[1-3]",
    )


@pytest.mark.parametrize("name", ["SLURM_CLUSTER_NAME", "SLURM_JOB_COMMENT", "SLURM_JOB_NODELIST"])
def test_texts_may_be_absent(name: str) -> None:
    env = {key: value for key, value in ENV.items() if key != name}
    assert "" in vars(read_environment(env)).values()


@pytest.mark.parametrize("name", ["SLURM_JOB_ID", "SLURM_JOB_UID", "SLURM_JOB_RESTART_COUNT"])
@pytest.mark.parametrize(
    "value",
    [None, "", " 7", "7 ", "7\n", "7x", "7; reboot", "-7", "+7", "0x7", "7.0", "\u0667", "1" * 13],
)
def test_a_number_is_ascii_digits_alone(name: str, value: str | None) -> None:
    env = {key: text for key, text in (ENV | {name: value}).items() if text is not None}
    with pytest.raises(CsxError, match=f"{name}: expected a number"):
        read_environment(env)


@pytest.mark.parametrize("value", [None, "", "5", "5:", ":9", "5:9:1", "x:9", "5:x", "-1:0"])
def test_an_exit_code_is_code_and_signal(value: str | None) -> None:
    env = {k: v for k, v in (ENV | {"SLURM_JOB_EXIT_CODE2": value}).items() if v is not None}
    with pytest.raises(CsxError, match="SLURM_JOB_EXIT_CODE2: expected CODE:SIGNAL"):
        read_environment(env)


# --- the file that csx-epilog writes -------------------------------------------------------------

LINES = (
    "SLURM_CLUSTER_NAME=c",
    "SLURM_JOB_ID=7",
    "SLURM_JOB_UID=1000",
    "SLURM_JOB_EXIT_CODE2=5:9",
    "SLURM_JOB_RESTART_COUNT=2",
    "SLURM_JOB_NODELIST=csx[1-3]",
    "SLURM_ARRAY_TASK_ID=",
    "SLURM_JOB_COMMENT=anything; at = all",
)


def file_of(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def test_the_file_gives_the_same_values() -> None:
    assert parse_end(file_of(*LINES)) == read_environment(ENV)


def test_a_file_of_an_earlier_release_names_no_task() -> None:
    before = [line for line in LINES if not line.startswith("SLURM_ARRAY_TASK_ID")]
    assert parse_end(file_of(*before)) == read_environment(ENV)


def test_a_task_of_an_array() -> None:
    text = file_of(*LINES).replace("TASK_ID=", "TASK_ID=0")
    assert parse_end(text).array_task_id == 0
    with pytest.raises(CsxError, match="SLURM_ARRAY_TASK_ID: expected a number"):
        parse_end(text.replace("TASK_ID=0", "TASK_ID=-1"))


@pytest.mark.parametrize("comment", ["", "\n", "a\n\nb\n", "x\nSLURM_JOB_ID=8", "\u2028 \x0b \r"])
def test_all_lines_of_the_comment_are_its_text(comment: str) -> None:
    env = parse_end(file_of(*LINES[:-1], f"SLURM_JOB_COMMENT={comment}"))
    assert (env.comment, env.job_id) == (comment, 7)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n" * 7,
        file_of(*LINES[:-1]),
        file_of(*LINES)[:-1],
        file_of(*LINES[1:], LINES[0]),
        file_of("SLURM_CLUSTER_NAME=c\nd", *LINES[1:]),
        file_of(*LINES[:3], *LINES[4:]),
        file_of(*LINES).replace("=", ""),
    ],
)
def test_a_file_that_is_not_whole_is_refused(text: str) -> None:
    with pytest.raises(CsxError, match="expected lines of SLURM_CLUSTER_NAME, "):
        parse_end(text)


def test_a_value_of_the_file_is_read_strictly() -> None:
    with pytest.raises(CsxError, match="SLURM_JOB_UID: expected a number, got '0x3e8'"):
        parse_end(file_of(*LINES).replace("1000", "0x3e8"))


def test_an_error_shows_the_start_of_the_value() -> None:
    with pytest.raises(CsxError) as caught:
        read_environment(ENV | {"SLURM_JOB_ID": "y" * 1000})
    assert "'" + "y" * 40 + "'" in str(caught.value)
