"""The examples run, with few steps, and write their figures."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize(
    "command",
    [
        "exact_vs_learned.py --algo sql --steps 300",
        "exact_vs_learned.py --algo discretesac --steps 300",
        "plot_multigoal.py --algo sql --steps 540",
        "plot_multigoal.py --algo sac --steps 540 --ent-coef 0.5",
        "plot_multigoal.py --algo s2ac --env MultiGoalMaxEnt-v0 --steps 540 --obstacle",
        "composition.py --steps 540 --gradient-steps 3",
    ],
)
def test_example(command, tmp_path):
    name, *arguments = command.split()
    figure = tmp_path / "figure.png"
    command = [sys.executable, str(EXAMPLES / name), *arguments, "--output", str(figure)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert result.returncode == 0, result.stdout
    assert figure.read_bytes().startswith(b"\x89PNG") and "Saved" in result.stdout


def test_demo(tmp_path):
    command = [sys.executable, str(EXAMPLES / "demo.py"), "2100"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert result.returncode == 0, result.stdout
    assert (tmp_path / "demo" / "multigoal.png").read_bytes().startswith(b"\x89PNG")
    for name in ("S2AC", "SAC"):
        assert sum(line.startswith(f"{name} ") for line in result.stdout.splitlines()) == 1 + 6  # goals, probe states
