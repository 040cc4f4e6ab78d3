import os
import time

import pytest

from slurm_restart.errors import ConfigError
from slurm_restart.trainer.yaml_lines import parse, read

TEXT = """\
# a comment
base: &base
  steps: 10
  time: 1:00:00
trainer:
  - trainer:
      init:
        <<: *base
        extra: on
  - 3
0: zero
"""


def problems(text):
    with pytest.raises(ConfigError) as caught:
        parse(text, "t.yaml")
    assert caught.value.exit_code == 3
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ((), 2),
        (("base",), 2),
        (("base", "steps"), 3),
        (("trainer",), 5),
        (("trainer", 0), 6),
        (("trainer", 0, "trainer", "init", "extra"), 9),
        (("trainer", 0, "trainer", "init", "steps"), 3),
        (("trainer", 0, "trainer", "init", "missing", "deep"), 7),
        (("trainer", 1), 10),
        (("trainer", 7), 5),
        (("base", "steps", "deep"), 3),
    ],
)
def test_every_key_has_its_line(keys, line):
    assert parse(TEXT, "t.yaml").line(*keys) == line


def test_merge_keys_and_aliases_work():
    document = parse(TEXT, "t.yaml")
    init = document.data["trainer"][0]["trainer"]["init"]
    assert init == {"steps": 10, "time": 3600, "extra": True}
    own = parse("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\n", "t.yaml")
    assert own.data["b"] == {"x": 3, "y": 2}
    assert own.raw("b") == {"x": "3", "y": "2"}


def test_raw_keeps_numbers_and_times_as_text():
    document = parse("a: {t: 1:00:00, n: 010, d: 2024-01-02, f: no, z: ~, l: [1e3, '']}", "t")
    assert document.raw("a") == {
        "t": "1:00:00",
        "n": "010",
        "d": "2024-01-02",
        "f": False,
        "z": None,
        "l": ["1e3", ""],
    }
    assert document.raw("b") is None


def test_all_duplicates_are_reported_with_both_lines():
    assert problems("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n0x1: 2\n1: 2\n") == [
        "t.yaml:4: b.c: expected each key once, got it in line 3 too",
        "t.yaml:5: a: expected each key once, got it in line 1 too",
        "t.yaml:7: 1: expected each key once, got it in line 6 too",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: !!python/object/apply:os.system [ls]", "t.yaml:1: a: expected plain YAML, got the"),
        ("x: 1\na: [b, !foo 1]", "t.yaml:2: a[1]: expected plain YAML, got the tag !foo"),
        ("a: !!int foo", "t.yaml:1: a: expected a whole number, got 'foo'"),
        ("a: 2024-13-45", "t.yaml:1: a: expected a date, got '2024-13-45'"),
        (f"a: {'9' * 6000}", "t.yaml:1: a: expected a whole number, got '999"),
        ("? [a]\n: b", "t.yaml:1: expected text as a key, got a list"),
        ("c:\n  {x: 1}: 2", "t.yaml:2: c: expected text as a key, got a mapping"),
        ("a: 1\n---\nb: 2", "t.yaml:2: expected one document, got a second one"),
        ("- a", "t.yaml:1: expected a mapping with the key trainer, got a list"),
        ("just text", "t.yaml:1: expected a mapping with the key trainer, got text"),
        ("# nothing\n", "t.yaml:1: expected a mapping with the key trainer, got an empty file"),
        ("", "t.yaml:1: expected a mapping with the key trainer, got an empty file"),
        ("a: b\nc: \x01", "t.yaml:2: not YAML: "),
        ("a: 1\nb:\n  <<: 3", "t.yaml:3: not YAML: "),
        ("a:\n\t- b", "t.yaml:2: not YAML: "),
        ("a: *b", "t.yaml:1: not YAML: "),
        ("a: &a [*a]", "t.yaml:1: *a: expected another anchor, got that of an enclosing node"),
        ("a: &a {<<: *a}", "t.yaml:1: *a: expected another anchor, got that of an enclosing node"),
    ],
)
def test_an_invalid_config_is_refused_with_its_line(text, problem):
    assert problems(text)[0].startswith(problem)


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(9)
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        BOMB.replace("[x,x,x,x,x,x,x,x,x,x]", "{x: 1}").replace("[*", "{<<: [*").replace("]", "]}"),
        "[" * 500_000,
        "a: " + "{a: " * 200_000,
        "a: [" + "1, " * 300_000 + "]",
        "a0: &a0 [1]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}]\n" for i in range(3000)),
    ],
)
def test_yaml_that_expands_without_limit_is_refused_quickly(text):
    begin = time.process_time()
    assert len(problems(text)) == 1
    assert time.process_time() - begin < 10


def test_a_file_is_read_with_its_name(tmp_path):
    path = tmp_path / "ü b.yaml"
    path.write_text("﻿a: ü\n")
    assert read(path).data == {"a": "ü"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a: 1\nb: \xff\xfe", "2: expected text in UTF-8, got the byte 0xff"),
        (b"\x7fELF\x02\x01\x00\x00", "1: not YAML: "),
        ("a: 1".encode("utf-16"), "1: expected text in UTF-8, got the byte 0xff"),
    ],
)
def test_a_binary_file_is_refused(tmp_path, content, problem):
    path = tmp_path / "t.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert caught.value.problems[0].startswith(f"{path}:{problem}")


def test_a_file_of_50_mb_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "t.yaml"
    with path.open("wb") as stream:
        stream.truncate(50_000_000)
    begin = time.process_time()
    with pytest.raises(ConfigError, match="expected at most 1048576 bytes, got 50000000 bytes"):
        read(path)
    assert time.process_time() - begin < 1


def test_a_path_that_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, problem in [
        ("", "expected a YAML file, got a directory"),
        ("pipe", "expected a YAML file, got no regular file"),
        ("none", "expected a YAML file: No such file or directory"),
        ("nul\0", "embedded null "),
    ]:
        with pytest.raises(ConfigError) as caught:
            read(tmp_path / name)
        assert problem in caught.value.problems[0]


@pytest.mark.parametrize("text", ["!!int : 1", "!!foo a: 1", "2024-13-45: 1", "a: {!!int x: 1}"])
def test_keys_are_checked_like_values(text):
    assert problems(text)[0].startswith("t.yaml:1: ")
