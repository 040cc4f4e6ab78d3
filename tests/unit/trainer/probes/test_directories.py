"""Checkpoints that are directories: Hugging Face, DCP, DeepSpeed, Orbax."""

import json
import pickle

import pytest

from slurm_restart.trainer.checkpoint_probe import Soundness
from slurm_restart.trainer.run_plan import CheckpointFormat
from tests.unit.trainer.probes.made_checkpoints import (
    assert_each_cut_is_found,
    check,
    deepspeed,
    hf,
    is_complete,
    orbax,
    safetensors,
    torch_zip,
)

HF, DCP = CheckpointFormat.HF, CheckpointFormat.DCP
DEEPSPEED, ORBAX = CheckpointFormat.DEEPSPEED, CheckpointFormat.ORBAX


@pytest.mark.parametrize("form", [HF, DCP, DEEPSPEED, ORBAX, CheckpointFormat.AUTO])
def test_an_empty_directory_is_broken_and_an_absent_one_unreadable(tmp_path, form):
    (tmp_path / "checkpoint-40").mkdir()
    assert check(tmp_path / "checkpoint-40", form).soundness is Soundness.BROKEN
    assert check(tmp_path / "checkpoint-50", form).soundness is Soundness.UNREADABLE


# --- Hugging Face --------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", ["model.safetensors", "adapter_model.safetensors"])
def test_hf_is_complete_and_knows_its_step(tmp_path, weights):
    assert check(hf(tmp_path / "checkpoint-40", weights=weights), HF).step == 40


@pytest.mark.parametrize(
    "name", ["trainer_state.json", "model.safetensors", "optimizer.pt", "rng_state.pth"]
)
def test_hf_each_cut_of_a_file_is_found(tmp_path, name):
    folder = hf(tmp_path / "checkpoint-40")
    assert_each_cut_is_found(folder / name, HF, checked=folder)


@pytest.mark.parametrize("name", ["trainer_state.json", "model.safetensors"])
def test_hf_a_file_that_is_missing_is_found(tmp_path, name):
    folder = hf(tmp_path / "checkpoint-40")
    (folder / name).unlink()
    assert not is_complete(folder, HF)


