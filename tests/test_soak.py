"""Nothing grows during a long training: benchmarks/soak.py with fewer steps, and its measurements themselves."""

import importlib

import pytest
from stable_baselines3.common.logger import configure

from sb3_maxent import zoo

pytest.importorskip("psutil")


@pytest.fixture(scope="module")
def soak():
    """The script as a module, which needs psutil."""
    return importlib.import_module("soak")


CONFIGURATIONS = ("SoftQLearning-Discrete", "SoftQLearning-Box", "DiscreteSAC", "S2AC", "SACNF", "MixtureSAC")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["compiled", "eager"])
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_nothing_grows(soak, name, mode):
    rows = soak.run(name, mode, 20_000)
    assert rows[-1]["gradient steps"] == 20_000 and len(rows) >= soak.MEASUREMENTS
    grown = {column: soak.growth(rows, column) for column in soak.COLUMNS[5:10]}
    assert grown["resident bytes"] < 0.01 and grown["Python objects"] < 0.001, grown
    assert grown["open files"] == grown["logged names"] == grown["longest container"] == 0, grown
    assert rows[-1]["longest container"] <= 100, "SB3 keeps a window of 100 episodes, and nothing of ours keeps more"
    assert rows[-1]["episodes of Monitor"] > 400, "what SB3's Monitor keeps of each episode, which is all that grows"


def test_the_configurations_are_all(soak):
    assert set(soak.CONFIGURATIONS) == set(CONFIGURATIONS)
    soaked = {algorithm for algorithm, *_ in soak.CONFIGURATIONS.values()}
    assert soaked == {entry.algorithm for entry in zoo.ALGORITHMS.values()}, "an algorithm that is not tried at all"


def test_growth_is_seen(soak):
    """After the warm-up, and not before it."""
    rows = [{"gradient steps in all": 100, "gradient steps": step, "MB": 100 + (step > 20) * step / 10} for step in range(101)]
    assert soak.growth(rows, "MB") == pytest.approx(0.1)
    early = [{**row, "MB": min(row["gradient steps"], 20)} for row in rows]
    assert soak.growth(early, "MB") == 0


@pytest.mark.slow
def test_a_run_is_measured(soak, capsys, tmp_path):
    soak.soak("SoftQLearning-Discrete", "eager", 160)
    lines = capsys.readouterr().out.splitlines()
    rows = soak.read(lines)
    assert [row["gradient steps"] for row in rows][-1] == 160 and rows[0]["gradient steps"] == 0
    assert rows[-1]["resident bytes"] > 50e6 and rows[-1]["open files"] > 0 and rows[-1]["Python objects"] > 10_000
    assert rows[-1]["episodes of Monitor"] == 24 and rows[-1]["longest container"] >= 24

    path = tmp_path / "soak.csv"
    path.write_text("\n".join([",".join(soak.COLUMNS), *lines]) + "\n")
    assert soak.runs_of(path) == {("SoftQLearning-Discrete", "eager", 160): rows}
    soak.print_table(soak.runs_of(path))
    assert "| SoftQLearning-Discrete | eager | 160 |" in capsys.readouterr().out


def test_longer_runs_replace_shorter_ones(soak, tmp_path):
    def rows(name, mode, total):
        return [{**dict.fromkeys(soak.COLUMNS, 1), "configuration": name, "mode": mode, "gradient steps in all": total}]

    keys = [("S2AC", "eager", 10), ("SACNF", "eager", 10), ("SACNF", "eager", 20), ("SACNF", "compiled", 10)]
    runs = {key: rows(*key) for key in keys}
    runs = soak.merged(runs, ("SACNF", "eager", 15), rows("SACNF", "eager", 15))
    left = [("SACNF", "compiled", 10), ("SACNF", "eager", 15), ("SACNF", "eager", 20), ("S2AC", "eager", 10)]
    assert list(runs) == left, "not the longer ones, nor those of another mode; S2AC last"
    path = tmp_path / "new" / "soak.csv"
    soak.write(runs, path)
    assert soak.runs_of(path) == runs and [file.name for file in path.parent.iterdir()] == ["soak.csv"]


def test_containers_that_grow_are_found(soak):
    model = soak.SoftQLearning("MlpPolicy", soak.Noise(soak.DISCRETE), buffer_size=10)
    model.set_logger(configure(None, []))
    before = soak.longest_container(model)
    model.temperature.everything = list(range(before + 5))
    assert soak.longest_container(model) == before + 5
