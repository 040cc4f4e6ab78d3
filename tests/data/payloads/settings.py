"""Programs whose settings are wrong in a way that some library finds."""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

from usual import train


def bad_json():
    Path("config.json").write_text('{\n  "steps": 100,\n  "lr": 3e-4,\n}\n')
    json.loads(Path("config.json").read_text())


def empty_json():
    Path("config.json").write_text("")
    json.load(Path("config.json").open())


def json_key():
    config = json.loads('{"model": {"layers": 4}}')
    print("building a model of", config["model"]["hidden_size"])


def json_type():
    json.dumps({"optimizer": object()})


def environment():
    print("world size", os.environ["WORLD_SIZE_TOTAL"])


def environment_number():
    os.environ["SAVE_EVERY"] = "1k"
    print("saving every", int(os.environ["SAVE_EVERY"]))


def ini():
    import configparser

    parser = configparser.ConfigParser()
    parser.read_string("[train]\nsteps = 3\n")
    parser.get("optimizer", "lr")


def ini_header():
    import configparser

    configparser.ConfigParser().read_string("steps = 3\n")


def toml():
    import tomllib

    tomllib.loads("[train]\nsteps = 3\nname = small\n")


def yaml_tab():
    import yaml

    yaml.safe_load("train:\n\tsteps: 3\n")


def yaml_tag():
    import yaml

    yaml.safe_load("model: !Transformer {layers: 3}\n")


def subcommand():
    parser = argparse.ArgumentParser(prog="train.py")
    parser.add_subparsers(required=True, dest="command").add_parser("fit")
    parser.parse_args(["fitt"])


def exclusive():
    parser = argparse.ArgumentParser(prog="train.py")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--bf16", action="store_true")
    group.add_argument("--fp16", action="store_true")
    parser.parse_args(["--bf16", "--fp16"])


def ambiguous():
    parser = argparse.ArgumentParser(prog="train.py")
    parser.add_argument("--warmup-steps")
    parser.add_argument("--warmup-ratio")
    parser.parse_args(["--warmup=3"])


def expected_one():
    parser = argparse.ArgumentParser(prog="train.py")
    parser.add_argument("--data")
    parser.parse_args(["--data"])


def getopt_option():
    import getopt

    getopt.getopt(["--steps=3", "--sead=4"], "", ["steps=", "seed="])


def click_option():
    import click

    @click.command()
    @click.option("--steps", type=int, required=True)
    def run(steps): ...

    run(["--stepps", "3"], prog_name="train")


def click_value():
    import click

    @click.command()
    @click.option("--precision", type=click.Choice(["bf16", "fp32"]))
    def run(precision): ...

    run(["--precision", "fp8"], prog_name="train")


def click_missing():
    import click

    @click.command()
    @click.argument("config", type=click.Path(exists=True))
    def run(config): ...

    run(["configs/large.yaml"], prog_name="train")


def schema():
    import jsonschema

    rule = {"type": "object", "properties": {"lr": {"type": "number"}}}
    jsonschema.validate({"lr": "fast"}, rule)


def _hydra(overrides, **more):
    folder = Path("conf")
    (folder / "model").mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(
        "defaults:\n  - model: small\n  - _self_\nlr: 0.1\nname: ???\nout: ${paths.root}/x\n"
    )
    (folder / "model" / "small.yaml").write_text("layers: 2\n")
    import hydra

    @hydra.main(
        version_base=None, config_path=str(folder.resolve()), config_name=more.get("name", "config")
    )
    def run(config):
        more.get("use", print)(config)

    sys.argv = ["train.py", *overrides]
    run()


def hydra_key():
    _hydra(["optimzer.lr=3"])


def hydra_group():
    _hydra(["model=large"])


def hydra_syntax():
    _hydra(["lr=[1,2"])


def hydra_no_config():
    _hydra([], name="train")


def hydra_missing_value():
    _hydra([], use=lambda config: print(config.name))


def hydra_interpolation():
    _hydra([], use=lambda config: print(config.out))


def hydra_attribute():
    _hydra([], use=lambda config: print(config.learning_rate))


def hydra_target():
    def use(config):
        from hydra.utils import instantiate

        instantiate({"_target_": "models.Transformer", "layers": 3})

    _hydra([], use=use)


def interrupted(steps="5"):
    train(int(steps))
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)  # the signal ends it


def interrupted_in_thread_pool():
    from concurrent.futures import ThreadPoolExecutor

    train(4)
    with ThreadPoolExecutor(2) as pool:
        work = [pool.submit(time.sleep, 0.3) for _ in range(4)]  # work to interrupt
        os.kill(os.getpid(), signal.SIGINT)
        work[0].result()


def interrupted_after_an_error():
    train(4)
    try:
        int("four")
    except ValueError:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(2)  # the signal ends it


def exits(code):
    train(6)
    sys.exit(int(code))


def exits_with_text():
    train(2)
    sys.exit("train.py: the tokenizer has 50257 entries, but the model expects 32000")


def invalid_choice_of_own():
    raise ValueError("unknown scheduler 'cosin', expected one of: cosine, linear, constant")


def not_a_directory():
    os.listdir("train.py.d")


def is_a_directory():
    Path("corpus").mkdir()
    open("corpus").read()


def pandas_file():
    import pandas

    pandas.read_csv("data/train.csv")


def pandas_column():
    import pandas

    frame = pandas.DataFrame({"text": ["a"]})
    print(frame["label"])


def pandas_parse():
    import pandas

    Path("train.csv").write_text("a,b\n1,2\n3,4,5\n")
    pandas.read_csv("train.csv")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
