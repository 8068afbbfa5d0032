"""Random tensors, smooth functions and a watch on memory for the tests of `functional`."""

import torch as th
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def draw(*shape, seed=0, dtype=th.float64):
    """Standard normal numbers."""
    return th.randn(*shape, generator=th.Generator().manual_seed(seed), dtype=dtype)


def smooth_map(n_inputs, n_outputs, seed=0, dtype=th.float64):
    """A random two-layer network with tanh units, (..., n_inputs) to (..., n_outputs); and its two matrices."""
    first = draw(24, n_inputs, seed=seed, dtype=dtype) / n_inputs**0.5
    second = draw(n_outputs, 24, seed=seed + 1, dtype=dtype) / 5
    return (lambda x: th.tanh(x @ first.T) @ second.T), (first, second)


class _Sizes(TorchDispatchMode):
    largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        outputs = function(*args, **(kwargs or {}))
        for output in tree_leaves(outputs):
            if isinstance(output, th.Tensor):
                self.largest = max(self.largest, output.numel())
        return outputs


def largest_tensor(function):
    """Elements of the largest tensor (broadcast views included) that a function creates, in backward passes, too."""
    with _Sizes() as sizes:
        function()
    return sizes.largest
