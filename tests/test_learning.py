"""The algorithms learn with the hyperparameters of their zoo files, by the comparison and the scripts of the benchmarks."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
THREE = ["--env-kwargs", "means:[[0.6,0],[-0.4,0.5],[-0.4,-0.5]]", "weights:[0.5,0.3,0.2]"]


@pytest.fixture(autouse=True)
def needs_the_zoo():
    pytest.importorskip("rl_zoo3")


def run(folder, *command):
    result = subprocess.run([sys.executable, *map(str, command)], cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def compare(folder, algos, env, n, *arguments, seeds=1):
    words = ["--algos", *algos, "--envs", env, "-n", n, "--seeds", seeds, "-f", folder / "runs", *arguments]
    run(folder, "-m", "sb3_maxent.compare", *words)
    return list(csv.DictReader((folder / "runs" / "results.csv").open()))


def measured(folder, *arguments):
    """What benchmarks/multimodal.py finds, a dictionary for each agent"""
    run(folder, BENCHMARKS / "multimodal.py", "-f", "runs", "--csv", "out.csv", *arguments)
    rows = list(csv.DictReader((folder / "out.csv").open()))
    return [{**row, **json.loads(row["measures"])} for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("algo", ["discretesac", "sql"])
def test_cartpole(algo, tmp_path):
    rows = compare(tmp_path, [algo], "CartPole-v1", 50_000)
    assert [int(row["step"]) for row in rows] == list(range(5_000, 50_001, 5_000))
    assert float(rows[-1]["mean_return"]) >= 475


@pytest.mark.slow
@pytest.mark.parametrize("kwargs", [[], THREE])
@pytest.mark.parametrize(
    ("algo", "kl", "factor"), [("sql", 0.35, 2), ("s2ac", 0.3, 1.6), ("sacnf", 0.2, 1.5), ("mixturesac", 0.2, 1.4)]
)
def test_modes_of_a_bandit(algo, kl, factor, kwargs, tmp_path):
    compare(tmp_path, [algo], "MixtureBandit-v0", 20_000, *kwargs)
    (row,) = measured(tmp_path)
    assert row["task"] == ("bandit-3" if kwargs else "bandit-4")
    assert row["kl"] <= kl and row["worst_factor"] <= factor, row


@pytest.mark.slow
def test_goals(tmp_path):
    compare(tmp_path, ["sql"], "MultiGoal-v0", 20_000)
    (row,) = measured(tmp_path)
    assert row["success"] >= 0.95 and min(row["shares"]) >= 0.1, row


@pytest.mark.slow
def test_multimodal_script(tmp_path):
    """What it measures of barely trained policies is in range, and what is there already is skipped."""
    variant = ["--variant", "sql-warm=sql,ent_coef:0.7"]
    compare(tmp_path, ["sql", "sac"], "MixtureBandit-v0", 600, *variant)
    compare(tmp_path, ["sql", "sac"], "MultiGoal-v0", 600, *variant)
    rows = measured(tmp_path, "--episodes", "20")
    expected = {("sql", ""), ("sac", ""), ("sql", "warm")}
    assert {(row["algo"], row["label"]) for row in rows if row["task"] == "bandit-4"} == expected
    assert {(row["algo"], row["label"]) for row in rows if row["task"] == "multigoal"} == expected and len(rows) == 6
    for row in rows:
        assert row.get("kl", 1) > 0.2 and len(row["shares"]) == 4, "600 steps are too few for a good one"
        assert sum(row["shares"]) == pytest.approx(row.get("success", 1), abs=1e-3)
        assert row["steps"] == "600" and float(row["seconds"]) > 0 and "torch==" in row["versions"]
        assert row["hyperparams"] == ("ent_coef:0.7" if row["label"] else "")
    assert measured(tmp_path, "--episodes", "20") == rows
    assert "| bandit-4 | sac | 0 |" in run(tmp_path, BENCHMARKS / "multimodal.py", "--report", "--csv", "out.csv")


@pytest.mark.slow
def test_curves_script(tmp_path):
    """From a comparison's file, and from an older one with labels."""
    compare(tmp_path, ["discretesac"], "CartPole-v1", 500, "--hyperparams", "learning_starts:100", seeds=2)
    older = BENCHMARKS / "data" / "s2ac.csv"
    for file, envs in (("runs/results.csv", ["CartPole-v1"]), (older, ["Hopper-v5", "HalfCheetah-v5"])):
        run(tmp_path, BENCHMARKS / "curves.py", "--csv", file, "--env", *envs, "--figure", "curves.svg")
        figure = (tmp_path / "curves.svg").read_text()
        assert figure.count("environment steps") == len(envs) and all(env in figure for env in envs)
