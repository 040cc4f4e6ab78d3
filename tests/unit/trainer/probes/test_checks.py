import os
import subprocess
import sys

import pytest

from slurm_restart.trainer.checkpoint_forms import FORMS
from slurm_restart.trainer.checkpoint_probe import Soundness
from slurm_restart.trainer.probes import checks
from slurm_restart.trainer.probes.detect_form import detect_form
from slurm_restart.trainer.run_plan import CheckpointFormat
from tests.unit.trainer.probes.made_checkpoints import (
    check,
    deepspeed,
    hdf5,
    hf,
    is_complete,
    keras,
    npz,
    orbax,
    safetensors,
    torch_zip,
)

FORM = CheckpointFormat
LIBRARIES = "torch", "safetensors", "transformers", "jax", "orbax", "keras", "tensorflow"


def made(path, name):
    makers = {
        ".pt": torch_zip,
        ".ckpt": torch_zip,
        ".safetensors": safetensors,
        ".npz": npz,
        ".h5": hdf5,
        ".mdl": hdf5,
        ".keras": keras,
        "checkpoint-40": hf,
        "global_step40": deepspeed,
        "40": orbax,
    }
    target = path / name
    return makers.get(target.suffix or name, makers.get(name))(target)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.pt", FORM.TORCH),
        ("a.ckpt", FORM.TORCH),
        ("a.safetensors", FORM.SAFETENSORS),
        ("a.npz", FORM.NPZ),
        ("a.h5", FORM.HDF5),
        ("a.mdl", FORM.MDL),
        ("a.keras", FORM.KERAS),
        ("checkpoint-40", FORM.HF),
        ("global_step40", FORM.DEEPSPEED),
        ("40", FORM.ORBAX),
    ],
)
def test_the_form_is_found(tmp_path, name, form):
    assert detect_form(str(made(tmp_path, name))) is form


@pytest.mark.parametrize(
    ("name", "inside", "form"),
    [
        ("step-1", "__0_0.distcp", FORM.DCP),
        ("step-1", ".metadata", FORM.DCP),
        ("checkpoint-1", "model.safetensors", FORM.HF),
        ("step-1", "model.safetensors", None),
        ("step-1", "zero_pp_rank_0_mp_rank_00_optim_states.pt", FORM.DEEPSPEED),
        ("1", "default.orbax-checkpoint-tmp-3", FORM.ORBAX),
        ("checkpoint-1", "weights.dat", None),
    ],
)
def test_the_form_of_a_directory_is_found_while_it_is_written(tmp_path, name, inside, form):
    (tmp_path / name).mkdir()
    (tmp_path / name / inside).write_text("x")
    assert detect_form(str(tmp_path / name)) is form


@pytest.mark.parametrize("name", ["a.pt", "a.bin", "a.ckpt", "a.h5", "a.mdl", "a.dat", "a"])
def test_a_form_of_ones_own_under_a_known_ending_is_complete(tmp_path, name):
    (tmp_path / name).write_bytes(b"my own form")
    assert is_complete(tmp_path / name, FORM.AUTO)


@pytest.mark.parametrize("name", ["a.pt", "a.h5", "a.npz", "a.safetensors", "a.keras"])
@pytest.mark.parametrize("content", [b"", bytes(5000)])
def test_an_empty_file_and_one_of_zeros_is_broken(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert not is_complete(tmp_path / name, FORM.AUTO)
    for form in (FORM.TORCH, FORM.NPZ, FORM.HDF5, FORM.MDL, FORM.SAFETENSORS, FORM.KERAS):
        assert not is_complete(tmp_path / name, form), form


@pytest.mark.parametrize("form", [form for form in FORMS if form.is_opened])
def test_what_cannot_be_read_is_unreadable(tmp_path, form):
    os.mkfifo(tmp_path / "pipe")
    for name in ("absent", "pipe"):
        assert check(tmp_path / name, form).soundness is Soundness.UNREADABLE


def test_an_error_that_no_check_expects_is_no_proof_of_damage(tmp_path, monkeypatch):
    def fail(_path):
        raise ZeroDivisionError("unexpected")

    monkeypatch.setattr(checks, "check_nothing", fail)
    (tmp_path / "a").write_text("x")
    result = check(tmp_path / "a", FORM.ANY)
    assert result.soundness is Soundness.UNREADABLE
    assert result.reason == "the check failed: ZeroDivisionError: unexpected"


def test_no_library_of_a_trainer_is_imported(tmp_path):
    for library in LIBRARIES:
        (tmp_path / f"{library}.py").write_text("raise SystemExit('imported')\n")
    paths = [str(torch_zip(tmp_path / "a.pt")), str(safetensors(tmp_path / "b.safetensors"))]
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    code += "from slurm_restart.trainer.checkpoint_probe import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "auto", *paths], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.count('"complete"')) == (0, 2), done
