"""The report of a comparison: its statistics against numbers by hand and an independent bootstrap, its files, its look."""

import csv
import math
import os
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rliable", reason="needs the extra compare")
pytest.importorskip("markdown_it", reason="needs the extra compare")
import rliable.library
from matplotlib import rc_context
from matplotlib.figure import Figure
from rliable import metrics

from sb3_maxent.compare import report, scores
from sb3_maxent.compare.report import draw_learning_curves, write_report
from sb3_maxent.compare.results import COLUMNS, RECORDED, Result, read_csv, write_csv
from sb3_maxent.compare.scores import learning_curve, milestones, scores_at
from sb3_maxent.reporting import formatting, statistics
from sb3_maxent.reporting.statistics import probability_of_improvement, summarise

ROOT = Path(__file__).parents[1]
SETTINGS: dict[str, Any] = {
    "command": "python -m sb3_maxent.compare --algos sac | tee log",
    "seeds": [0, 1, 2],
    "conf": None,
    "versions": {"torch": "2.13.0"},
    "hyperparams": {"sac": {"A-v0": "gamma: 0.9", "B-v0": f"policy_kwargs: dict(net_arch={[64] * 20})"}},
}


def run(algo, env, seed, scores, status="finished", steps=None, seconds=10.0, spread=1.0, n_timesteps=None):
    """A run with evaluations of two episodes, the scores -+ ``spread``"""
    scores = np.asarray(scores, dtype=float)
    steps = np.arange(1, len(scores) + 1) * 100 if steps is None else np.asarray(steps)
    returns = np.stack([scores - spread, scores + spread], axis=1)
    n_timesteps = n_timesteps or (int(steps[-1]) if len(steps) else 400)
    return Result(algo, env, seed, n_timesteps, status, steps, returns, seconds if status == "finished" else None)


def random_runs(algos, envs, n_seeds, rng, n_evaluations=4):
    return [
        run(algo, env, seed, (place + 1) * np.arange(n_evaluations) + rng.normal(size=n_evaluations))
        for env in envs
        for place, algo in enumerate(algos)
        for seed in range(n_seeds)
    ]


def tables(markdown):
    """Rows of cells without backticks, by the heading above"""
    found: dict[str, list] = {}
    heading = ""
    for line in markdown.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ").replace("`", "")
        elif line.startswith("| ") and not line.startswith("| ---"):
            cells = re.split(r" (?<!\\)\| ", line.removeprefix("| ").removesuffix(" |"))
            found.setdefault(heading, []).append([cell.replace("`", "") for cell in cells])
    return found


@pytest.fixture
def few(monkeypatch):
    """Intervals that are quick, where their numbers don't matter"""
    monkeypatch.setattr(statistics, "REPETITIONS", 50)
    monkeypatch.setattr(scores, "CURVE_REPETITIONS", 20)


# ---------------------------------------------------------------------- statistics


def test_steps_per_second_are_those_that_were_taken(few, tmp_path):
    asked, more = run("sac", "A-v0", 0, [1, 2]), run("ppo", "A-v0", 0, [1, 2])
    write_report(tmp_path, [asked, replace(more, num_timesteps=4000)], SETTINGS)
    speeds = {line[0]: line[-1] for line in tables((tmp_path / "report.md").read_text())["A-v0"]}
    assert speeds == {"algorithm": "steps/s", "sac": "20", "ppo": "400"}


def test_estimates_by_hand():
    estimates = summarise(np.array([[0.0], [10], [1], [2], [3], [100], [4], [5]]))
    assert estimates["mean"].value == 125 / 8
    assert estimates["median"].value == 3.5
    assert estimates["IQM"].value == (2 + 3 + 4 + 5) / 4  # without 0, 1 and 10, 100
    # Five runs: a quarter is one run
    assert summarise(np.array([[9.0], [0], [1], [2], [99]]))["IQM"].value == 4
    # Over two environments the median is the one of their means
    estimates = summarise(np.array([[0.0, 1], [0, 2], [3, 3]]))
    assert estimates["mean"].value == estimates["median"].value == 1.5
    assert estimates["IQM"].value == (0 + 1 + 2 + 3) / 4


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (5, 1), (8, 1), (5, 3), (10, 2)])
def test_estimates_are_those_of_rliable(shape):
    scores = np.random.default_rng(0).normal(size=shape)
    estimates = summarise(scores)
    assert estimates["IQM"].value == pytest.approx(metrics.aggregate_iqm(scores))
    assert estimates["mean"].value == pytest.approx(metrics.aggregate_mean(scores))
    median = metrics.aggregate_median(scores) if shape[1] > 1 else np.median(scores)
    assert estimates["median"].value == pytest.approx(median)
    assert all(math.isnan(estimate.low) == (len(scores) == 1) for estimate in estimates.values())


