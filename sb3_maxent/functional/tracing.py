"""Whether torch records what is computed, to run it elsewhere: then a choice by the batch's size would hold for all sizes."""

import torch as th


def is_exporting() -> bool:
    """
    :return: whether ``torch.export``, ``torch.onnx`` or ``torch.jit.trace`` follows the computation (``torch.compile`` is
        none of these)
    """
    return th.compiler.is_exporting() or th.jit.is_tracing()
