"""Whether an srun kills all tasks of its step once one has failed."""

import pytest

from slurm_restart.supervise.srun_options import kills_on_bad_exit


@pytest.mark.parametrize(
    ("command", "variable", "kills"),
    [
        ("srun -N2 python train.py", None, None),
        ("srun -N2 python train.py", "", None),
        ("srun -N2 python train.py", "0", False),
        ("srun -N2 python train.py", "1", True),
        ("srun -N2 -K python train.py", "0", True),
        ("srun -K1 python train.py", None, True),
        ("srun -K0 python train.py", "1", False),
        ("srun --kill-on-bad-exit python train.py", None, True),
        ("srun --kill-on-bad-exit=1 python train.py", None, True),
        ("srun --kill-on-bad-exit=0 python train.py", None, False),
        ("srun python train.py --Kill -Kx", None, None),
    ],
)
def test_the_option_precedes_the_variable(
    command: str, variable: str | None, kills: bool | None
) -> None:
    environment = {} if variable is None else {"SLURM_KILL_BAD_EXIT": variable}
    assert kills_on_bad_exit(command, environment) is kills
