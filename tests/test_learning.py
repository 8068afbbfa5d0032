"""The algorithms learn with the hyperparameters of their zoo files, by the benchmarks' own scripts."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def run(tmp_path, *arguments, script="learning.py"):
    command = [sys.executable, str(BENCHMARKS / script), "--csv", str(tmp_path / "out.csv"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("algo", ["discretesac", "sql"])
def test_cartpole(algo, tmp_path):
    result = run(tmp_path, "--algo", algo, "--seeds", "1", "-n", "50000")
    assert result.returncode == 0, result.stdout
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [int(row["step"]) for row in rows] == list(range(5_000, 50_001, 5_000))
    assert float(rows[-1]["mean_return"]) >= 475


@pytest.mark.slow
@pytest.mark.parametrize(("algo", "kl", "factor"), [("sql", 0.35, 2), ("s2ac", 0.3, 1.6), ("sacnf", 0.2, 1.5)])
def test_modes_of_a_bandit(algo, kl, factor, tmp_path):
    arguments = ["--task", "bandit-3", "bandit-4", "--algo", algo, "--seeds", "1"]
    result = run(tmp_path, *arguments, script="multimodal.py")
    assert result.returncode == 0, result.stdout
    for row in csv.DictReader((tmp_path / "out.csv").open()):
        measures = json.loads(row["measures"])
        assert measures["kl"] <= kl and measures["worst_factor"] <= factor, measures


@pytest.mark.slow
def test_goals(tmp_path):
    result = run(tmp_path, "--task", "multigoal", "--algo", "sql", "--seeds", "1", script="multimodal.py")
    assert result.returncode == 0, result.stdout
    (row,) = csv.DictReader((tmp_path / "out.csv").open())
    measures = json.loads(row["measures"])
    assert measures["success"] >= 0.95 and min(measures["shares"]) >= 0.1, measures


@pytest.mark.slow
def test_multimodal_script(tmp_path):
    """What it measures of barely trained policies is in range, and finished runs are skipped."""
    pytest.importorskip("rl_zoo3")
    arguments = ["--task", "bandit-4", "multigoal", "--algo", "sql", "sac", "--seeds", "1", "-n", "600"]
    first = run(tmp_path, *arguments, "--save", str(tmp_path / "models"), script="multimodal.py")
    assert first.returncode == 0, first.stdout + first.stderr
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert {(row["task"], row["algo"]) for row in rows} == {(t, a) for t in ("bandit-4", "multigoal") for a in ("sql", "sac")}
    assert len(list((tmp_path / "models").glob("*.zip"))) == 4
    for row in rows:
        measures = json.loads(row["measures"])
        assert measures.get("kl", 1) > 0.2 and len(measures["shares"]) == 4, "600 steps are too few for a good one"
        assert sum(measures["shares"]) == pytest.approx(measures.get("success", 1), abs=1e-3)
    assert run(tmp_path, *arguments, script="multimodal.py").stdout.count("already in") == 4
    assert "| bandit-4 | sac | 0 |" in run(tmp_path, "--report", script="multimodal.py").stdout


@pytest.mark.slow
def test_benchmark_script(tmp_path):
    """Finished runs are skipped, failed ones reported by the exit status, and the table is printed."""
    pytest.importorskip("rl_zoo3")
    small = ["-n", "500", "--seeds", "2", "--label", "tiny", "--hyperparams", "learning_starts:100", "train_freq:50"]
    first = run(tmp_path, "--algo", "discretesac", *small)
    assert first.returncode == 0, first.stdout + first.stderr
    content = (tmp_path / "out.csv").read_text()
    assert len(content.splitlines()) == 1 + 2 * 10
    second = run(tmp_path, "--algo", "discretesac", *small)
    assert second.returncode == 0 and second.stdout.count("already in") == 2
    assert (tmp_path / "out.csv").read_text() == content
    failed = run(tmp_path, "--algo", "discretesac", "-n", "500", "--seeds", "1", "--hyperparams", "no_such:1")
    assert failed.returncode == 1 and "no_such" in failed.stdout
    assert "| CartPole-v1 | discretesac tiny | 500 | 2 |" in run(tmp_path, "--report").stdout
    figure = tmp_path / "curves.png"
    assert "Saved" in run(tmp_path, "--env", "CartPole-v1", "--figure", str(figure)).stdout
    assert figure.read_bytes().startswith(b"\x89PNG")
