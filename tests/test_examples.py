"""The examples run, with few steps, and leave and print what they promise."""

import importlib.util
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
# Script and arguments, the files that it leaves, and some of what it prints
COMMANDS = [
    ("exact_vs_learned.py --algo sql --steps 300", "exact_vs_learned.png", "total variation"),
    ("exact_vs_learned.py --algo discretesac --steps 300", "exact_vs_learned.png", "total variation"),
    ("plot_multigoal.py --algo sql --steps 540", "multigoal.png", "Saved multigoal.png"),
    ("plot_multigoal.py --algo sac --steps 540 --ent-coef 0.5", "multigoal.png", "Saved multigoal.png"),
    ("plot_multigoal.py --algo s2ac --env MultiGoalMaxEnt-v0 --steps 540 --obstacle", "multigoal.png", "Saved multigoal.png"),
    ("composition.py --steps 540 --gradient-steps 3", "composition.png", "composed: {"),
    ("compare_bandit.py --steps 520", "compare_bandit.png", "SoftQLearning KL divergence from the optimum: "),
    (
        "discrete_sac.py --steps 800",
        "discrete_sac/progress.csv discrete_sac/model.zip discrete_sac/entropy.png",
        "return after 800 steps: ",
    ),
    ("soft_q_learning.py --steps 540", "soft_q_learning.zip soft_q_learning.png", "None: "),
    ("mixture_sac.py --steps 520", "mixture_sac.zip mixture_sac.png", "4 components KL divergence from the optimum: "),
    ("sacnf.py --steps 520", "sacnf.zip sacnf.png", "spline flow KL divergence from the optimum: "),
    ("s2ac.py --steps 540", "s2ac.zip s2ac.png", "entropy of the actions at [4, 0]: "),
    (
        "resume_training.py --steps 520",
        "resume_training.zip resume_training_buffer.pkl",
        "loaded: 520 steps, 520 transitions in the replay buffer\nafter: 1040 steps, return ",
    ),
    ("demo.py 2100", "demo/multigoal.png demo/goals.svg", "Saved demo/multigoal.png"),
    ("optimise.py --trials 1 --steps 60", "optimise/study.log", "Best of all trials: 0, with a mean return of "),
]
WITH_ZOO = ("demo.py", "optimise.py")
TAKE_LONG = (*WITH_ZOO, "s2ac.py", "composition.py", "compare_bandit.py", "plot_multigoal.py")
# Examples that are tested elsewhere
ELSEWHERE = {"custom_envs": "test_zoo.py", "original_sac": "test_extending.py"}
SHORT = ("discrete_sac", "soft_q_learning", "s2ac", "sacnf", "mixture_sac", "compare_bandit", "resume_training", "optimise")


@pytest.mark.parametrize(
    ("command", "files", "printed"),
    [pytest.param(*row, marks=pytest.mark.slow) if row[0].split()[0] in TAKE_LONG else row for row in COMMANDS],
    ids=[command for command, _, _ in COMMANDS],
)
def test_example(command, files, printed, tmp_path, monkeypatch, capfd):
    """In this process, which saves the imports; the zoo's commands, which two of them start, are processes of their own."""
    name, *arguments = command.split()
    if name in WITH_ZOO and importlib.util.find_spec("rl_zoo3") is None:
        pytest.skip("needs rl_zoo3")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    output = capfd.readouterr().out
    assert printed in output
    for file in files.split():
        assert Path(file).stat().st_size > 0
        assert not file.endswith(".png") or Path(file).read_bytes().startswith(b"\x89PNG")
    if name == "demo.py":
        for algorithm in ("S2AC", "SAC"):
            lines = [line for line in output.splitlines() if line.startswith(f"{algorithm} ")]
            assert len(lines) == 1 + 6, "goals, and the entropies in the probe states"
    elif name == "optimise.py":
        trial, constructor = output.split("Params: ")[1].split("Best of all trials")
        (ent_coef,) = [line.split()[1] for line in trial.splitlines() if line.startswith("    ent_coef: ")]
        assert f"'ent_coef': {ent_coef}," in constructor and "'policy_kwargs': {" in constructor


def test_each_example_has_a_test():
    tested = {command.split()[0] for command, _, _ in COMMANDS} | {f"{name}.py" for name in ELSEWHERE}
    assert {path.name for path in EXAMPLES.glob("*.py")} == tested
    for name, test in ELSEWHERE.items():
        assert name in (ROOT / "tests" / test).read_text()


@pytest.mark.parametrize("name", SHORT)
def test_examples_are_short(name):
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 40
