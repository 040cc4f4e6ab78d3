import pytest

from slurm_restart.errors import UsageError
from slurm_restart.submit.argv import OptionTable, from_environment, from_settings, layered, parse
from slurm_restart.trainer.settings import OptionSetting

TABLE = OptionTable(["container-image=", "container-mounts"])


def given(*arguments):
    line = parse(arguments, TABLE)
    return [(given.option.name, given.value) for given in line.options]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--partition=gpu"], [("partition", "gpu")]),
        (["--partition", "gpu"], [("partition", "gpu")]),
        (["-p", "gpu"], [("partition", "gpu")]),
        (["-pgpu"], [("partition", "gpu")]),
        (["-p", "-x"], [("partition", "-x")]),
        (["--part=gpu"], [("partition", "gpu")]),
        (["--comment="], [("comment", "")]),
        (["--comment", ""], [("comment", "")]),
        (["--nice"], [("nice", None)]),
        (["--nice=5"], [("nice", "5")]),
        (["-koff"], [("no-kill", "off")]),
        (["-k"], [("no-kill", None)]),
        (["-vQp", "gpu"], [("verbose", None), ("quiet", None), ("partition", "gpu")]),
        (["-vN4"], [("verbose", None), ("nodes", "4")]),
        # An exact name wins over those that it begins.
        (["--mem=1"], [("mem", "1")]),
        (["--mode", "fit", "--dry", "--num-csx=2"], [("mode", "fit"), ("dry-run", None),
                                                     ("num-csx", "2")]),
        (["--container-image=x", "--container-mounts"], [("container-image", "x"),
                                                         ("container-mounts", None)]),
    ],
)  # fmt: skip
def test_options_are_read_as_sbatch_reads_them(arguments, expected):
    assert given(*arguments) == expected


def test_options_stand_on_both_sides_and_the_trainers_behind_two_dashes():
    line = parse(["-p", "a", "t.yaml", "--hold", "--", "--x", "-N", "--"], TABLE)
    assert [given.option.name for given in line.options] == ["partition", "hold"]
    assert line.operands == ["t.yaml"]
    assert line.arguments == ("--x", "-N", "--")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--partiton=x"], "--partiton: sbatch has no such option; did you mean --partition?"),
        (
            ["--zzzzz"],
            "--zzzzz: sbatch has no such option; (options of a batch script go behind it",
        ),
        (["-z"], "-z: sbatch has no such option"),
        (["--ntasks-per-=1"], "--ntasks-per-: expected one option, got the beginning of several:"),
        (["--=x"], "sbatch has no such option"),
        (["--partition"], "--partition: expected an argument, got nothing"),
        (["-N"], "-N (--nodes): expected an argument, got nothing"),
        (["--hold=yes"], "--hold: expected no argument, got 'yes'"),
        (["t.yaml", ":", "u.yaml"], "`:` separates the parts of a heterogeneous job"),
    ],
)
def test_what_sbatch_would_not_take_is_refused(arguments, message):
    with pytest.raises(UsageError) as caught:
        parse(arguments, TABLE)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"SBATCH_PARTITION": "gpu", "PATH": "x"}, [("partition", "gpu", "SBATCH_PARTITION")]),
        ({"SBATCH_WAIT": ""}, [("wait", None, "SBATCH_WAIT")]),
        ({"SBATCH_WAIT": "yes"}, [("wait", None, "SBATCH_WAIT")]),
        ({"SBATCH_WAIT": "1"}, [("wait", None, "SBATCH_WAIT")]),
        ({"SBATCH_WAIT": "0"}, []),
        ({"SBATCH_DEBUG": "no"}, []),
        ({"SBATCH_EXCLUSIVE": "user"}, [("exclusive", "user", "SBATCH_EXCLUSIVE")]),
        ({"SBATCH_EXCLUSIVE": ""}, [("exclusive", None, "SBATCH_EXCLUSIVE")]),
        ({"SBATCH_REQUEUE": "1"}, [("requeue", None, "SBATCH_REQUEUE")]),
        ({"SBATCH_REQUEUE": "expedite"}, [("requeue", "expedite", "SBATCH_REQUEUE")]),
        ({"SBATCH_ARRAY_INX": "1-3"}, [("array", "1-3", "SBATCH_ARRAY_INX")]),
        ({"SLURM_CLUSTERS": "a"}, [("clusters", "a", "SLURM_CLUSTERS")]),
        ({"SLURM_NTASKS": "4", "SBATCH_REQ_SWITCH": "1"}, []),
    ],
)
def test_variables_stand_for_options(environ, expected):
    options = from_environment(environ, TABLE)
    assert [(given.option.name, given.value, given.origin) for given in options] == expected


def test_settings_give_options():
    options, problems = from_settings(
        {
            "partition": OptionSetting(value="gpu", origin="f:1: p"),
            "hold": OptionSetting(value=True, origin="f:2: h"),
            "nice": OptionSetting(value=True, origin="f:3: n"),
        },
        TABLE,
    )
    assert problems == []
    assert [given.argument for given in options] == ["--partition=gpu", "--hold", "--nice"]
    assert from_settings(
        {
            "partiton": OptionSetting(value="gpu", origin="f:1: a"),
            "zzz": OptionSetting(value="gpu", origin="f:2: b"),
            "hold": OptionSetting(value="maybe", origin="f:3: c"),
            "partition": OptionSetting(value=True, origin="f:4: d"),
        },
        TABLE,
    ) == (
        [],
        [
            "f:1: a: expected --partition, got 'partiton'",
            "f:2: b: expected an option of sbatch by its long name, got 'zzz'",
            "f:3: c: expected true or false, got 'maybe'",
            "f:4: d: expected a value, got true",
        ],
    )


def arguments(*layers):
    options = layered([parse(layer, TABLE).options for layer in layers])
    return [given.argument for given in options.values()]


def test_the_later_layer_wins():
    assert arguments(["-pa", "-t1"], ["-pb"]) == ["--time=1", "--partition=b"]
    assert arguments(["--mem=1"], ["--mem-per-cpu=2"]) == ["--mem-per-cpu=2"]
    assert arguments(["--requeue"], ["--no-requeue"]) == ["--no-requeue"]
    # Within one layer sbatch has the word.
    assert arguments(["--mem=1", "--mem-per-cpu=2"]) == ["--mem=1", "--mem-per-cpu=2"]
    options = layered([parse(["-v"], TABLE).options, parse(["-vv"], TABLE).options])
    assert options["verbose"].count == 3
