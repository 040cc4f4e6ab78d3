"""The known forms of checkpoints: default names, and what shows that one is complete."""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from slurm_restart.frozen import frozen
from slurm_restart.trainer.run_plan import CheckpointFormat


class Kind(Enum):
    """What a checkpoint is on disk; anything else of a matching name is ignored."""

    FILE = "file"
    DIRECTORY = "directory"
    EITHER = "file or directory"


@frozen
class CheckpointForm:
    """What is known of the checkpoints of one format."""

    writer: str
    """Who writes them, for people."""
    kind: Kind
    complete: str
    """What a complete one has, for people."""
    written: str = ""
    """Default names, for people; empty: the pattern has to be given."""
    pattern: str = ""
    """The same as a regular expression, see `CheckpointLayout.pattern`."""
    directory: str = ""
    """Default directories below the job's directory; empty: as for other formats."""


_STEP = r"(?P<step>\d+)"
_PREFIX = r"(?:.*\D)?"
# A shard's number in `model-00001-of-00005.safetensors` is no step.
_NO_SHARD = r"(?<!-of-)(?<!-of-\d)(?<!-of-\d\d)(?<!-of-\d{3})(?<!-of-\d{4})(?<!-of-\d{5})"

FORMS: Mapping[CheckpointFormat, CheckpointForm] = MappingProxyType(
    {
        CheckpointFormat.MDL: CheckpointForm(
            writer="Cerebras Model Zoo",
            kind=Kind.FILE,
            written="checkpoint_{step}.mdl",
            pattern=rf"checkpoint_{_STEP}(?P<stamp>_\d{{8}}_\d{{6}})?\.mdl",
            complete="HDF5 opens it, and its attribute `__SUCCESS__` is true",
        ),
        CheckpointFormat.TORCH: CheckpointForm(
            writer="`torch.save`",
            kind=Kind.FILE,
            written="*{step}.pt, .pth, .ckpt, .bin",
            pattern=rf"{_PREFIX}{_STEP}{_NO_SHARD}\.(?:pt|pth|ckpt|bin)",
            complete="the zip directory at its end is there, each member lies in the file, and "
            "`data.pkl` ends as a pickle does; files of PyTorch before 1.6 and plain pickles: the "
            "pickle is whole, and so are the tensors behind it",
        ),
        CheckpointFormat.SAFETENSORS: CheckpointForm(
            writer="safetensors",
            kind=Kind.FILE,
            written="*{step}.safetensors",
            pattern=rf"{_PREFIX}{_STEP}{_NO_SHARD}\.safetensors",
            complete="its size is the one that its header gives",
        ),
        CheckpointFormat.HF: CheckpointForm(
            writer="Hugging Face Trainer",
            kind=Kind.DIRECTORY,
            written="checkpoint-{step}",
            pattern=rf"checkpoint-{_STEP}",
            complete="`trainer_state.json` can be read, the weights are there with all shards of "
            "their index, and each file of a known form is complete",
        ),
        CheckpointFormat.LIGHTNING: CheckpointForm(
            writer="PyTorch Lightning",
            kind=Kind.FILE,
            written="epoch={epoch}-step={step}.ckpt",
            pattern=rf"(?:.*?epoch=(?P<epoch>\d+)-|.*\D)?step={_STEP}(?:-v(?P<stamp>\d+))?\.ckpt",
            directory="lightning_logs/version_*/checkpoints",
            complete="as torch",
        ),
        CheckpointFormat.DCP: CheckpointForm(
            writer="`torch.distributed.checkpoint`",
            kind=Kind.DIRECTORY,
            written="*{step}",
            pattern=rf"{_PREFIX}{_STEP}",
            complete="`.metadata` is whole, and each `.distcp` file that it names is as long as it "
            "says",
        ),
        CheckpointFormat.DEEPSPEED: CheckpointForm(
            writer="DeepSpeed",
            kind=Kind.DIRECTORY,
            written="global_step{step}",
            pattern=rf"global_step{_STEP}",
            complete="the file `latest` beside it names it or a later one, or is not there; there "
            "are model states, of every rank up to the last, and each file is complete as torch",
        ),
        CheckpointFormat.ORBAX: CheckpointForm(
            writer="Orbax (JAX, Flax)",
            kind=Kind.DIRECTORY,
            written="{step}, or with a prefix: checkpoint_{step}",
            pattern=rf"(?:[A-Za-z].*[_-])?{_STEP}",
            complete="`_CHECKPOINT_METADATA` has the time of the commit (before Orbax 0.6: "
            "`_METADATA` or `commit_success.txt` is there), and no item is a temporary one",
        ),
        CheckpointFormat.KERAS: CheckpointForm(
            writer="Keras",
            kind=Kind.FILE,
            written="*{step}.keras, .weights.h5",
            # The step is followed by a metric at most: `model.05-0.32.keras`.
            pattern=rf"(?:.*?\D)??{_STEP}(?:-\d+\.\d+)?\.(?:keras|weights\.h5)",
            complete=".keras: a zip file with `config.json`, `metadata.json` and "
            "`model.weights.h5`; .weights.h5: as hdf5",
        ),
        CheckpointFormat.HDF5: CheckpointForm(
            writer="HDF5",
            kind=Kind.FILE,
            written="*{step}.h5, .hdf5",
            pattern=rf"{_PREFIX}{_STEP}\.(?:h5|hdf5)",
            complete="HDF5 opens it, it is as long as its header says, and no writer has it open",
        ),
        CheckpointFormat.NPZ: CheckpointForm(
            writer="`numpy.savez`",
            kind=Kind.FILE,
            written="*{step}.npz",
            pattern=rf"{_PREFIX}{_STEP}\.npz",
            complete="as the zip file of torch, and the checksums of up to 64 MB of it are right",
        ),
        CheckpointFormat.AUTO: CheckpointForm(
            writer="found by name and content",
            kind=Kind.EITHER,
            complete="as the form that the checkpoint shows; of an unknown form: it is not empty",
        ),
        CheckpointFormat.ANY: CheckpointForm(
            writer="any program",
            kind=Kind.EITHER,
            complete="its name is the final one; with `checkpoint.complete`: that path exists",
        ),
    }
)
"""Every format but NONE."""