@pytest.mark.parametrize("shape", [(2, 1), (7, 1), (5, 3)])
def test_intervals_are_those_of_rliable(shape):
    """The same resamples, one after the other."""
    scores = np.random.default_rng(1).normal(size=shape)

    def function(sample):
        median = np.median(sample.mean(axis=0)) if shape[1] > 1 else np.median(sample)
        return np.array([sample.mean(), median, metrics.aggregate_iqm(sample)])

    expected = statistics.bootstrap(function, [scores], statistics.REPETITIONS)
    np.testing.assert_allclose(np.transpose(list(summarise(scores).values())), expected)


def test_interval_against_another_bootstrap():
    rng = np.random.default_rng(1)
    scores = rng.normal(5, 2, size=(10, 3))
    # Strata: each environment is resampled by itself
    resampled = np.stack([column[rng.integers(10, size=(4000, 10))] for column in scores.T], axis=2)  # (4000, 10, 3)
    pooled = np.sort(resampled.reshape(4000, 30), axis=1)[:, 7:23]
    expected = {
        "mean": resampled.mean(axis=(1, 2)),
        "IQM": pooled.mean(axis=1),
        "median": np.median(resampled.mean(1), axis=1),
    }
    estimates = summarise(scores)
    for name, values in expected.items():
        low, high = np.quantile(values, [0.025, 0.975])
        assert estimates[name][1:] == pytest.approx([low, high], abs=0.05 * (high - low)), name
    assert estimates == summarise(scores)


def test_global_generator_is_left_alone():
    np.random.seed(5)
    expected = np.random.random(2)
    np.random.seed(5)
    first = np.random.random()
    summarise(np.arange(3.0)[:, None])
    assert [first, np.random.random()] == list(expected)


def test_probability_of_improvement_by_hand():
    low, high = np.array([1.0, 2, 3]), np.array([10.0, 20])
    assert [estimate.value for estimate in probability_of_improvement([(high, low)])] == [1, 1]
    # Of six pairs X is higher in two and equal in one; then 0.5 where all are equal
    estimates = probability_of_improvement([(np.array([2.0, 5]), np.array([2.0, 4, 9])), (np.ones(4), np.ones(2))])
    assert [estimate.value for estimate in estimates] == [(2 + 0.5) / 6, 0.5, ((2 + 0.5) / 6 + 0.5) / 2]
    assert estimates[1] == (0.5, 0.5, 0.5)
    assert estimates[0].low < estimates[0].value < estimates[0].high
    # One run has no interval, and so the mean has none
    single, both, mean = probability_of_improvement([(np.ones(1), low), (high, low)])
    assert single.value == 1 / 6 and math.isnan(single.low)
    assert both == (1, 1, 1) and mean.value == (1 / 6 + 1) / 2 and math.isnan(mean.high)


@pytest.mark.filterwarnings("ignore:.*p-value")
def test_probability_of_improvement_is_that_of_rliable():
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 6, size=(7, 2)).astype(float), rng.integers(1, 7, size=(5, 2)).astype(float)
    mean = probability_of_improvement(list(zip(x.T, y.T, strict=True)))[-1]
    assert mean.value == pytest.approx(metrics.probability_of_improvement(x, y))


def test_performance_profile_is_that_of_rliable():
    scores, thresholds = np.random.default_rng(3).random((5, 3)), np.linspace(0, 1, 7)
    values, intervals = rliable.library.create_performance_profile({"x": scores}, thresholds, reps=2000)
    share, low, high = statistics.performance_profile(scores, thresholds)
    assert share == pytest.approx(values["x"]) and share[0] == 1 and share[-1] == 0
    np.testing.assert_allclose([low, high], intervals["x"], atol=0.07)  # it resamples by chance
    one, *no_interval = statistics.performance_profile(np.array([[0.2, 0.6, 1.0]]), np.array([0.0, 0.2, 0.5, 1.0]))
    assert one == pytest.approx([1, 2 / 3, 2 / 3, 0]) and np.isnan(no_interval).all()


