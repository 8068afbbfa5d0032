"""The packages and the machine that results come from."""

import os
import sys
from importlib import metadata
from pathlib import Path

PACKAGES = ("sb3_maxent", "stable_baselines3", "sb3_contrib", "rl_zoo3", "gymnasium", "torch", "numpy")


def versions() -> dict[str, str]:
    """
    :return: those that matter for the results, by package
    """
    return {"python": sys.version.split()[0], **{package: metadata.version(package) for package in PACKAGES}}


def machine() -> str:
    """
    :return: the processor's model and its number of cores
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        import platform

        model = platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores"
