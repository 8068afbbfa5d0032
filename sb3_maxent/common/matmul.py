"""
Which library multiplies float32 matrices on the CPU.

torch carries two: its default (MKL in the usual builds) and oneDNN. Which one is faster depends on the processor and on the
sizes. The switch is torch's own, ``torch.backends.mkldnn.matmul.fp32_precision = "bf16"``. On a processor that multiplies
bfloat16 matrices in hardware, the same switch lowers the precision to that of bfloat16.
"""

import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch as th
from torch import nn

Library = Literal["torch", "onednn"]
Matmul = Literal[Library, "fastest"]
# What oneDNN must save before it is taken, and the largest error it may have beside that of the default
MIN_GAIN, MAX_ERROR_RATIO = 0.1, 4.0
ROUNDS, SECONDS_A_ROUND = 7, 2e-3


@contextmanager
def matmul_by(library: Library) -> Iterator[None]:
    """
    Let a library multiply float32 matrices on the CPU; what the user has set comes back afterwards.

    :param library: ``"torch"`` (leaves all as it is) or ``"onednn"``
    """
    if library == "torch":
        yield
        return
    settings = th.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = before


def fastest_matmul(sizes: tuple[tuple[int, int, int], ...]) -> Library:
    """
    Measure which library does some products faster. oneDNN is chosen where it saves at least a tenth of the time and is as
    accurate as the default. The answer is kept for the process and the number of threads.

    :param sizes: of products (m, k) x (k, n)
    :return: ``"torch"`` or ``"onednn"``
    """
    return _fastest(sizes, th.get_num_threads())


@functools.cache
def _fastest(sizes: tuple[tuple[int, int, int], ...], n_threads: int) -> Library:
    generator = th.Generator().manual_seed(0)  # the training's own random numbers stay as they are
    pairs = [
        (th.randn(m, k, generator=generator), th.randn(n, k, generator=generator).t(), th.empty(m, n)) for m, k, n in sizes
    ]
    if not pairs or not keeps_precision(sizes[-1]):
        return "torch"

    def seconds(library: Library, n_times: int) -> float:
        with matmul_by(library), th.no_grad():
            start = time.perf_counter()
            for _ in range(n_times):
                for left, right, result in pairs:
                    th.mm(left, right, out=result)
            return (time.perf_counter() - start) / n_times

    n_times = max(1, int(SECONDS_A_ROUND / max(seconds("torch", 3), 1e-6)))
    seconds("onednn", n_times)  # its kernels are made in the first call
    rounds = [(seconds("torch", n_times), seconds("onednn", n_times)) for _ in range(ROUNDS)]
    ratios = sorted(onednn / default for default, onednn in rounds)
    return "onednn" if ratios[len(ratios) // 2] < 1 - MIN_GAIN else "torch"


@functools.cache
def keeps_precision(size: tuple[int, int, int] = (256, 256, 256)) -> bool:
    """
    Measure whether oneDNN is as accurate as the default library on this processor.

    :param size: of a product (m, k) x (k, n)
    :return: whether it is
    """
    m, k, n = size
    generator = th.Generator().manual_seed(0)
    left, right = th.randn(m, k, generator=generator), th.randn(n, k, generator=generator).t()
    return _error("onednn", left, right) <= MAX_ERROR_RATIO * _error("torch", left, right)


def _error(library: Library, left: th.Tensor, right: th.Tensor) -> float:
    """Largest error of a product beside that in float64."""
    with matmul_by(library), th.no_grad():
        return ((left @ right).double() - left.double() @ right.double()).abs().max().item()


def product_sizes(modules: list[nn.Module], n_rows: int) -> tuple[tuple[int, int, int], ...]:
    """
    The products that linear layers do in a gradient step: forward, back to the inputs, back to the weights.

    :param modules: networks
    :param n_rows: rows of a batch
    :return: (m, k, n) of products (m, k) x (k, n), each once, the largest last
    """
    linears = [layer for module in modules for layer in module.modules() if isinstance(layer, nn.Linear)]
    layers = {(layer.in_features, layer.out_features) for layer in linears}
    sizes = {size for k, n in layers for size in ((n_rows, k, n), (n_rows, n, k), (k, n_rows, n))}
    return tuple(sorted(sizes, key=lambda size: (size[0] * size[1] * size[2], size)))
