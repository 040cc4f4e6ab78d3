"""Mistakes in tensors: data types, shapes, indices and numbers, with torch, NumPy and JAX."""

import sys

from usual import train


def half():
    import torch

    train(3)
    torch.nn.Linear(4, 4).double()(torch.ones(2, 4))


def bias():
    import torch

    torch.nn.Conv2d(3, 4, 3)(torch.ones(1, 3, 8, 8, dtype=torch.float64))


def cast():
    import torch

    torch.ones(3, dtype=torch.long).add_(torch.ones(3) / 2)


def index_type():
    import torch

    torch.nn.Embedding(4, 4)(torch.ones(3))


def target_type():
    import torch

    torch.nn.functional.cross_entropy(torch.ones(2, 3), torch.ones(2))


def attention_type():
    import torch

    q = torch.ones(1, 1, 4, 4)
    torch.nn.functional.scaled_dot_product_attention(q, q.double(), q)


def integer_gradient():
    import torch

    torch.ones(3, dtype=torch.long, requires_grad=True)


def bool_minus():
    import torch

    print(torch.ones(3, dtype=torch.bool) - torch.ones(3, dtype=torch.bool))


def device_meta():
    import torch

    print(torch.ones(3) + torch.ones(3, device="meta"))


def broadcast():
    import torch

    train(4)
    print(torch.ones(3, 4) + torch.ones(3, 5))


def concatenate():
    import torch

    torch.cat([torch.ones(2, 3), torch.ones(3, 4)])


def channels():
    import torch

    torch.nn.Conv2d(3, 4, 3)(torch.ones(1, 1, 8, 8))


def norm_shape():
    import torch

    torch.nn.LayerNorm(16)(torch.ones(2, 8))


def backward_twice():
    import torch

    loss = torch.ones(2, requires_grad=True).exp().sum()
    loss.backward()
    loss.backward()


def scalar_needed():
    import torch

    torch.ones(2, requires_grad=True).backward()


def gather():
    import torch

    train(30)
    torch.ones(2, 4).gather(1, torch.tensor([[9], [1]]))


def one_hot():
    import torch

    train(30)
    torch.nn.functional.one_hot(torch.tensor([3, 12]), num_classes=10)


def select():
    import torch

    train(30)
    torch.ones(4, 3).index_select(0, torch.tensor([7]))


def numpy_index():
    import numpy

    train(30)
    table = numpy.zeros((256, 4))
    print(table[numpy.array([4, 300])])


def numpy_cast():
    import numpy

    counts = numpy.zeros(3, dtype=int)
    counts += 0.5


def numpy_shape():
    import numpy

    train(3)
    numpy.zeros((3, 4)) @ numpy.zeros((3, 4))


def numpy_broadcast():
    import numpy

    numpy.zeros((3, 4)) + numpy.zeros((3, 5))


def numpy_ragged():
    import numpy

    numpy.array([[1, 2], [3]])


def distribution():
    import torch

    train(2000)
    torch.distributions.Normal(torch.tensor([float("nan")] * 3), torch.ones(3))


def multinomial():
    import torch

    train(2000)
    torch.multinomial(torch.tensor([0.5, float("nan")]), 1)


def singular():
    import numpy

    train(40)
    numpy.linalg.inv(numpy.zeros((3, 3)))


def torch_singular():
    import torch

    train(40)
    torch.linalg.cholesky(-torch.eye(3))


def svd():
    import numpy

    train(40)
    numpy.linalg.svd(numpy.full((3, 3), numpy.nan))


def scipy_nan():
    import numpy
    import scipy.linalg

    train(40)
    scipy.linalg.lu(numpy.full((3, 3), numpy.nan))


def jax_shape():
    import jax.numpy

    train(2)
    jax.numpy.ones((3, 4)) @ jax.numpy.ones((3, 4))


def jax_nan():
    import jax

    jax.config.update("jax_debug_nans", True)
    train(40)
    print(jax.numpy.log(-jax.numpy.ones(2)))


def jax_traced():
    import jax

    jax.jit(lambda x: x if x > 0 else -x)(1.0)


def jax_type():
    import jax

    jax.grad(lambda x: x * 2)(1)


def jax_memory():
    import jax

    train(3)
    print(jax.numpy.zeros((1 << 20, 1 << 24)).sum())


def jax_backend():
    import jax

    jax.config.update("jax_platforms", "tpu")
    print(jax.devices())


def jax_coordinator():
    import jax

    jax.distributed.initialize("127.0.0.1:1", 2, 1, initialization_timeout=4)


def jax_donated():
    import jax

    x = jax.numpy.ones(3)
    x.delete()
    print(x + 1)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