def test_hf_each_shard_of_the_index_is_there(tmp_path):
    folder = hf(tmp_path / "checkpoint-40", weights="model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    assert "model-00002-of-00002.safetensors of" in check(folder, HF).reason
    safetensors(folder / "model-00002-of-00002.safetensors")
    assert is_complete(folder, HF)


def test_hf_weights_may_be_a_directory(tmp_path):
    folder = hf(tmp_path / "checkpoint-40")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model_fsdp_0").mkdir()
    assert is_complete(folder, HF)


# --- torch.distributed.checkpoint ----------------------------------------------------------------


@pytest.fixture
def dcp(torch_modules):
    """Makes a directory of DCP."""

    def make(path, protocol=4):
        (kind,) = torch_modules("torch.distributed.checkpoint.filesystem", "_StorageInfo")
        path.mkdir()
        infos = []
        for rank in range(2):
            for part in range(3):
                info = kind()
                info.relative_path = f"__{rank}_0.distcp"
                info.offset, info.length = part * 300, 300
                infos.append(info)
            (path / f"__{rank}_0.distcp").write_bytes(b"\1" * 900)
        data = {"storage_data": dict(enumerate(infos)), "planner_data": {"step": 7}}
        (path / ".metadata").write_bytes(pickle.dumps(data, protocol=protocol))
        return path

    return make


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_dcp_each_cut_of_a_file_is_found(tmp_path, dcp, protocol):
    folder = dcp(tmp_path / "step-40", protocol)
    assert_each_cut_is_found(folder / ".metadata", DCP, checked=folder)
    assert_each_cut_is_found(folder / "__1_0.distcp", DCP, checked=folder)


@pytest.mark.parametrize("name", [".metadata", "__0_0.distcp"])
def test_dcp_a_file_that_is_missing_is_found(tmp_path, dcp, name):
    folder = dcp(tmp_path / "step-40")
    (folder / name).unlink()
    assert f"{name}" in check(folder, DCP).reason
    assert not is_complete(folder, DCP)


# --- DeepSpeed -----------------------------------------------------------------------------------


def test_deepspeed_each_cut_of_a_file_is_found(tmp_path):
    folder = deepspeed(tmp_path / "global_step40")
    for name in ("mp_rank_00_model_states.pt", "zero_pp_rank_1_mp_rank_00_optim_states.pt"):
        assert_each_cut_is_found(folder / name, DEEPSPEED, checked=folder)


@pytest.mark.parametrize(
    ("latest", "complete"),
    [("global_step40", True), ("global_step50", True), ("global_step30", False), (None, True)],
)
def test_deepspeed_what_latest_names(tmp_path, latest, complete):
    folder = deepspeed(tmp_path / "global_step40")
    (tmp_path / "latest").unlink()
    if latest is not None:
        (tmp_path / "latest").write_text(f"{latest}\n")
    assert is_complete(folder, DEEPSPEED) is complete


def test_deepspeed_a_rank_that_is_missing_is_found(tmp_path):
    folder = deepspeed(tmp_path / "global_step40", ranks=3)
    (folder / "zero_pp_rank_1_mp_rank_00_optim_states.pt").unlink()
    assert check(folder, DEEPSPEED).reason.startswith("zero_pp_rank_1_mp_rank_00_optim_states.pt")


def test_deepspeed_without_model_states_is_broken(tmp_path):
    folder = deepspeed(tmp_path / "global_step40")
    (folder / "mp_rank_00_model_states.pt").unlink()
    assert "no file of model states" in check(folder, DEEPSPEED).reason


# --- Orbax ---------------------------------------------------------------------------------------


def test_orbax_each_cut_of_a_file_of_metadata_is_found(tmp_path):
    folder = orbax(tmp_path / "40")
    for name in ("_CHECKPOINT_METADATA", "default/_METADATA"):
        assert_each_cut_is_found(folder / name, ORBAX, checked=folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "_CHECKPOINT_METADATA").write_text(
            '{"commit_timestamp_nsecs": null}'
        ),
        lambda folder: (folder / "default" / "manifest.ocdbt").write_bytes(b""),
        lambda folder: (folder / "state.orbax-checkpoint-tmp-17").mkdir(),
    ],
)
def test_orbax_what_is_not_committed_is_broken(tmp_path, change):
    folder = orbax(tmp_path / "40")
    change(folder)
    assert not is_complete(folder, ORBAX)


def test_orbax_parts_of_processes_that_were_not_merged_are_broken(tmp_path):
    """As a kill leaves it: the metadata are there, the mark of the commit and the manifest not."""
    folder = orbax(tmp_path / "40")
    (folder / "default" / "ocdbt.process_0").mkdir()
    assert is_complete(folder, ORBAX)
    (folder / "default" / "manifest.ocdbt").unlink()
    (folder / "_CHECKPOINT_METADATA").unlink()
    assert not is_complete(folder, ORBAX)


@pytest.mark.parametrize("sign", ["commit_success.txt", "default/_METADATA", "checkpoint"])
def test_orbax_of_old_shows_it_otherwise(tmp_path, sign):
    folder = tmp_path / "40"
    (folder / "default").mkdir(parents=True)
    (folder / "default" / "data").write_text("x")
    assert not is_complete(folder, ORBAX)
    (folder / sign).write_text("{}")
    assert is_complete(folder, ORBAX)


# --- a directory of no known form ----------------------------------------------------------------


def test_each_file_of_a_known_form_is_checked(tmp_path):
    folder = tmp_path / "step-40"
    torch_zip(folder / "model.pt")
    (folder / "notes.dat").write_bytes(b"anything")
    (folder / "inner").mkdir()
    assert_each_cut_is_found(folder / "model.pt", CheckpointFormat.AUTO, checked=folder)
