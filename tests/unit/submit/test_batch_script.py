import pytest

from slurm_restart.errors import ConfigError, UsageError
from slurm_restart.submit.batch_script import (
    find_script,
    is_script,
    parse_script,
    read_script,
    split_words,
    wrapped_script,
)

JOB = b"""\
#!/bin/bash -l
# A comment; #SBATCH --not-an-option
#SBATCH -N2 --time=1:00 # two nodes
  #SBATCH --nodes=9
#sbatch --nodes=9

#SBATCH--hold
#CSX --max-restarts=5
#CSX_HOME=/opt is a comment
#CSX
\t
set -e
#SBATCH --nodes=9
#CSX --max-restarts=9
"""


def words(directives):
    return [(directive.line, directive.words) for directive in directives]


def test_lines_count_as_sbatch_counts_them():
    script = parse_script(JOB, "dir/job.sh")
    assert script.interpreter == ("/bin/bash", "-l")
    assert (script.path, script.name, script.data) == ("dir/job.sh", "job.sh", JOB)
    assert words(script.sbatch) == [(3, ("-N2", "--time=1:00")), (7, ("--hold",))]
    assert words(script.restart) == [(8, ("--max-restarts=5",)), (10, ())]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" -N 2\t--hold  ", ["-N", "2", "--hold"]),
        (" --comment='a  b' --x=\"it's\"", ["--comment=a  b", "--x=it's"]),
        (r" --comment=a\ b \"c\# d", ["--comment=a b", '"c#', "d"]),
        # A backslash counts in single quotes too, unlike in a shell.
        (r" '--x=it\'s'", ["--x=it's"]),
        (" --comment=a#b --hold", ["--comment=a"]),
        (" '#' #", ["#"]),
        (" --comment=''", ["--comment="]),
        (" # nothing", []),
        (" --x=\xa0y", ["--x=\xa0y"]),
        (" --x=y\\", ["--x=y"]),
    ],
)
def test_words_are_split_as_sbatch_splits_them(text, expected):
    assert list(split_words(text)) == expected


def test_an_open_quote_is_a_problem_with_its_line():
    with pytest.raises(ConfigError) as caught:
        parse_script(b"#!/bin/sh\n#SBATCH --comment='a\n#CSX --rules=\"b\n", "j")
    assert list(caught.value.problems) == [
        "j:2: #SBATCH: expected the quote ' to be closed",
        'j:3: #CSX: expected the quote " to be closed',
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected a first line with #! and the path of an interpreter"),
        (b"echo\n", "expected a first line with #!"),
        (b"#!\nx\n", "expected a first line with #!"),
        (b"#!/bin/sh\n\0", "expected a script without NUL"),
        (b"#!/bin/sh\r\n", "DOS line breaks"),
    ],
)
def test_what_sbatch_would_refuse_is_refused(data, message):
    with pytest.raises(UsageError, match=message):
        parse_script(data, "j")


def test_the_rest_of_the_first_line_is_one_argument():
    script = parse_script(b"#! /usr/bin/env  -S bash -e \necho", "j")
    assert script.interpreter == ("/usr/bin/env", "-S bash -e")


def test_lines_of_other_batch_systems_are_noticed():
    assert parse_script(b"#!/bin/sh\n\n#PBS -l nodes=2\n", "j").foreign == "j:3: #PBS"
    assert parse_script(b"#!/bin/sh\n#BSUB -n 2\n", "j").foreign == "j:2: #BSUB"
    assert parse_script(b"#!/bin/sh\n#PBS was here\ntrue\n#PBS -l x", "j").foreign is None


def test_wrap_is_a_script_for_sh():
    script = wrapped_script("echo 'a b'; exit 3")
    assert script.interpreter == ("/bin/sh",)
    assert script.name == "wrap"
    assert script.data.endswith(b"\n\necho 'a b'; exit 3\n")


def test_a_script_is_looked_for_here_and_then_in_path(tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        (folder / "both.sh").write_text("#!/bin/sh\n")
    (there / "only.sh").write_text("#!/bin/sh\n")
    (there / "program").write_bytes(b"\x7fELF")
    monkeypatch.chdir(here)
    environ = {"PATH": f"/nonexistent::{there}"}
    assert str(find_script("both.sh", environ)) == "both.sh"
    assert find_script("only.sh", environ) == there / "only.sh"
    assert str(find_script("./only.sh", environ)) == "only.sh"
    assert str(find_script("program", environ)) == "program"


def test_only_a_regular_file_with_a_shebang_is_a_script(tmp_path):
    path = tmp_path / "job.sh"
    path.write_bytes(b"#!")
    assert is_script(path)
    for other in (tmp_path, tmp_path / "gone"):
        assert not is_script(other)
    path.write_bytes(b"#")
    assert not is_script(path)
    with pytest.raises(
        UsageError, match="cannot be read: expected a regular file, got a directory"
    ):
        read_script(tmp_path)