def test_normalised_scores():
    scores = statistics.normalise({"a": np.array([2.0, 4]), "b": np.array([-6.0])})
    assert {algo: list(values) for algo, values in scores.items()} == {"a": [0.8, 1], "b": [0]}
    assert statistics.normalise({"a": np.array([3.0, 3])})["a"].tolist() == [0.5, 0.5]


def test_curve_at_common_steps():
    first = run("sac", "E", 0, [0, 10, 20, 30], steps=[100, 200, 300, 400])
    second = run("sac", "E", 1, [5, 25], steps=[150, 350])
    stopped = run("sac", "E", 2, [7], "unfinished")
    curve = learning_curve([first, second, stopped, run("sac", "E", 3, [], "missing")])
    assert curve.steps.tolist() == [150, 200, 300, 350]  # only what both reached
    assert curve.iqm.tolist() == [(5 + 5) / 2, (10 + 10) / 2, (20 + 20) / 2, (25 + 25) / 2]
    assert (curve.n_counted, curve.n_runs, curve.others) == (2, 4, (stopped,))

    curve = learning_curve([run("sac", "E", seed, [0, seed]) for seed in range(5)])
    assert curve.iqm.tolist() == [0, 2] and curve.low[0] == curve.high[0] == 0
    assert 0 <= curve.low[1] < 2 < curve.high[1] <= 4


def test_curve_of_odd_runs():
    one = learning_curve([run("sac", "E", 0, [1, 2])])
    assert one.iqm.tolist() == [1, 2] and np.isnan([one.low, one.high]).all()
    # No step in common: each by itself
    apart = learning_curve([run("sac", "E", 0, [1], steps=[100]), run("sac", "E", 1, [1], steps=[200])])
    assert len(apart.steps) == 0 and apart.n_counted == 0 and len(apart.others) == 2
    # A score that is not a number leaves a gap, even where it would be cut from the IQM; such a final score leaves the run out
    gap = learning_curve([run("sac", "E", seed, [1, math.nan if seed == 0 else 1, 3]) for seed in range(4)])
    assert np.isnan(gap.iqm).tolist() == np.isnan(gap.low).tolist() == [False, True, False]
    diverged = learning_curve([run("sac", "E", 0, [1, math.nan]), run("sac", "E", 1, [2, 3])])
    assert diverged.n_counted == 1 and diverged.iqm.tolist() == [2, 3]
    long = learning_curve([run("sac", "E", 0, np.arange(1000.0))])
    assert len(long.steps) == 200 and (long.steps[0], long.steps[-1]) == (100, 100_000)


def test_scores_on_the_way():
    runs = [run("sac", "E", seed, np.arange(1, 9) * 10 * (1 + seed)) for seed in range(3)]
    assert milestones(runs) == [200, 400, 800]
    expected = [[20, 25], [40, 50], [60, 75]]
    np.testing.assert_allclose(scores_at(runs, [200, 250]), expected, err_msg="250 is between two evaluations")
    assert milestones([*runs, run("sac", "E", 3, [1, 2], steps=[50, 400])]) == [100, 200, 400], "up to where all came"
    assert milestones([*runs, run("sac", "E", 3, [1], steps=[50])]) == [], "nothing in common"
    assert milestones(runs, (0.5, 0.51)) == [400], "each step once"
    assert milestones([]) == []


def test_report_has_scores_on_the_way(few, tmp_path):
    runs = [run(algo, "E", 0, np.arange(1, 9) * factor) for algo, factor in (("sac", 1.0), ("sql", 2.0))]
    runs += [run("sql", "E", 1, [2, math.nan, 6, 8, 10, 12, 14, 16])]
    header, sql, sac = tables(write_report(tmp_path, runs, {}).with_suffix(".md").read_text())["E: IQM on the way"]
    assert header == ["algorithm", "200 steps", "400 steps", "800 steps"]
    assert sql[0] == "sql" and sac[0] == "sac", "in the order of the table above"
    assert sql[1] == "-" and [float(cell.split()[0]) for cell in sql[2:]] == [8, 16]
    assert [float(cell.split()[0]) for cell in sac[1:]] == [2, 4, 8]
    short = write_report(tmp_path, [run("sac", "E", 0, [1])], {}).with_suffix(".md")
    assert "E: IQM on the way" not in short.read_text(), "one step is what the table has already"
    apart = [run("sac", "E", 0, [1, 2], steps=[10, 20]), run("sql", "E", 0, [1, 2], steps=[50, 100])]
    text = write_report(tmp_path, apart, {}).with_suffix(".md").read_text()
    assert "E: IQM on the way" not in text and "`E` has no step that all runs reached" in text


