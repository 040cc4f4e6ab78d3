import re

import pytest

from slurm_restart.trainer.checkpoint_forms import FORMS
from slurm_restart.trainer.run_plan import CheckpointFormat as Form


@pytest.mark.parametrize(
    ("form", "name", "groups"),
    [
        (Form.MDL, "checkpoint_200.mdl", {"step": "200"}),
        (Form.MDL, "checkpoint_200_20261122_072652.mdl", {"stamp": "_20261122_072652"}),
        (Form.TORCH, "step-000100.pt", {"step": "000100"}),
        (Form.TORCH, "100.pth", {"step": "100"}),
        (Form.TORCH, "model_epoch_3_step_100.ckpt", {"step": "100"}),
        (Form.TORCH, "pytorch_model-00001-of-00005.bin", None),
        (Form.TORCH, "best.pt", None),
        (Form.SAFETENSORS, "model-100.safetensors", {"step": "100"}),
        (Form.SAFETENSORS, "model-00001-of-00005.safetensors", None),
        (Form.HF, "checkpoint-500", {"step": "500"}),
        (Form.HF, "checkpoint-500-old", None),
        (Form.LIGHTNING, "epoch=3-step=100.ckpt", {"epoch": "3", "step": "100", "stamp": None}),
        (Form.LIGHTNING, "epoch=3-step=100-v2.ckpt", {"step": "100", "stamp": "2"}),
        (Form.LIGHTNING, "mnist-epoch=03-val_loss=0.32-step=100.ckpt", {"step": "100"}),
        (Form.LIGHTNING, "step=100.ckpt", {"step": "100", "epoch": None}),
        (Form.LIGHTNING, "last.ckpt", None),
        (Form.DCP, "step-100", {"step": "100"}),
        (Form.DCP, "100", {"step": "100"}),
        (Form.DEEPSPEED, "global_step100", {"step": "100"}),
        (Form.DEEPSPEED, "latest", None),
        (Form.ORBAX, "100", {"step": "100"}),
        (Form.ORBAX, "checkpoint_100", {"step": "100"}),
        (Form.ORBAX, "100.orbax-checkpoint-tmp-1700000000", None),
        (Form.KERAS, "model.05-0.32.keras", {"step": "05"}),
        (Form.KERAS, "ckpt-100.keras", {"step": "100"}),
        (Form.KERAS, "v2-step100.weights.h5", {"step": "100"}),
        (Form.HDF5, "state_100.h5", {"step": "100"}),
        (Form.NPZ, "ckpt-100.npz", {"step": "100"}),
    ],
)
def test_default_names(form, name, groups):
    match = re.fullmatch(FORMS[form].pattern, name)
    if groups is None:
        assert match is None
    else:
        assert match is not None
        assert match.groupdict() | groups == match.groupdict()


def test_every_format_has_a_row_and_the_shown_names_are_default_names():
    assert {*FORMS} == {*Form} - {Form.NONE}
    for form, row in FORMS.items():
        assert bool(row.pattern) is bool(row.written) is (form not in (Form.AUTO, Form.ANY)), form
