import pytest

from slurm_restart.submit.argv import OptionTable, layered, parse
from slurm_restart.submit.stop_signal import WarningSignal, parse_signal, stop_request
from slurm_restart.trainer.run_plan import StopReceiver

GROUP, SCRIPT, STEPS = StopReceiver.GROUP, StopReceiver.SCRIPT, StopReceiver.STEPS


@pytest.mark.parametrize(
    ("text", "signal"),
    [
        ("B:USR1@300", WarningSignal(name="USR1", lead=300, receiver=SCRIPT)),
        ("sigusr2@90", WarningSignal(name="USR2", lead=90, receiver=STEPS)),
        ("15", WarningSignal(name="TERM", lead=60, receiver=STEPS)),
        ("BR:2@1", WarningSignal(name="INT", lead=1, overlap=True, receiver=SCRIPT)),
        ("KILL@65535", WarningSignal(name="KILL", lead=65535, receiver=STEPS)),
        ("USR1@0", None),
        ("USR1@65536", None),
        ("X:USR1", None),
        ("", None),
    ],
)
def test_the_forms_of_sbatch(text, signal):
    assert parse_signal(text) == signal


@pytest.mark.parametrize(
    ("arguments", "setting", "script", "request_"),
    [
        ([], None, True, ("TERM", GROUP)),
        (["--signal=B:USR1@300"], None, True, ("USR1", SCRIPT)),
        (["--signal=USR2@300"], None, True, ("USR2", STEPS)),
        # Who sets it says how the program is to be told, whatever the script asks of Slurm.
        (["--signal=B:USR1@300"], "INT", True, ("INT", GROUP)),
        # With a config, USR1 is the signal to the supervisor.
        (["--signal=B:USR1@300"], None, False, ("TERM", GROUP)),
        ([], "USR1", False, ("USR1", GROUP)),
    ],
)
def test_which_signal_the_program_gets(arguments, setting, script, request_):
    options = layered([parse(arguments, OptionTable()).options])
    assert stop_request(options, setting, script=script) == request_