def test_draw_learning_curves():
    curves = [
        learning_curve([run("sac", "E", seed, [0, 1]) for seed in range(3)]),
        report._no_curve("tqc"),
        learning_curve([run("sql", "E", 0, [0, 1]), run("sql", "E", 1, [0], "failed")]),
        learning_curve([run("s2ac", "E", 0, [0, 1], "unfinished")]),
    ]
    axes = Figure().subplots()
    draw_learning_curves(axes, curves)
    handles, labels = axes.get_legend_handles_labels()
    assert labels == ["sac", "sql (1 of 2 runs)", "s2ac (none of 1 run)"]
    # The look is that of the place, whatever could be drawn before
    assert [handle.get_color() for handle in handles] == [formatting.COLOURS[place] for place in (0, 2, 3)]
    assert sorted(str(line.get_marker()) for line in axes.lines if str(line.get_label()).startswith("_")) == ["None", "o", "x"]
    looks = {(formatting.look(place)["color"], str(formatting.look(place)["linestyle"])) for place in range(28)}
    assert len(looks) == 28


# ---------------------------------------------------------------------- the files


def test_csv_is_read_as_it_was_written(tmp_path):
    numbers = {"eval_freq": 10, "eval_episodes": 2, "num_timesteps": 512}
    of_run = {"algo": "sac", "env": "A-v0", "seed": 3, "n_timesteps": 400, "variant": ""}
    record = {
        **dict.fromkeys(RECORDED, 'a "b", c'),
        **numbers,
        **of_run,
        "versions": {"torch": "2"},
        "hyperparams": {"tau": 1},
    }
    results = [
        replace(run("sac", "A-v0", 3, [1, np.nan, 1 / 3], seconds=1.25, n_timesteps=400), record=record, num_timesteps=512),
        run("sac", "B-v0", 3, [2], steps=[50], status="unfinished"),
        run("a variant", "A-v0", 0, [], status="missing"),
    ]
    write_csv(tmp_path / "results.csv", results)
    for read, written in zip(read_csv(tmp_path / "results.csv"), results, strict=True):
        for name in ("key", "status", "n_timesteps", "seconds", "num_timesteps", "record", "steps", "summary"):
            np.testing.assert_array_equal(getattr(read, name), getattr(written, name), name)
        assert read.returns.shape == (len(read.steps), 0)
    (tmp_path / "other.csv").write_text("algo,env,seed,step\nsac,A-v0,0,100\n")
    with pytest.raises(
        ValueError, match=r"other\.csv is no results\.csv of a comparison: it has no column status, n_timesteps"
    ):
        read_csv(tmp_path / "other.csv")
    text = (tmp_path / "results.csv").read_text()
    assert text.count("num_timesteps") == 1  # not with every evaluation
    write_csv(tmp_path / "older.csv", [replace(each, record=None) for each in results])
    lines = (tmp_path / "older.csv").read_text().splitlines()
    (tmp_path / "older.csv").write_text(
        "\n".join([lines[0].removesuffix(",run"), *(line.removesuffix(",") for line in lines[1:])])
    )
    assert [(each.key, each.record) for each in read_csv(tmp_path / "older.csv")] == [(each.key, None) for each in results]
    for of_record, bad in {
        '""machine""': '""engine""',
        '{""torch"": ""2""}': "5",
        '""2""': "2",
        '{""tau"": 1}': "null",
        ": 512": ": null",
        "{": '""',
    }.items():
        (tmp_path / "bad.csv").write_text(text.replace(of_record, bad))
        with pytest.raises(ValueError, match=r"bad\.csv can't be read: "):
            read_csv(tmp_path / "bad.csv")
    # What the file says of a run counts: somebody may have given it another name. The order of the lines does not
    (tmp_path / "named.csv").write_text(
        "\n".join([lines[0], *(line.replace("sac,", "old,", 1) for line in text.splitlines()[:0:-1])])
    )
    named = {each.key: each for each in read_csv(tmp_path / "named.csv")}["old", "A-v0", 3]
    assert named.record == {**record, "variant": "old"} and list(named.steps) == list(results[0].steps)
    (tmp_path / "bad.csv").write_text(text.replace('""machine""', '""engine""'))
    with pytest.raises(ValueError, match=r"bad\.csv can't be read: the column run must have algo, device, .* not .*engine"):
        read_csv(tmp_path / "bad.csv")
    (tmp_path / "cut.csv").write_text(text[: text.index("0.333")])
    with pytest.raises(ValueError, match=r"cut\.csv can't be read: could not convert string to float: ''"):
        read_csv(tmp_path / "cut.csv")


