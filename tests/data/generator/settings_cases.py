"""Settings that a library refuses, and programs that a person interrupts."""

from typing import Any

from tests.data.generator.case import Case
from tests.data.generator.rows import python


def setting(name: str, root: str, category: str = "config", **more: Any) -> Case:
    return python(f"settings.{name}", category, f"settings.py {name}", root, **more)


CODE = ("code",)

JSON = (
    setting("bad_json", "^json.decoder.JSONDecodeError"),
    setting("empty_json", "^json.decoder.JSONDecodeError"),
    setting("json_key", "^KeyError: 'hidden_size'", also=CODE),
    setting("json_type", "^TypeError", "code"),
    setting("environment", "^KeyError: 'WORLD_SIZE_TOTAL'", also=CODE),
    setting("environment_number", "^ValueError: invalid literal", also=CODE),
    setting("ini", "^configparser.NoSectionError"),
    setting("ini_header", "^configparser.MissingSectionHeaderError"),
    setting("toml", "^tomllib.TOMLDecodeError"),
    setting("yaml_tab", "^yaml.scanner.ScannerError", needs=("yaml",)),
    setting("yaml_tag", "^yaml.constructor.ConstructorError", needs=("yaml",)),
)

OPTIONS = (
    setting("subcommand", "error: argument command: invalid choice"),
    setting("exclusive", "error: argument --fp16: not allowed with"),
    setting("ambiguous", "error: ambiguous option"),
    setting("expected_one", "error: argument --data: expected one argument"),
    setting("getopt_option", "^getopt.GetoptError"),
    setting("click_option", "^Error: No such option", needs=("click",)),
    setting("click_value", "^Error: Invalid value for '--precision'", needs=("click",)),
    setting("click_missing", "^Error: Invalid value for 'CONFIG'", needs=("click",)),
    setting("schema", "^jsonschema.exceptions.ValidationError", needs=("jsonschema",)),
    setting("exits_with_text", "^train.py: the tokenizer has", also=CODE),
    setting("invalid_choice_of_own", "^ValueError: unknown scheduler", also=CODE),
    setting("not_a_directory", "^FileNotFoundError"),
    setting("is_a_directory", "^IsADirectoryError", also=CODE),
    setting("pandas_file", "^FileNotFoundError", needs=("pandas",)),
    setting("pandas_column", "^KeyError: 'label'", "code", needs=("pandas",), also=("config",)),
    setting("pandas_parse", "^pandas.errors.ParserError", "data.corrupt", needs=("pandas",)),
)

HYDRA = tuple(
    setting(f"hydra_{name}", root, needs=("hydra",), also=also)
    for name, root, also in (
        ("key", "Could not override 'optimzer.lr'", ()),
        ("group", "Could not find 'model/large'", ()),
        ("syntax", "mismatched input|no viable alternative|missing|extraneous", ()),
        ("no_config", "Cannot find primary config 'train'", ()),
        ("missing_value", "MissingMandatoryValue", ()),
        ("interpolation", "InterpolationKeyError", ()),
        ("attribute", "ConfigAttributeError", CODE),
        ("target", "Error locating target|No module named 'models'", CODE),
    )
)

INTERRUPTED = (
    python("interrupt.plain", "cancelled", "settings.py interrupted", "^KeyboardInterrupt"),
    python("interrupt.late", "cancelled", "settings.py interrupted 2000", "^KeyboardInterrupt"),
    python(
        "interrupt.pool",
        "cancelled",
        "settings.py interrupted_in_thread_pool",
        "^KeyboardInterrupt",
    ),
    python(
        "interrupt.after_an_error",
        "cancelled",
        "settings.py interrupted_after_an_error",
        "^KeyboardInterrupt",
    ),
    Case(
        "interrupt.torchrun",
        "cancelled",
        "torchrun --standalone --nproc-per-node 2 settings.py interrupted",
        "KeyboardInterrupt",
        also_root="KeyboardInterrupt",
        needs=("torch",),
    ),
    Case(
        "interrupt.caught_by_bash",
        "cancelled",
        "trap 'echo interrupted; exit 130' INT\n"
        "for i in 1 2 3; do echo step $i; done\nkill -INT $$",
        None,
        also=("unknown",),
    ),
)

EXITS = tuple(
    python(f"exit.code_{code}", "unknown", f"settings.py exits {code}", None) for code in (2, 5, 77)
)

CASES = (*JSON, *OPTIONS, *HYDRA, *INTERRUPTED, *EXITS)
