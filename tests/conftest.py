"""The files that take longest come first, so that no process is left with one of them when the others are done."""

import pytest

LONGEST = (
    "test_zoo.py",
    "test_compare.py",
    "test_docs.py",
    "test_examples.py",
    "test_exact_tabular.py",
    "test_save_load.py",
    "test_sacnf.py",
)


def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    """Everything that a comparison starts or imports replaced, and the working folder an empty one"""
    # Not before: they need the extra, and importing rl_zoo3 replaces Gymnasium's TimeLimit, also for the tests of other files
    from comparisons import Fakes, read_hyperparams

    from sb3_maxent import zoo
    from sb3_maxent.compare import __main__ as command
    from sb3_maxent.compare import report, runs

    control = tmp_path / "control"
    control.mkdir()
    fakes = Fakes(control)
    monkeypatch.setattr(runs, "LAUNCHER", fakes.launcher)
    monkeypatch.setattr(command, "TICK_SECONDS", 0.05)
    monkeypatch.setattr(zoo, "algorithms", lambda: ["s2ac", "sac", "sql", "discretesac", "tqc", "dqn"])
    monkeypatch.setattr(zoo, "read_hyperparams", read_hyperparams)
    monkeypatch.setattr(report, "write_report", lambda folder, results, settings: folder / "report.html")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return fakes