def test_report_of_two_environments(tmp_path):
    results = random_runs(["sac", "tqc", "sql"], ["Pendulum-v1", "MultiGoal-v0"], 5, np.random.default_rng(3))
    page = write_report(tmp_path, results, SETTINGS)
    markdown = (tmp_path / "report.md").read_text()
    assert page == tmp_path / "report.html"
    names = ("curves_Pendulum-v1", "curves_MultiGoal-v0", "aggregate")
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"{name}.{end}" for name in names for end in ("svg", "png")
    }
    assert re.findall(r"!\[[^]]+\]\(figures/(.+)\.svg\)", markdown) == list(names)

    # The CSV's last evaluations give the tables' numbers
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert tuple(rows[0]) == COLUMNS and len(rows) == len(results) * 4
    assert {(row["status"], row["n_episodes"], row["seconds"]) for row in rows} == {("finished", "2", "10.0")}
    assert all(float(row["std_return"]) == pytest.approx(1) for row in rows)
    found = tables(markdown)
    for env in ("Pendulum-v1", "MultiGoal-v0"):
        head, *lines = found[env]
        assert head == ["algorithm", "runs", "IQM", "mean", "median", "wall-clock", "steps/s"]
        assert [line[0] for line in lines] == ["sql", "tqc", "sac"]  # best first
        for algo, finished, iqm, mean, median, seconds, speed in lines:
            scores = [
                float(row["mean_return"]) for row in rows if (row["algo"], row["env"], row["step"]) == (algo, env, "400")
            ]
            assert len(scores) == 5 and (finished, seconds, speed) == ("5 of 5", "10.0 s", "40")
            for text, expected in ((iqm, np.mean(sorted(scores)[1:4])), (mean, np.mean(scores)), (median, np.median(scores))):
                value, low, high = map(float, re.fullmatch(r"(\S+) \[(\S+), (\S+)\]", text).groups())
                assert value == pytest.approx(expected, abs=0.006) and low < value < high

    pairs = found["Probability of improvement"]
    assert pairs[0] == ["X over Y", "Pendulum-v1", "MultiGoal-v0", "mean"]
    assert [row[0] for row in pairs[1:]] == ["sac over tqc", "sac over sql", "tqc over sql"]
    assert all(float(row[3].split()[0]) < 0.2 for row in pairs[1:])
    # Normalised: by hand
    everything = {env: [report.final_score(r) for r in results if r.env == env] for env in ("Pendulum-v1", "MultiGoal-v0")}
    expected = np.mean([(np.mean(scores[10:]) - min(scores)) / np.ptp(scores) for scores in everything.values()])
    head, best, *_ = found["Over the environments"]
    assert best[:2] == ["sql", "5"] and float(best[3].split()[0]) == pytest.approx(expected, abs=6e-4)
    assert "Nothing: all runs finished" in markdown and "Incomplete" not in markdown and "(incomplete)" not in markdown
    verdict = found["Verdict"]
    assert [row[0] for row in verdict[1:]] == ["Pendulum-v1", "MultiGoal-v0"]
    for env, best, iqm, second, probability, word in verdict[1:]:
        assert (best, second) == ("sql", "tqc") and iqm == found[env][1][2] and word == "better"
        assert float(probability.split()[0]) > 0.5
    assert found["Settings"][1:] == [
        ["command", "python -m sb3_maxent.compare --algos sac \\| tee log"],
        ["seeds", "0, 1, 2"],
        ["conf", "-"],
        ["versions", "torch: 2.13.0"],
        ["hyperparams, sac, A-v0", "gamma: 0.9"],
        ["hyperparams, sac, B-v0", SETTINGS["hyperparams"]["sac"]["B-v0"]],
    ]


def test_profiles_of_three_environments(few, tmp_path):
    results = random_runs(["sac", "sql"], ["A-v0", "B-v0", "C-v0"], 3, np.random.default_rng(4))
    page = write_report(tmp_path, results, {}).read_text()
    assert (tmp_path / "figures" / "profiles.svg").is_file() and "Performance profiles</h3>" in page
    final = {algo: [scores.final_score(run) for run in results if run.algo == algo] for algo in ("sac", "sql")}
    above = []
    for env in range(3):
        values = {algo: np.array(of_algo[3 * env : 3 * env + 3]) for algo, of_algo in final.items()}
        everything = np.concatenate(list(values.values()))
        above.append((values["sql"] - everything.min()) / np.ptp(everything) > 0.5)
    assert f"normalised score above 0.5: {np.mean(above):.2f} for sql, " in page
    # One environment less: they are gone
    write_report(tmp_path, results[:12], {})
    assert not (tmp_path / "figures" / "profiles.svg").exists()


