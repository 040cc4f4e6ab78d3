import pytest

from slurm_restart.logs.names import MAX_NAMES, split_names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("csx3", ("csx3",)),
        ("csx3,csx5", ("csx3", "csx5")),
        ("csx[1-3,7]", ("csx1", "csx2", "csx3", "csx7")),
        ("r1-[08-10],r2", ("r1-08", "r1-09", "r1-10", "r2")),
        ("r[1-2]n[3-4]", ("r1n3", "r1n4", "r2n3", "r2n4")),
        ("csx[1-", ()),
        ("csx[a-b]", ()),
        ("csx[1--2]", ()),
        ("", ()),
    ],
)
def test_names_of_a_line(text: str, names: tuple[str, ...]) -> None:
    assert split_names(text) == names


def test_a_list_without_end_names_nobody() -> None:
    assert split_names("csx[0-999999999],n[0-999999999]") == ()
    assert split_names(f"csx[0-{MAX_NAMES}]") == ()
