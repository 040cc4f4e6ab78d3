"""Mistakes in tensors, with torch, NumPy, JAX and TensorFlow."""

from typing import Any

from tests.data.generator.case import Case
from tests.data.generator.rows import python


def tensor(module: str, name: str, category: str, root: str, **more: Any) -> Case:
    needs = (module, *more.pop("needs", ()))
    return python(f"{module}.{name}", category, f"tensors.py {name}", root, needs=needs, **more)


def graph(name: str, category: str, root: str, **more: Any) -> Case:
    command = f"graphs.py {name}"
    return python(f"tensorflow.{name}", category, command, root, needs=("tensorflow",), **more)


TORCH = tuple(
    tensor("torch", name, category, root, also=also)
    for name, category, root, also in (
        ("half", "code", "^RuntimeError", ()),
        ("bias", "code", "^RuntimeError", ()),
        ("cast", "code", "^RuntimeError: result type", ()),
        ("index_type", "code", "^RuntimeError: Expected tensor", ()),
        ("target_type", "code", "^RuntimeError|^IndexError", ()),
        ("attention_type", "code", "^RuntimeError", ()),
        ("integer_gradient", "code", "^RuntimeError: Only Tensors of floating", ()),
        ("bool_minus", "code", "^RuntimeError: Subtraction", ()),
        ("device_meta", "code", "^RuntimeError|^NotImplementedError", ()),
        ("broadcast", "code", "^RuntimeError: The size of tensor", ()),
        ("concatenate", "code", "^RuntimeError: Sizes of tensors", ()),
        ("channels", "code", "^RuntimeError: Given groups", ()),
        ("norm_shape", "code", "^RuntimeError: Given normalized_shape", ()),
        ("backward_twice", "code", "^RuntimeError: Trying to backward", ()),
        ("scalar_needed", "code", "^RuntimeError: grad can be", ()),
        ("gather", "data.corrupt", "^RuntimeError: index 9 is out", ("code",)),
        ("one_hot", "data.corrupt", "^RuntimeError: Class values", ("code",)),
        ("select", "data.corrupt", "^IndexError|^RuntimeError", ("code",)),
        ("distribution", "numeric.nan", "^ValueError: Expected parameter loc", ()),
        ("multinomial", "numeric.nan", "^RuntimeError: probability tensor", ()),
        ("torch_singular", "numeric.nan", "LinAlgError", ("code", "data.corrupt", "unknown")),
    )
)

NUMPY = tuple(
    tensor("numpy", name, category, root, also=also)
    for name, category, root, also in (
        ("numpy_index", "data.corrupt", "^IndexError", ("code",)),
        ("numpy_cast", "code", "UFuncOutputCastingError|UFuncTypeError", ()),
        ("numpy_shape", "code", "^ValueError: matmul", ()),
        ("numpy_broadcast", "code", "^ValueError: operands", ()),
        ("numpy_ragged", "code", "^ValueError: setting an array", ("data.corrupt",)),
        ("singular", "numeric.nan", "LinAlgError: Singular", ("code", "data.corrupt", "unknown")),
        ("svd", "numeric.nan", "LinAlgError: SVD", ("data.corrupt", "unknown")),
    )
)

JAX = tuple(
    tensor("jax", name, category, root, also=also)
    for name, category, root, also in (
        ("jax_shape", "code", "^TypeError", ()),
        ("jax_nan", "numeric.nan", "^Invalid nan value|^FloatingPointError", ()),
        ("jax_traced", "code", "TracerBoolConversionError", ()),
        ("jax_type", "code", "^TypeError", ()),
        ("jax_memory", "oom_host", "RESOURCE_EXHAUSTED|[Oo]ut of memory", ("memory.device_oom",)),
        (
            "jax_backend",
            "config",
            "^jax.errors.JaxRuntimeError|^RuntimeError",
            ("hardware.accelerator",),
        ),
        (
            "jax_coordinator",
            "network.rendezvous",
            "DEADLINE_EXCEEDED|UNAVAILABLE",
            ("network.fabric",),
        ),
        ("jax_donated", "code", "^RuntimeError: Array has been deleted", ()),
    )
)

GRAPHS = (
    graph("full", "storage.full", "No space left", place="small_disk", also_root="No space left"),
    graph(
        "memory",
        "oom_host",
        "ResourceExhausted|OOM|bad_alloc|[Oo]ut of memory|allocat",
        also=("memory.device_oom",),
        also_root="OOM when|allocat",
    ),
    graph("shape", "code", "InvalidArgumentError"),
    graph("data_type", "code", "InvalidArgumentError"),
    graph(
        "vocabulary",
        "data.corrupt",
        "InvalidArgumentError",
        also=("code",),
        also_root="is not in .0, 100.",
    ),
    graph(
        "no_checkpoint",
        "config",
        "Unsuccessful TensorSliceReader|NotFoundError|Could not find",
        also=("checkpoint.corrupt",),
    ),
    graph("bad_records", "data.corrupt", "DataLossError", also_root="corrupted record"),
    graph("no_records", "config", "NotFoundError", also_root="No such file"),
    graph(
        "bad_checkpoint",
        "checkpoint.corrupt",
        "DataLossError|not an sstable|Unable to open|Checksum",
        also=("data.corrupt",),
        also_root="DataLoss|not an sstable|Checksum|TensorSliceReader",
    ),
    graph("nan", "numeric.nan", "Tensor had NaN", also_root="Tensor had NaN"),
    graph("model_shape", "code", "^ValueError"),
    graph("truncated_graph_input", "data.corrupt", "InvalidArgumentError", also=("code",)),
)

SCIPY = (
    tensor(
        "scipy",
        "scipy_nan",
        "numeric.nan",
        "^ValueError: array must not contain",
        also=("data.corrupt",),
    ),
)

CASES = (*TORCH, *NUMPY, *JAX, *GRAPHS, *SCIPY)