def test_figures_say_in_words_what_they_show(few, tmp_path):
    results = [run(algo, env, seed, [0, last]) for algo, last in (("sac", 7), ("sql", 9)) for env in "AB" for seed in (0, 1)]
    page = write_report(tmp_path, results, {}).read_text()
    titles = re.findall(r"<title id=[^>]*>([^<]+)</title>", page)
    assert titles[0] == "Learning curves on A; IQM at the end 7.00 for sac, 9.00 for sql"
    assert titles[2].endswith("with 95% intervals; IQM 1.000 for sql, 0.000 for sac")


def test_runs_that_do_not_tell_apart(few, tmp_path):
    results = [run(algo, "A-v0", seed, [0, seed]) for algo in ("sac", "sql") for seed in range(4)]
    write_report(tmp_path, results, {})
    ((*_, word),) = tables((tmp_path / "report.md").read_text())["Verdict"][1:]
    assert word == "not told apart"


def test_sections_of_the_page(few, tmp_path):
    """Verdict and tables first, settings folded at the end, a link to each section."""
    results = random_runs(["sac", "sql"], ["A-v0", "B-v0"], 3, np.random.default_rng(4))
    page = write_report(tmp_path, results, {"note": "of the settings"}).read_text()
    sections = [
        "Verdict", "A-v0", "B-v0", "Probability of improvement", "Over the environments", "What is missing", "How to read it",
        "Settings",
    ]  # fmt: skip
    links = re.findall(r'<a href="#(section-\d)">([^<]+)</a>', page)
    assert [name for _, name in links] == sections
    assert [page.index(f'id="{link}"') for link, _ in links] == sorted(page.index(f'id="{link}"') for link, _ in links)
    assert "of the settings" in re.search(r"<details.*?</details>", page, re.DOTALL)[0]
    assert page.count("<details") == page.count("</details>") == 1


