"""DiscreteSAC learns CartPole with the hyperparameters of the zoo file, by the benchmark's own script."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parent.parent / "benchmarks" / "learning.py"


def run(tmp_path, *arguments):
    command = [sys.executable, str(BENCHMARK), "--csv", str(tmp_path / "out.csv"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.slow
def test_cartpole(tmp_path):
    result = run(tmp_path, "--algo", "discretesac", "--seeds", "1", "-n", "50000")
    assert result.returncode == 0, result.stdout
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [int(row["step"]) for row in rows] == list(range(5_000, 50_001, 5_000))
    assert float(rows[-1]["mean_return"]) >= 475


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
