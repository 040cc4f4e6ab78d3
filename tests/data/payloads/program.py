"""Programs with a mistake of their own: code and configuration."""

import argparse
import dataclasses
import sys
from pathlib import Path

from usual import train


def missing_module():
    import flash_attention_kernels


def missing_name():
    from collections import OrderedDictionary


def syntax_error():
    Path("model_llama.py").write_text(
        "class Attention\n    def forward(self, x):\n        return x\n"
    )
    import model_llama


def indentation_error():
    Path("model_gpt.py").write_text("def forward(x):\n    x = x + 1\n  return x\n")
    import model_gpt


def wrong_type():
    train(30)
    return "loss: " + 3.14


def wrong_argument():
    def optimizer(parameters, lr, betas): ...

    train(3)
    optimizer([], learning_rate=0.1)


def attribute_of_none():
    train(12)
    scheduler = None
    scheduler.step()


def unbound_name():
    train(5)
    for _ in ():
        metric = 1
    print(metric)


def assertion():
    hidden, heads = 1000, 16
    assert hidden % heads == 0, f"hidden_size ({hidden}) must be divisible by num_heads ({heads})"


def recursion():
    def walk(tree):
        return walk([tree])

    train(2)
    walk([])


def shape():
    import torch

    train(8)
    layer = torch.nn.Linear(48, 64)
    layer(torch.ones(64, 64))


def view():
    import torch

    torch.ones(8, 8).view(8, 9)


def data_type():
    import torch

    train(4)
    torch.nn.Linear(8, 8)(torch.ones(2, 8, dtype=torch.float64))


def attention_heads():
    import torch

    torch.nn.MultiheadAttention(1000, 16)


def no_cuda():
    import torch

    torch.nn.Linear(8, 8).to("cuda")


def inplace():
    import torch

    train(3)
    weight = torch.ones(3, requires_grad=True)
    hidden = weight.exp()
    hidden += 1
    hidden.sum().backward()


def chained():
    train(6)
    state = {"model": 1}
    try:
        state["optimizer"]
    except KeyError as error:
        raise RuntimeError("the optimizer's state could not be restored") from error


def handled_then_broken():
    """An error that was handled, and a mistake in what handles it."""
    try:
        open("cache/index.json")
    except FileNotFoundError:
        print("no cache yet, building one")
        build_cach()


# --- configuration -------------------------------------------------------------------------------


def options(*given):
    parser = argparse.ArgumentParser(prog="pretrain.py")
    parser.add_argument("--precision", choices=["fp32", "bf16"])
    parser.add_argument("--lr", type=float)
    parser.add_argument("--data-path", required=True)
    parser.parse_args(given)


def unknown_option():
    options("--data-path=x", "--sequence-paralel")


def bad_choice():
    options("--data-path=x", "--precision=fp12")


def bad_number():
    options("--data-path=x", "--lr=3e-4f")


def missing_option():
    options("--lr=3e-4")


def bad_yaml():
    import yaml

    Path("config.yaml").write_text("model:\n  hidden: 1024\n  layers: 12: 24\n")
    yaml.safe_load(Path("config.yaml").read_text())


def bad_pydantic():
    import pydantic

    class Optimizer(pydantic.BaseModel, extra="forbid"):
        lr: float
        betas: tuple[float, float]

    class Config(pydantic.BaseModel):
        steps: int
        optimizer: Optimizer

    Config(steps="many", optimizer={"lr": 1, "beta": 0.9})


def unknown_key():
    @dataclasses.dataclass
    class TrainingConfig:
        learning_rate: float = 0.1

    TrainingConfig(**{"learning_rte": 0.2})


def missing_config():
    open("configs/gpt3_xl.yaml")


def missing_toml_key():
    import tomllib

    tomllib.loads("[model]\nhidden = 1024\nlayers = \n")


def refused_by_the_program():
    """A check of the program's own, with a message and no traceback."""
    batch, ranks = 30, 4
    if batch % ranks:
        sys.exit(
            f"error: invalid configuration: global_batch_size {batch} is not a multiple of the {ranks} ranks"
        )


def backend_not_built():
    import torch.distributed as dist

    dist.init_process_group("nccl", init_method="tcp://127.0.0.1:0", rank=0, world_size=1)


def state_of_another_model():
    import torch

    train(0)
    torch.save(torch.nn.Linear(8, 8).state_dict(), "model.pt")
    torch.nn.Linear(8, 16).load_state_dict(torch.load("model.pt"))


# --- what the compilers refuse -------------------------------------------------------------------


def no_compiler():
    import os

    import torch

    os.environ["CXX"] = "/opt/none/g++"
    torch._inductor.config.cpp.cxx = ("/opt/none/g++",)
    torch.compile(lambda x: x.sin() + 1)(torch.ones(8))


def graph_break():
    import torch

    @torch.compile(fullgraph=True, backend="eager")
    def forward(x):
        torch._dynamo.graph_break()
        return x

    forward(torch.ones(2))


def script():
    import torch

    def forward(x):
        async def later(): ...

        return x

    torch.jit.script(forward)


def export():
    import torch

    class Model(torch.nn.Module):
        def forward(self, x):
            return x + 1 if x.sum() > 0 else x

    torch.export.export(Model(), (torch.ones(2),))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
