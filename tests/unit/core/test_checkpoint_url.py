"""URLs in the place of directories of checkpoints."""

import pytest

from slurm_restart.core.checkpoint_url import MAX_LENGTH, is_name, is_url, split_scheme, url_problem


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("s3://b", ("s3://", "b")),
        ("abfss://box@account.dfs/x", ("abfss://", "box@account.dfs/x")),
        ("/data/x", ("", "/data/x")),
        ("ckpt/s3://x", ("", "ckpt/s3://x")),
        ("s3:/b", ("", "s3:/b")),
        ("3://b", ("", "3://b")),
    ],
)
def test_a_scheme_makes_a_url(path: str, expected: tuple[str, str]) -> None:
    assert split_scheme(path) == expected
    assert is_url(path) is (expected[0] != "")


@pytest.mark.parametrize(
    "url",
    ["s3://b", "s3://b/", "gs://b/run/", "hdfs://host:8020/x", "hdfs:///user/me", "az://a@b/c=1"],
)
def test_urls_that_can_be_used(url: str) -> None:
    assert url_problem(url) is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://", "a bucket or host behind s3://"),
        ("s3:///run", "a bucket or host behind s3://"),
        ("hdfs://", "a bucket or host behind hdfs://"),
        ("file:///data/x", "a path on a file system without file://"),
        ("FILE://x/y", "a path on a file system without file://"),
        ("s3://b/../x", "a URL without"),
        ("s3://b/./x", "a URL without"),
        ("s3://b//x", "a URL without"),
        ("s3://b/a b", "a URL without"),
        ("s3://b/a\x1bb", "a URL without"),
        ("s3://b/x?versionId=3", "a URL without"),
        ("s3://b/" + "x" * MAX_LENGTH, "a URL of at most 512 characters"),
    ],
)
def test_urls_that_cannot(url: str, expected: str) -> None:
    assert (url_problem(url) or "").startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("step-1.pt", True),
        ("epoch=3-step=100/model.pt", True),
        ("früh-1", True),
        ("", False),
        ("a/../b", False),
        ("/a", False),
        ("a//b", False),
        ("a\x07", False),
        ("a\u202eb", False),
        ("a\ufffdb", False),
        ("a'b", False),
        ("x" * (MAX_LENGTH + 1), False),
    ],
)
def test_names_are_printable_and_stay_below(text: str, expected: bool) -> None:
    assert is_name(text) is expected
