"""Bad records and numbers, and checkpoints that cannot be read."""

from tests.data.generator.rows import python, torch

DATA = (
    torch("data.embedding_index", "data.corrupt", "data.py embedding_index", "^IndexError"),
    torch("data.target_class", "data.corrupt", "data.py target_class", "^IndexError"),
    python("data.not_utf8", "data.corrupt", "data.py not_utf8", "^UnicodeDecodeError"),
    python(
        "data.short_array",
        "data.corrupt",
        "data.py short_array",
        "^ValueError",
        needs=("numpy",),
        also=("code",),
    ),
    python(
        "data.short_buffer",
        "data.corrupt",
        "data.py short_buffer",
        "^ValueError: buffer size",
        needs=("numpy",),
        also=("code", "config"),
    ),
    python("data.short_gzip", "data.corrupt", "data.py short_gzip", "^EOFError: Compressed"),
    python("data.bad_checksum", "data.corrupt", "data.py bad_checksum", "^gzip.BadGzipFile"),
    python("data.bad_record", "data.corrupt", "data.py bad_record", "^json.decoder.JSONDecodeErr"),
    python(
        "data.bad_parquet",
        "data.corrupt",
        "data.py bad_parquet",
        "^pyarrow.lib.ArrowInvalid",
        needs=("pyarrow",),
    ),
    python("data.bad_image", "data.corrupt", "data.py bad_image", "^PIL.Unid", needs=("PIL",)),
    torch(
        "data.worker_raises", "data.corrupt", "data.py worker_raises", "^UnicodeDecodeError: 'utf"
    ),
    torch(
        "data.worker_bug",
        "code",
        "data.py worker_bug",
        "^KeyError: 'input_ids'",
        also=("data.corrupt",),
    ),
    python("nan.own_check", "numeric.nan", "data.py own_nan_check", "^FloatingPointError"),
    python(
        "nan.numpy", "numeric.nan", "data.py numpy_invalid", "^FloatingPointError", needs=("numpy",)
    ),
    torch(
        "nan.anomaly", "numeric.nan", "data.py anomaly", "^RuntimeError: Function .* returned nan"
    ),
    torch("nan.gradient_norm", "numeric.nan", "data.py gradient_norm", "is non-finite"),
)

CHECKPOINT = (
    tuple(
        torch(f"checkpoint.{name}", "checkpoint.corrupt", f"files.py {name}", root, needs=needs)
        for name, root, needs in (
            ("torch_truncated", "^RuntimeError: PytorchStreamReader", ()),
            ("torch_garbage", "^_pickle.UnpicklingError: invalid load key", ()),
            ("safetensors_truncated", "SafetensorError", ("safetensors",)),
            ("safetensors_zeros", "SafetensorError", ("safetensors",)),
        )
    )
    + tuple(
        python(f"checkpoint.{name}", "checkpoint.corrupt", f"files.py {name}", root, needs=needs)
        for name, root, needs in (
            (
                "pickle_truncated",
                "^_pickle.UnpicklingError: pickle data was truncated|^EOFError",
                (),
            ),
            ("pickle_empty", "^EOFError: Ran out of input", ()),
            ("hdf5_truncated", "truncated file", ("h5py",)),
            ("hdf5_zeros", "file signature not found", ("h5py",)),
        )
    )
    + (
        # What torch says of these points elsewhere, too.
        torch(
            "checkpoint.torch_overwritten",
            "checkpoint.corrupt",
            "files.py torch_overwritten",
            "^_pickle.UnpicklingError: Weights only load failed",
            also=("code", "config"),
            also_root="^Unsupported operand",
        ),
        # Neither says that what it read was a checkpoint.
        torch(
            "checkpoint.torch_empty",
            "checkpoint.corrupt",
            "files.py torch_empty",
            "^EOFError",
            also=("unknown",),
        ),
        python(
            "checkpoint.numpy_zip",
            "checkpoint.corrupt",
            "files.py numpy_zip",
            "^zipfile.BadZipFile",
            also=("data.corrupt",),
            needs=("numpy",),
        ),
        torch(
            "checkpoint.torch_zeros",
            "checkpoint.corrupt",
            "files.py torch_zeros",
            "^RuntimeError: Cannot use ``weights_only",
            also=("code", "config"),
        ),
    )
)

CASES = (*DATA, *CHECKPOINT)