def test_same_runs_same_report(few, tmp_path):
    results = random_runs(["sac", "sql"], ["A-v0", "B-v0"], 3, np.random.default_rng(4))
    for name in ("first", "second"):
        write_report(tmp_path / name, results, SETTINGS)
        np.random.random()
    files = [path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*.*")]
    assert len(files) == 3 + 2 * 3
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes(), file


def test_report_is_self_contained(few, tmp_path):
    results = random_runs(["sac", "sql"], ["A-v0", "B-v0"], 2, np.random.default_rng(5))
    page = write_report(tmp_path, results, {"note": "<script>alert(1)</script>"}).read_text()
    assert len(page) < 200_000
    assert all(link.startswith(("#", "data:,")) for link in re.findall(r"""(?:src|href)=["']([^"']*)""", page))
    assert "url(" not in page.replace("url(#", "") and "@import" not in page
    # Only namespaces, which are names
    assert set(re.findall(r"https?://[^\"'\s<]+", page)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert str(tmp_path) not in page and "<script" not in page and "&lt;script&gt;" in page
    ids = Counter(re.findall(r'\bid="([^"]+)"', page))
    assert ids.most_common(1)[0][1] == 1
    assert set(re.findall(r"""(?:url\(|href=")#([^")]+)""", page)) <= ids.keys()
    assert page.count("<title") == 1 + 3


def test_one_run(tmp_path):
    write_report(tmp_path, [run("sac", "Pendulum-v1", 0, [-3, -2])], {})
    markdown = (tmp_path / "report.md").read_text()
    assert tables(markdown)["Pendulum-v1"][1] == ["sac", "1 of 1", "-2.00 [-]", "-2.00 [-]", "-2.00 [-]", "10.0 s", "20"]
    assert "No interval for `sac`: it takes at least two finished runs." in markdown
    assert "## Probability" not in markdown and "## Over the" not in markdown and "(here 1)" in markdown


def test_unfinished_runs_are_marked_and_not_counted(few, tmp_path):
    results = [
        *(run("sac", "A-v0", seed, [1, 2]) for seed in range(3)),
        *(run("sql", "A-v0", seed, [3, 4]) for seed in range(2)),
        run("sql", "A-v0", 2, [1000], "failed", n_timesteps=200),
        *(run("sac", "B-v0", seed, [5, 6]) for seed in range(2)),
        run("sac", "B-v0", 2, [7000], "unfinished", n_timesteps=200),
        *(run("sql", "B-v0", seed, [], "missing", n_timesteps=200) for seed in (0, 2)),
        run("sql", "B-v0", 1, [1, math.nan]),
    ]
    page = write_report(tmp_path, results, {}).read_text()
    markdown = (tmp_path / "report.md").read_text()
    found = tables(markdown)
    assert found["A-v0 (incomplete)"][1][:3] == ["sql", "2 of 3", "4.00 [4.00, 4.00]"]
    assert found["B-v0 (incomplete)"][2] == ["sql", "0 of 3", "-", "-", "-", "10.0 s", "20"]
    assert "all have the same score, so that its interval has no width" in markdown
    assert "No finished run with a score: `sql`." in markdown and "There is no aggregate" in markdown
    assert found["Probability of improvement"][1] == ["sac over sql", "0.00 [0.00, 0.00]", "-"]
    assert found["What is missing"][1:] == [
        ["A-v0", "sql", "failed", "2", "100 of 200"],
        ["B-v0", "sac", "unfinished", "2", "100 of 200"],
        ["B-v0", "sql", "not begun", "0, 2", "0 of 200"],
        ["B-v0", "sql", "finished, score not finite", "1", "200 of 200"],
    ]
    assert "**Incomplete:** 5 of 12 runs" in markdown and "sql (2 of 3 runs)" in page and "sac (2 of 3 runs)" in page
    # In the CSV even what has no evaluation
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert Counter(row["status"] for row in rows) == {"finished": 16, "failed": 1, "unfinished": 1, "missing": 2}
    assert [row["step"] for row in rows if row["status"] == "missing"] == ["", ""]


def test_aggregate_uses_as_many_runs_of_each_environment(few, tmp_path):
    scores = {"A-v0": [0.0, 1, 2], "B-v0": [0.0, 10], "C-v0": [0.0, 1]}
    results = [run("sac", env, seed, [score]) for env, values in scores.items() for seed, score in enumerate(values)]
    results += [run("sql", env, seed, [score]) for env, score in (("A-v0", 4), ("B-v0", 10)) for seed in range(2)]
    results += [run("sql", "C-v0", 0, [], "missing"), run("tqc", "A-v0", 0, [], "failed")]
    write_report(tmp_path, results, {})
    markdown = (tmp_path / "report.md").read_text()
    rows = {row[0]: row[1:] for row in tables(markdown)["Over the environments"]}
    # Of A-v0 the seeds 0 and 1: (0 + 1) / 2 / 4, and (0 + 10) / 2 / 10
    assert rows["sac"][0] == "2" and rows["sac"][2].startswith(f"{(0.125 + 0.5) / 2:.3f} [")
    assert rows["sql"][2] == "1.000 [1.000, 1.000]" and "tqc" not in rows
    assert "on which all algorithms have a score: `A-v0`, `B-v0`." in markdown
    assert "Without a finished run anywhere: `tqc`." in markdown and "the fewest that finished" in markdown.replace("\n", " ")


def test_no_finished_run(tmp_path):
    results = [run(algo, env, 0, [], "missing") for algo in ("sac", "sql") for env in ("A-v0", "B-v0")]
    page = write_report(tmp_path, results, SETTINGS).read_text()
    assert "<svg" not in page and not list((tmp_path / "figures").iterdir())
    assert "No run has been evaluated so far" in page and "There is no aggregate" in page
    with pytest.raises(ValueError, match="results is empty"):
        write_report(tmp_path, [], {})


def test_unequal_numbers_of_evaluations(few, tmp_path):
    results = [run("sac", "A-v0", 0, [1, 2, 3]), run("sac", "A-v0", 1, [1, 2]), run("sql", "A-v0", 0, [1], n_timesteps=300)]
    write_report(tmp_path, results, {})
    markdown = (tmp_path / "report.md").read_text()
    assert "Steps at the last evaluation are not the same" in markdown and "`sac` 200 to 300; `sql` 100." in markdown
    assert "Steps that a run was to take are not the same" in markdown and "`sac` 200 to 300; `sql` 300." in markdown


def test_names_of_files(few, tmp_path):
    envs = ["ALE/Pong:v5", "ALE:Pong/v5", "$x_1$|`y`*<b>", f"{'very-' * 60}long-v0"]
    write_report(tmp_path, random_runs(["sac"], envs, 2, np.random.default_rng(6)), {})
    stems = {path.stem for path in (tmp_path / "figures").glob("curves_*.svg")}
    assert len(stems) == 4 and {"curves_ALE_Pong_v5", "curves_ALE_Pong_v5_2"} < stems
    assert all(re.fullmatch(r"[\w.-]{1,83}", stem, re.ASCII) for stem in stems)
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 6 and "<b>" not in page
    assert "<code>$x_1$|`y`*&lt;b&gt;</code>" in page
    # A second report replaces the first one's figures, and nothing else
    (tmp_path / "figures" / "mine.png").write_bytes(b"")
    write_report(tmp_path, [run("sac", "E", 0, [1])], {})
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"curves_E.svg", "curves_E.png", "mine.png"}


def test_the_ending_decides_the_format(tmp_path):
    with rc_context(formatting.STYLE):
        figure = Figure()
        figure.subplots().plot([1 / 3, 2 / 3])
        for name in ("a.svg", "b.svg", "c.png"):
            formatting.save(figure, tmp_path / name, "a < b & c")
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text() and "<title>a &lt; b &amp; c</title>" in text
    assert re.search(r"\d\.\d\d", text) and not re.search(r"\d\.\d\d\d", text)
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_numbers_in_tables():
    decimals = {(0, 100): 0, (90, 99): 2, (-3, -2): 2, (0, 0.02): 4, (7, 7): 2, (0, 0): 0, (0, 1e-9): 6, (0, 1e6): 0}
    assert {scores: formatting.decimals(scores) for scores in decimals} == decimals
    assert [formatting.duration(seconds) for seconds in (59.94, 61, 3599, 3600 * 25)] == [
        "59.9 s",
        "1 min 01 s",
        "59 min 59 s",
        "25 h 00 min",
    ]
    assert formatting.ranges([3, 1, 2, 7, 9, 10]) == "1-3, 7, 9-10"


# ---------------------------------------------------------------------- in a browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    if not (CHROMIUM and DRIVER):
        pytest.skip("needs Chromium and its driver (Debian's packages chromium and chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.mark.parametrize("width", [1100, 360])
def test_page_in_a_browser(browser, few, tmp_path, width):
    results = random_runs(
        ["s2ac", "sql", "sac", "an_algorithm_with_a_long_name"],
        ["MultiGoal-v0", "Pendulum-v1", f"{'Long' * 20}-v5"],
        3,
        np.random.default_rng(7),
    )
    results += [run("s2ac", "MultiGoal-v0", 3, [1, 2], "failed", n_timesteps=400)]
    page = write_report(tmp_path / "report", results, SETTINGS)
    alone = tmp_path / "alone.html"  # without the files beside it
    page.rename(alone)
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 800}
    )
    browser.get(alone.as_uri())
    assert browser.get_log("browser") == []
    assert "s2ac" in browser.title

    charts = browser.find_elements("css selector", "svg[role=img]")
    assert len(charts) == 5
    for chart in charts:
        size = chart.size
        assert chart.is_displayed() and 300 < size["width"] <= min(width, 640) and 100 < size["height"] < 800
        texts = chart.find_elements("css selector", "text")
        assert len(texts) > 8 and any(text.is_displayed() for text in texts)
        # Whatever the fonts, no text is cut at the sides
        outside = "return [...arguments[0].querySelectorAll('text')].filter(text => {"
        outside += "const box = text.getBoundingClientRect(), chart = arguments[0].getBoundingClientRect();"
        outside += "return box.left < chart.left - 1 || box.right > chart.right + 1}).map(text => text.textContent)"
        assert browser.execute_script(outside, chart) == []
    rows = [len(table.find_elements("css selector", "tbody tr")) for table in browser.find_elements("css selector", "table")]
    # Verdict, each environment's end, each one's way there, pairs, aggregate, missing, settings
    assert rows == [3, 4, 4, 4, 4, 4, 4, 6, 4, 1, 6]
    # Nothing is wider than the page but what scrolls by itself
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    height = browser.execute_script("return document.documentElement.scrollHeight")
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 800}
    )
    artefacts = Path(os.environ.get("REPORT_SCREENSHOTS", ROOT / "build"))
    artefacts.mkdir(exist_ok=True)
    assert browser.save_screenshot(str(artefacts / f"report_{width}.png"))
