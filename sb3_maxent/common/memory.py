"""Memory that a gradient step gives back, kept for the next one."""

import torch as th

# A little less than the largest block from which glibc learns: 32 MiB on 64 bits (DEFAULT_MMAP_THRESHOLD_MAX)
_BLOCK = 31 * 2**20

# It learns from blocks that it got from the system. The first ones may fit into memory that a process has freed before
_N_BLOCKS = 4


def keep_freed_memory() -> None:
    """
    Let glibc keep the memory of freed tensors, up to 62 MiB of it.

    A gradient step with many particles makes and frees tensors of some MiB. glibc, the C library of most Linux systems, gives
    their memory back to the system each time, and the next step pays for getting it again, page by page. Its thresholds for
    that follow the largest block that was freed so far (``mallopt(3)``, "Dynamic adjustment of the mmap threshold"), so
    blocks that are freed unused raise them for good. They take no memory themselves. Elsewhere, or where the environment sets
    ``MALLOC_`` thresholds, nothing changes.
    """
    blocks = [th.empty(_BLOCK, dtype=th.uint8) for _ in range(_N_BLOCKS)]
    del blocks
