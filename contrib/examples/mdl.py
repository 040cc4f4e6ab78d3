"""Checkpoints of the Model Zoo's form: HDF5 files, and an index of them that autoloading reads."""

import json
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import yaml
from textmodel import Corpus, Model
from training import log

STEP = "global_step.__metadata__"
SEED, CORPUS, SAMPLES = "dataloader.seed", "dataloader.corpus", "dataloader.samples_streamed"


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The checkpoints of a model_dir.

    `checkpoint_name` holds `{step}`; `seed` and `batch_size` are what the data come from.
    """

    folder: Path
    name: str
    text: Corpus
    seed: int
    batch_size: int

    def save(self, model: Model, step: int) -> None:
        """Write a checkpoint: under a temporary name, the mark of success last, then a rename.

        A step that is there already gets a name with a timestamp.
        """
        target = self.folder / self.name.format(step=step)
        if target.exists():
            target = self.folder / self.name.format(step=f"{step}_{time.strftime('%Y%m%d_%H%M%S')}")
        partial = target.with_name(f"{target.name}.{secrets.token_hex(4)}.tmp")
        log(f"Saving checkpoint at step {step}")
        with h5py.File(partial, "w") as file:
            file.attrs["__version__"] = 0.5
            for kind, parts in (("model", model.weights), ("optimizer", model.momentum)):
                for part, value in parts.items():
                    file[f"{kind}.{part}"] = value
            # Where the data go on is no more than this: a step's data follow from seed and step.
            file.attrs.update({SEED: self.seed, CORPUS: self.text.digest})
            file.attrs[SAMPLES] = step * self.batch_size
            scalar = {"scalar_value": step, "__TYPE__": "ScalarSerializer", "__NONE__": True}
            file.attrs[STEP] = json.dumps({"__objects__": ["global_step"], STEP: scalar})
            file.flush()
            file.attrs["__SUCCESS__"] = True
        partial.replace(target)
        log(f"Saved checkpoint {target}")
        self._write_index([*self._index(), str(target)])

    def load(self, path: Path, model: Model, *, states: str = "all") -> int:
        """Load weights and, unless `states` is "model", optimiser and step; returns the step.

        Raises:
            OSError: the file is not there, or is no complete checkpoint.
            KeyError, ValueError: it is one of another model.
        """
        log(f"Loading weights from checkpoint {path}")
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist")
        with h5py.File(path, "r") as file:
            if not bool(file.attrs.get("__SUCCESS__", False)):
                raise OSError(f"{path}: the checkpoint is incomplete")
            _copy(file, "model", model.weights)
            if states == "model":
                return 0
            _copy(file, "optimizer", model.momentum)
            expected = {SEED: self.seed, CORPUS: self.text.digest}
            for name, here in expected.items():
                if (there := file.attrs.get(name, here)) != here:
                    log(f"{path} was trained with {name} {there}, now it is {here}", "WARNING")
            return int(json.loads(file.attrs[STEP])[STEP]["scalar_value"])

    def newest(self) -> Path | None:
        """The newest checkpoint that the index names; a file that it does not name is not found."""
        log(
            f'Checkpoint autoloading is enabled. Looking for latest checkpoint in "{self.folder}" '
            "directory with the following naming convention: `checkpoint_(step)(_timestamp)?.mdl`."
        )
        found = self.indexed()
        if not found:
            log(f'No checkpoints were found in "{self.folder}".')
            return None
        log(f'Found latest checkpoint at "{found[-1]}".')
        return found[-1]

    def indexed(self) -> list[Path]:
        """The checkpoints in the index that are there, by step, then by timestamp."""
        before, after = map(re.escape, self.name.split("{step}"))
        form = re.compile(rf"{before}(\d+)(_\d{{8}}_\d{{6}})?{after}")
        paths = [(form.fullmatch(Path(entry).name), Path(entry)) for entry in self._index()]
        named = [(int(m[1]), m[2] or "", path) for m, path in paths if m and path.exists()]
        return [path for _, _, path in sorted(named)]

    @property
    def _index_path(self) -> Path:
        return self.folder / "checkpoints_index.yaml"

    def _index(self) -> list[str]:
        if not self._index_path.exists():
            return []
        return yaml.safe_load(self._index_path.read_text()) or []

    def _write_index(self, entries: list[str]) -> None:
        partial = self._index_path.with_suffix(".tmp")
        partial.write_text(yaml.safe_dump(entries))
        partial.replace(self._index_path)


def _copy(file: Any, kind: str, parts: dict[str, Any]) -> None:
    for part, value in parts.items():
        stored = file[f"{kind}.{part}"]
        if stored.shape != value.shape:
            raise ValueError(
                f"size mismatch for {kind}.{part}: {stored.shape} in the checkpoint, "
                f"{value.shape} in the model"
            )
        value[...] = stored
