"""Mistakes in the program: code, configuration, and what the compilers refuse."""

from tests.data.generator.case import Case
from tests.data.generator.rows import program, python, torch

CODE = (
    program("code.missing_module", "code", "missing_module", "^ModuleNotFoundError"),
    program("code.missing_name", "code", "missing_name", "^ImportError: cannot import name"),
    program("code.syntax", "code", "syntax_error", "^SyntaxError"),
    program("code.indentation", "code", "indentation_error", "^IndentationError"),
    program("code.wrong_type", "code", "wrong_type", "^TypeError"),
    program("code.wrong_argument", "code", "wrong_argument", "^TypeError"),
    program("code.attribute_of_none", "code", "attribute_of_none", "^AttributeError"),
    program("code.unbound_name", "code", "unbound_name", "^UnboundLocalError"),
    program("code.assertion", "code", "assertion", "^AssertionError", also=("config",)),
    program("code.recursion", "code", "recursion", "^RecursionError"),
    program("code.chained", "code", "chained", "^KeyError: 'optimizer'", also=("config",)),
    program(
        "code.handled_then_broken",
        "code",
        "handled_then_broken",
        "^NameError",
        also=("config",),
        also_root="^FileNotFoundError",
    ),
    torch("code.shape", "code", "program.py shape", "mat1 and mat2 shapes cannot be multiplied"),
    torch("code.view", "code", "program.py view", "is invalid for input of size 64"),
    torch("code.data_type", "code", "program.py data_type", "^RuntimeError: .*dtype"),
    torch("code.inplace", "code", "program.py inplace", "modified by an inplace operation"),
    torch(
        "code.attention_heads",
        "code",
        "program.py attention_heads",
        "^AssertionError: embed_dim must be divisible",
        also=("config",),
    ),
)

CONFIG = (
    program("config.unknown_option", "config", "unknown_option", "error: unrecognized arguments"),
    program("config.bad_choice", "config", "bad_choice", "error: argument --precision: invalid"),
    program("config.bad_number", "config", "bad_number", "error: argument --lr: invalid float"),
    program("config.missing_option", "config", "missing_option", "arguments are required"),
    program("config.bad_yaml", "config", "bad_yaml", "^yaml.scanner.ScannerError", needs=("yaml",)),
    program(
        "config.bad_toml", "config", "missing_toml_key", "^tomllib.TOMLDecodeError", also=("code",)
    ),
    program(
        "config.pydantic",
        "config",
        "bad_pydantic",
        "ValidationError: 3 validation errors for Config",
        needs=("pydantic",),
    ),
    program("config.unknown_key", "config", "unknown_key", "^TypeError", also=("code",)),
    program("config.missing_file", "config", "missing_config", "^FileNotFoundError"),
    program("config.own_check", "config", "refused_by_the_program", "^error: invalid config"),
    torch(
        "config.no_nccl",
        "config",
        "program.py backend_not_built",
        "^RuntimeError: Distributed package doesn't have NCCL|^ValueError: ProcessGroupNCCL is",
    ),
    torch(
        "config.no_cuda",
        "config",
        "program.py no_cuda",
        "^AssertionError: Torch not compiled with CUDA|^RuntimeError: Found no NVIDIA driver",
        also=("code",),
    ),
    torch(
        "config.other_model",
        "config",
        "program.py state_of_another_model",
        "Error\\(s\\) in loading state_dict",
        also=("code",),
    ),
    Case(
        "config.no_environment",
        "config",
        "source /opt/conda/etc/profile.d/conda.sh || exit\npython program.py shape",
        "conda.sh: No such file or directory",
        also=("code",),
    ),
    Case(
        "config.no_such_command",
        "config",
        "set -e\nmpirun-4.1 -n 4 python program.py shape",
        "mpirun-4.1: command not found",
        also=("code",),
    ),
    python("config.no_such_script", "config", "train_gpt.py", "can't open file", also=("code",)),
)

COMPILE = (
    torch("compile.no_compiler", "compile", "program.py no_compiler", "InvalidCxxCompiler: No"),
    torch("compile.graph_break", "compile", "program.py graph_break", "_dynamo.exc.Unsupported"),
    torch("compile.script", "compile", "program.py script", "frontend.UnsupportedNodeError"),
    torch("compile.export", "compile", "program.py export", "^torch\\S*GuardOnDataDependent"),
)

CASES = (*CODE, *CONFIG, *COMPILE)
