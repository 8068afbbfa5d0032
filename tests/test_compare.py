"""
The comparison's orchestration: what is skipped, interrupted, killed, failed, refused.

Most tests have runs of a stand-in for the zoo's training, which writes what that one writes and does what a test tells it.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from comparisons import BOX, SLASH, Cluster, compare, during, psutil, statuses, tree, until, until_ended

from sb3_maxent import zoo
from sb3_maxent.compare import __main__ as command
from sb3_maxent.compare import folder as folders
from sb3_maxent.compare import report, runs
from sb3_maxent.compare.results import write_csv
from sb3_maxent.reporting import versions

# ---------------------------------------------------------------------- runs


def test_all_finish_and_are_skipped_then(fakes, capsys, monkeypatch):
    reports = []
    monkeypatch.setattr(report, "write_report", lambda *arguments: reports.append(arguments) or Path("the report"))
    assert compare("--n-jobs", 2, envs=f"{BOX} {SLASH}", seeds=2) == 0
    first = fakes.take_started()
    # Seed by seed: two runs at a time, so that the fourth and the fifth may start in either order
    assert len(first) == 8 and {start.split()[2] for start in first[:3]} == {"0"}
    output = capsys.readouterr().out
    assert "[8/8] " in output and "All runs are finished." in output and "Report: the report" in output

    for algo in ("s2ac", "sac"):
        for seed in (0, 1):
            place = Path("runs/c", algo, f"Fake-Pendulum-v1_{seed + 1}")
            assert (place / "Fake-Pendulum-v1.zip").is_file() and (place / "rl_model_5_steps.zip").is_file()
            assert (place / "log.txt").read_text() == f"training {algo} Fake-Pendulum-v1 {seed}\n"
            record = json.loads((place / "run.json").read_text())
            assert (record["algo"], record["env"], record["seed"]) == (algo, SLASH, seed)
            assert record["hyperparams"] == {"policy": "MlpPolicy", "learning_rate": 0.001}
            assert 0 < record["seconds"] < 60 and record["versions"].keys() >= {"torch", "sb3_maxent", "python"}
    assert list(Path("runs/c/unfinished").iterdir()) == []

    folder, results, settings = reports[0]
    assert folder == Path("runs/c") and len(results) == 8
    for result in results:
        assert result.status == "finished" and result.n_timesteps == 10
        np.testing.assert_array_equal(result.steps, np.arange(1, 11))
        np.testing.assert_array_equal(result.returns, np.full((10, 3), result.seed))
    assert settings["command"].startswith("python -m sb3_maxent.compare --algos s2ac sac --envs")
    assert settings["n_timesteps"] == 10 and settings["eval_freq"] == 1 and settings["eval_episodes"] == 3
    assert settings["hyperparams"]["sac"][SLASH] == "policy: MlpPolicy, learning_rate: 0.001"

    before = tree("runs/c/sac")
    assert compare("--n-jobs", 2, envs=f"{BOX} {SLASH}", seeds=2) == 0
    output = capsys.readouterr().out
    assert "Finished already, skipped: 8 (s2ac on Pendulum-v1: seeds 0, 1; sac on Pendulum-v1: seeds 0, 1; s2ac on" in output
    assert fakes.take_started() == [] and tree("runs/c/sac") == before


def test_results_of_other_comparisons(fakes, capsys):
    """Their finished runs are not made again, and are in the report; also later, when the files are not named any more."""
    assert compare(algos="sac", folder="runs/theirs") == 0
    theirs = folders.read_results(Path("runs/theirs"))
    write_csv(Path("theirs.csv"), [*theirs, replace(theirs[0], seed=7), replace(theirs[0], seed=1, status="unfinished")])
    fakes.take_started()

    assert compare("--results", "theirs.csv", "--n-timesteps", "20") == 2
    assert "have other settings:\n    n_timesteps is 10 there and 20 now\n" in capsys.readouterr().err
    assert compare("--results", "missing.csv") == 2 and not Path("runs/c").exists()
    assert "--results missing.csv: there is no such file" in capsys.readouterr().err

    assert compare("--results", "theirs.csv", seeds=2) == 0
    assert "Finished already, skipped: 1 (sac on Pendulum-v1: seed 0)" in capsys.readouterr().out
    started = fakes.take_started()
    assert sorted(" ".join(start.split()[::2]) for start in started) == ["s2ac 0", "s2ac 1", "sac 1"]
    Path("theirs.csv").unlink()
    assert compare(seeds=2) == 0 and fakes.take_started() == []
    assert statuses() == dict.fromkeys(
        [f"{algo} Pendulum-v1 {seed}" for algo, seed in (("s2ac", 0), ("sac", 0), ("s2ac", 1), ("sac", 1), ("sac", 7))],
        "finished",
    )
    own = {result.key: result for result in folders.read_results(Path("runs/c"))}
    assert own["sac", BOX, 0].seconds == theirs[0].seconds != own["sac", BOX, 1].seconds
    assert own["sac", BOX, 0].record == theirs[0].record
    assert folders.report_settings(Path("runs/c"))["runs of other comparisons"] == "2"


@pytest.mark.parametrize("name", ["eval_freq", "eval_episodes", "hyperparams", "device", "num_threads"])
def test_other_comparisons_of_other_settings(fakes, capsys, name):
    """Where they were computed does not matter, and neither do runs that the folder has itself."""
    compare(algos="sac", folder="runs/theirs")
    theirs = folders.read_results(Path("runs/theirs"))
    write_csv(Path("theirs.csv"), theirs)
    arguments, message = OTHER[name]
    differs = name not in ("device", "num_threads")
    assert compare("--results", "theirs.csv", *arguments) == (2 if differs else 0)
    error = capsys.readouterr().err
    assert (message in error and "leave the file out, and remove it from runs/c/others" in error) == differs
    assert compare("--results", "theirs.csv", *arguments, "--first-seed", "1") == (2 if differs else 0)
    assert compare(*arguments) == 0
    assert compare("--results", "theirs.csv", *arguments) == 0


def test_other_comparisons_that_differ_from_each_other(fakes, capsys):
    """Also of an algorithm that this command does not ask for."""
    compare(algos="sac", folder="runs/theirs")
    theirs = folders.read_results(Path("runs/theirs"))
    assert theirs[0].record is not None
    record = {**theirs[0].record, "hyperparams": {"learning_rate": 0.5}}
    write_csv(Path("a.csv"), theirs)
    write_csv(Path("b.csv"), [replace(theirs[0], record=record)])
    for files in (["a.csv", "b.csv"], ["b.csv", "a.csv"]):
        assert compare("--results", *files, algos="s2ac") == 2
        assert "learning_rate of sac on Pendulum-v1 is" in capsys.readouterr().err
    assert compare("--results", "a.csv", algos="s2ac") == 0
    assert compare("--results", "b.csv", algos="s2ac") == 2
    assert "learning_rate of sac on Pendulum-v1 is 0.5 there and 0.001 now" in capsys.readouterr().err

    # A report of files alone refuses nothing, but says what they hold
    assert command.main(["--report-only", "--results", "a.csv", "b.csv", "-f", "runs/both"]) == 0
    write_csv(Path("c.csv"), [replace(theirs[0], seed=1, record=record)])
    assert command.main(["--report-only", "--results", "c.csv", "-f", "runs/both"]) == 0
    text = folders.report_settings(Path("runs/both"))["hyperparams"]["sac"][BOX]
    assert sorted(text.split("; ")) == ["learning_rate: 0.5", "policy: MlpPolicy, learning_rate: 0.001"]


def test_the_same_run_in_an_older_file(fakes):
    """Of two copies the one counts whose settings are known, whatever their names."""
    compare(algos="sac", folder="runs/theirs")
    theirs = folders.read_results(Path("runs/theirs"))
    for name in "abcdef":
        write_csv(Path(f"{name}.csv"), [replace(theirs[0], seconds=5.0, record=None)])
    write_csv(Path("new.csv"), theirs)
    assert compare("--results", *(f"{name}.csv" for name in "abcdef"), "new.csv") == 0
    (run,) = (run for run in folders.read_results(Path("runs/c")) if run.algo == "sac")
    assert run.record == theirs[0].record and run.seconds == theirs[0].seconds


def test_report_of_other_comparisons_alone(fakes, capsys):
    compare(algos="sac", folder="runs/theirs")
    theirs = folders.read_results(Path("runs/theirs"))
    write_csv(Path("theirs.csv"), [replace(run, record=None) for run in theirs])  # as an older file is
    assert command.main(["--report-only", "-f", "runs/new"]) == 2
    with pytest.raises(ValueError, match=r"there is no comparison in runs.new"):
        folders.read_results(Path("runs/new"))
    for _ in range(2):
        assert command.main(["--report-only", "--results", "theirs.csv", "-f", "runs/new"]) == 0
        assert statuses("runs/new") == {"sac Pendulum-v1 0": "finished"}
    assert command.main(["--report-only", "-f", "runs/new"]) == 0
    assert folders.report_settings(Path("runs/new")) == {
        "runs of other comparisons": "1; of 1 the settings and versions are not known here"
    }
    write_csv(Path("known.csv"), theirs)
    assert command.main(["--report-only", "--results", "known.csv", "-f", "runs/known"]) == 0
    settings = folders.report_settings(Path("runs/known"))
    assert settings["runs of other comparisons"] == "1" and settings["n_timesteps"] == 10
    assert settings["hyperparams"] == {"sac": {BOX: "policy: MlpPolicy, learning_rate: 0.001"}}
    assert settings["machine"] == versions.machine() and settings["versions"]["torch"] == torch.__version__
    assert compare(algos="sac", folder="runs/new") == 0 and len(fakes.take_started()) == 1  # theirs
    assert "machine" not in folders.report_settings(Path("runs/new"))
    assert compare(algos="s2ac", folder="runs/new") == 0
    assert statuses("runs/new").keys() == {"sac Pendulum-v1 0", "s2ac Pendulum-v1 0"}
    Path("theirs.csv").write_text("no results")
    assert command.main(["--report-only", "--results", "theirs.csv", "-f", "runs/other"]) == 2
    assert "theirs.csv is no results.csv of a comparison" in capsys.readouterr().err and not Path("runs/other").exists()


def test_what_is_passed_to_the_training(fakes):
    own, for_all = Path("own.yml"), Path("all.yml")
    own.write_text("tau: 1")
    for_all.write_text("gamma: 0.5")
    assert (
        compare(
            "-conf",
            "sac=own.yml",
            "all.yml",
            "--hyperparams",
            "buffer_size:7",
            "sac=replay_buffer_kwargs:dict(b=1)",
            "gamma:0.2",
        )
        == 0
    )
    s2ac, sac = (" ".join(start["arguments"]) for start in fakes.started())
    copies = Path("runs/c/conf").resolve()
    (of_s2ac,), (of_sac,) = copies.glob("s2ac_*.yml"), copies.glob("sac_*.yml")
    assert f"--conf-file {of_s2ac} --hyperparams buffer_size:7 gamma:0.2" in s2ac
    assert (
        f"--conf-file {of_sac} --hyperparams buffer_size:7 gamma:0.2 replay_buffer_kwargs:dict(b=1)" in sac
    )  # rl_zoo3 takes the last
    assert of_s2ac.read_text() == for_all.read_text() and of_sac.read_text() == own.read_text()
    hyperparams = json.loads(Path("runs/c/sac/Pendulum-v1_1/run.json").read_text())["hyperparams"]
    last = {"gamma": 0.2, "replay_buffer_kwargs": "dict(b=1)"}
    assert hyperparams == {"policy": "MlpPolicy", "learning_rate": 0.001, "tau": 1.0, "buffer_size": 7, **last}
    for expected in (
        "train --algo s2ac --env Pendulum-v1 --seed 0 --n-timesteps 10 --eval-freq 1 --eval-episodes 3",
        "--num-threads 1",
    ):
        assert expected in s2ac
    arguments = ["--save-freq", 4, "--num-threads", 2, "--device", "cpu", "--eval-freq", 5, "--gym-packages", "this"]
    assert compare(*arguments, folder="other") == 0
    latest = " ".join(fakes.started()[-1]["arguments"])
    assert "--save-freq 4" in latest and "--num-threads 2 --device cpu" in latest and "--eval-freq 5" in latest
    assert latest.endswith("--gym-packages this")


def test_adding_algorithms_environments_and_seeds(fakes):
    assert compare(algos="s2ac", seeds=1) == 0
    assert compare(algos="s2ac sac", seeds=2) == 0
    assert sorted(fakes.take_started()) == [f"{algo} {BOX} {seed}" for algo in ("s2ac", "sac") for seed in (0, 1)]
    # Hyperparameters of others, and what is no setting of a result
    assert compare("--hyperparams", "sql=tau:0.5", "--n-jobs", 2, "--save-freq", 5, algos="sql", envs=SLASH) == 0
    assert compare("--first-seed", 7, algos="s2ac") == 0
    assert fakes.take_started() == ["sql Fake-Pendulum-v1 0", f"s2ac {BOX} 7"]
    assert len(statuses()) == 6 and set(statuses().values()) == {"finished"}


FAILURES = {
    "fail": "exit status 3; the end of runs/c/failed/sac_Pendulum-v1_seed1.log:\n    training sac .*\n    the reason\n",
    "late failure": "exit status 4",
    "half": "it ended after 5 of 10 steps",
    "no last evaluation": "its last evaluation is missing",
    "no agent": "it left no agent",
}


@pytest.mark.parametrize("what", FAILURES)
def test_a_failed_run_does_not_stop_the_others(fakes, capsys, what):
    failing = f"sac {BOX} 1"
    fakes.plan({failing: what})
    assert compare(seeds=3) == 1
    assert len(fakes.take_started()) == 6
    output = capsys.readouterr().out
    assert re.search(rf"\[4/6\] sac on Pendulum-v1, seed 1: failed: {FAILURES[what]}", output), output
    assert "Failed: 1 (sac on Pendulum-v1: seed 1)" in output and "Report" in output
    log = Path("runs/c/failed/sac_Pendulum-v1_seed1.log")
    assert log.read_text().startswith(f"training {failing}\n")
    assert statuses() == {
        f"{a} {BOX} {s}": "failed" if (a, s) == ("sac", 1) else "finished" for s in range(3) for a in ("s2ac", "sac")
    }
    # What was trained stays, an attempt without anything does not
    kept = list(Path("runs/c/unfinished").glob("*/sac/Pendulum-v1_1/rl_model_5_steps.zip"))
    assert len(kept) == (what != "fail")
    partial = next(result for result in folders.read_results(Path("runs/c")) if result.status == "failed")
    assert len(partial.steps) == {"fail": 0, "late failure": 5, "half": 5, "no last evaluation": 9, "no agent": 10}[what]

    fakes.plan({})
    assert compare(seeds=3) == 0
    assert fakes.take_started() == [failing]
    assert set(statuses().values()) == {"finished"} and not log.exists()
    assert [file.exists() for file in kept] == [True] * len(kept)


def test_a_failed_run_stays_in_the_report(fakes):
    fakes.plan({f"sac {BOX} 1": "fail"})
    assert compare(seeds=2) == 1
    assert compare(algos="s2ac", seeds=1) == 0
    assert statuses()[f"sac {BOX} 1"] == "failed" and len(statuses()) == 4
    fakes.plan({})
    assert compare(algos="sac", seeds=2) == 0
    assert set(statuses().values()) == {"finished"}


def test_a_mistake_can_be_mended_while_nothing_is_trained(fakes):
    fakes.plan({f"sac {BOX} 0": "fail"})
    assert compare(algos="sac", n=1000) == 1
    assert compare(algos="sac", n=20) == 1
    assert json.loads(Path("runs/c/settings.json").read_text())["n_timesteps"] == 20


def test_seconds_and_steps_of_the_result(fakes):
    assert compare(algos="sac") == 0
    (result,) = folders.read_results(Path("runs/c"))
    record = json.loads(Path("runs/c/sac/Pendulum-v1_1/run.json").read_text())
    assert result.num_timesteps == 10 and result.seconds is not None and result.seconds > 0
    assert (result.seconds, result.num_timesteps) == (record["seconds"], record["num_timesteps"])


PARENT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in the background of a shell
sys.path.insert(0, {tests!r})
import comparisons as tests
from sb3_maxent import zoo
from sb3_maxent.compare import __main__ as command, report, runs

runs.LAUNCHER = {launcher!r}
zoo.algorithms = lambda: ["s2ac", "sac"]
zoo.read_hyperparams = tests.read_hyperparams
report.write_report = lambda folder, results, settings: folder / "report.html"
sys.exit(tests.compare(seeds=2))
"""


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, *(pytest.param(each, marks=pytest.mark.slow) for each in (signal.SIGTERM, signal.SIGKILL))],
    ids=lambda number: number.name,
)
def test_interrupted(fakes, capsys, number):
    """One run finished, the second under way: by Ctrl-C in a terminal, a batch system, kill -9"""
    fakes.plan({f"sac {BOX} 0": "wait"})
    script = PARENT.format(tests=str(Path(__file__).parent), launcher=fakes.launcher)
    parent = subprocess.Popen([sys.executable, "-c", script], text=True, stdout=subprocess.PIPE, start_new_session=True)
    training = fakes.wait_until_waiting()
    assert fakes.take_started() == [f"s2ac {BOX} 0", f"sac {BOX} 0"]
    finished = tree("runs/c/s2ac")
    os.killpg(parent.pid, number)  # as a terminal does: to all processes of the command
    output = parent.communicate(timeout=60)[0]
    until_ended(training)
    assert parent.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    if number != signal.SIGKILL:
        assert "Not finished: 3 (sac on Pendulum-v1: seeds 0, 1; s2ac on Pendulum-v1: seed 1)" in output
        assert "the same command goes on" in output and "Report: runs/c/report.html" in output

    (checkpoint,) = Path("runs/c").rglob("sac/Pendulum-v1_1/rl_model_5_steps.zip")
    assert checkpoint.parts[:3] == ("runs", "c", "unfinished")
    assert statuses() == {
        f"s2ac {BOX} 0": "finished",
        f"sac {BOX} 0": "unfinished",
        f"s2ac {BOX} 1": "missing",
        f"sac {BOX} 1": "missing",
    }
    assert [len(result.steps) for result in folders.read_results(Path("runs/c"))] == [10, 5, 0, 0]

    fakes.plan({})
    assert compare(seeds=2) == 0
    output = capsys.readouterr().out
    assert "Finished already, skipped: 1 (s2ac on Pendulum-v1: seed 0)" in output
    assert f"Begun before, starts anew: sac on Pendulum-v1, seed 0; what it left is in {checkpoint.parents[2]}" in output
    assert sorted(fakes.take_started()) == [f"s2ac {BOX} 1", f"sac {BOX} 0", f"sac {BOX} 1"]
    assert tree("runs/c/s2ac/Pendulum-v1_1").items() <= finished.items() and checkpoint.exists()


def a_run(folder, **arguments):
    settings = {"n_timesteps": 10, "eval_freq": 1, "eval_episodes": 3, "num_threads": 1, "device": "cpu"}
    return runs.Run(Path(folder).resolve(), "sac", BOX, 0, settings, {}, **arguments)


def test_the_same_run_twice_at_a_time(fakes):
    """By two commands, or by a dask worker that was taken for dead"""
    assert compare(algos="s2ac") == 0
    fakes.plan({f"sac {BOX} 0": "wait"})
    outcomes = []
    first = threading.Thread(target=lambda: outcomes.append(runs.train(a_run("runs/c", session="first"))))
    runs.STOP.clear()
    first.start()
    try:
        fakes.wait_until_waiting()
        (attempt,) = Path("runs/c/unfinished").iterdir()
        other = threading.Thread(target=lambda: outcomes.append(runs.train(a_run("runs/c", session="second"))))
        # The second one is not to wait, the first one is
        agent, steps = attempt / "sac" / "Pendulum-v1_1", np.arange(1, 11)
        other.start()
        fakes.wait_until_waiting()
        place = Path("runs/c/sac/Pendulum-v1_1")
        shutil.copytree(agent, place)  # a third one was first of all
        np.savez(place / "evaluations", timesteps=steps, results=np.zeros((10, 3)))
        before = tree(place)
    finally:
        fakes.plan({})
        first.join()
        other.join()
    assert [outcome.status for outcome in outcomes] == ["finished"] * 2
    assert all("discarded" in outcome.message for outcome in outcomes)
    assert tree(place) == before and list(Path("runs/c/unfinished").iterdir()) == []
    assert runs.train(a_run("runs/c")).message == "by another process" and len(fakes.started()) == 3


def test_progress(fakes):
    assert compare(algos="s2ac", n=100, seeds=2) == 0
    everything = [a_run("runs/c", session=session) for session in ("mine", "mine")]
    assert command._under_way(everything) == 0
    steps = [10, 20, 30]
    for time_, session in (("1", "mine"), ("2", "other")):
        folder = everything[0].training_folder(Path(f"runs/c/unfinished/sac_{BOX}_seed0_{time_}_{session}"))
        folder.mkdir(parents=True)
        np.savez(folder / "evaluations", timesteps=np.divide(steps, 10), results=np.zeros((3, 2)))
        steps = [90]
    assert command._under_way(everything[:1]) == pytest.approx(0.3)
    (folder / "evaluations.npz").write_bytes(b"PK half a file")
    assert command._under_way([a_run("runs/c", session="other")]) == 0


# ---------------------------------------------------------------------- bad input


OTHER = {
    "n_timesteps": ({"n": 20}, "n_timesteps is 10 there and 20 now"),
    "eval_freq": (["--eval-freq", "3"], "eval_freq is 1 there and 3 now"),
    "eval_episodes": (["--eval-episodes", "4"], "eval_episodes is 3 there and 4 now"),
    "device": (["--device", "cuda"], "device is auto there and cuda now"),
    "num_threads": (["--num-threads", "2"], "num_threads is 1 there and 2 now"),
    "hyperparams": (
        ["--hyperparams", "sac=learning_rate:0.1"],
        "learning_rate of sac on Pendulum-v1 is 0.001 there and 0.1 now",
    ),
    "one more": (["--hyperparams", "tau:0.1"], "tau of s2ac on Pendulum-v1 is not set there and 0.1 now"),
    "conf": (["-conf", "sac=own.yml"], "learning_rate of sac on Pendulum-v1 is 0.001 there and 0.5 now"),
}


@pytest.mark.parametrize("name", OTHER)
def test_a_folder_from_other_settings(fakes, capsys, name):
    Path("own.yml").write_text("learning_rate: 0.5")
    assert compare() == 0
    before = tree()
    arguments, message = OTHER[name]
    status = compare(**arguments) if isinstance(arguments, dict) else compare(*arguments)
    error = capsys.readouterr().err
    assert status == 2 and message in error and "runs/c was made with other settings" in error and "-f" in error
    assert ("sac on" in error) == ("sac on" in message) or name == "one more"
    assert tree() == before and len(fakes.take_started()) == 2
    assert compare("--hyperparams", "learning_rate:1e-3") == 0  # the same number


def test_an_edited_conf_file(fakes, capsys):
    Path("own.yml").write_text("tau: 0.5")
    assert compare("-conf", "own.yml") == 0
    Path("own.yml").write_text("tau: 0.25")
    assert compare("-conf", "own.yml") == 2
    assert "tau of s2ac on Pendulum-v1 is 0.5 there and 0.25 now" in capsys.readouterr().err
    (copy,) = Path("runs/c/conf").glob("sac_*.yml")
    assert copy.read_text() == "tau: 0.5"
    # For other runs it may be another one. What the first command has still to train does not change
    assert compare("-conf", "own.yml", envs=SLASH) == 0
    assert sorted(path.read_text() for path in copy.parent.glob("sac_*.yml")) == ["tau: 0.25", "tau: 0.5"]


BAD = {
    "algorithm": ("--algos", ["sca"], "there is no algorithm 'sca', did you mean 'sac'"),
    "environment": ("--envs", ["pendulum"], "there is no environment 'pendulum', did you mean 'Pendulum-v1'"),
    "actions": ("--algos", ["dqn"], r"dqn on Pendulum-v1: its actions are Box(.*), but dqn needs Discrete"),
    "discrete actions": ("--envs", ["CartPole-v1"], r"sac on CartPole-v1: its actions are Discrete(.*), but sac needs Box"),
    "no hyperparameters": ("--algos", ["tqc"], "tqc on Pendulum-v1: Hyperparameters not found"),
    "name": ("--hyperparams", ["n_partikles:8"], "^python.*\n  s2ac: there is no hyperparameter 'n_partikles', did you mean"),
    "name of the policy": (
        "--hyperparams",
        ["s2ac=policy_kwargs:dict(net_arhc=[8])"],
        "error: s2ac: there is no key of `policy_kwargs` 'net_arhc', did you mean 'net_arch'",
    ),
    "seeds": ("--seeds", ["0"], "--seeds must be at least 1, not 0"),
    "first seed": ("--first-seed", ["-1"], "--first-seed must be at least 0, not -1"),
    "steps": ("-n", ["0"], "--n-timesteps must be at least 1, not 0"),
    "jobs": ("--n-jobs", ["0"], "--n-jobs must be at least 1, not 0"),
    "evaluations": ("--eval-freq", ["11"], r"--eval-freq must be at most -n \(10\), not 11"),
    "episodes": ("--eval-episodes", ["0"], "--eval-episodes must be at least 1, not 0"),
    "threads": ("--num-threads", ["0"], "--num-threads must be at least 1, not 0"),
    "checkpoints": ("--save-freq", ["-1"], "--save-freq must be at least 1, not -1"),
    "conf": ("-conf", ["sac=no.yml"], "-conf sac=no.yml: there is no file no.yml"),
    "conf of another": ("-conf", ["sql=own.yml"], "-conf sql=own.yml: 'sql' is not among --algos"),
    "conf of nothing": ("-conf", ["s2ca=own.yml"], "-conf s2ca=own.yml: 's2ca' is no algorithm, did you mean 's2ac'"),
    "two confs": ("-conf", ["own.yml", "sac=own.yml", "sac=own.yml"], "-conf sac=own.yml: there is another file for sac"),
    "conf that can't be read": ("-conf", ["bad.yml"], "sac on Pendulum-v1, bad.yml: "),
    "conf without steps": ("-conf", ["zero.yml"], "sac on .*: the hyperparameters have no n_timesteps and no policy, which"),
    "hyperparameter of another": ("--hyperparams", ["sql=tau:1"], "--hyperparams sql=tau:1: 'sql' is not among --algos"),
    "hyperparameter": ("--hyperparams", ["tau=1"], "--hyperparams tau=1: KEY:VALUE or ALGO=KEY:VALUE is needed"),
    "expression": ("--hyperparams", ["tau:1 +"], r"--hyperparams tau:1 \+: '1 \+' is not a Python expression"),
    "package": ("--gym-packages", ["no_package"], "--gym-packages no_package: ModuleNotFoundError: No module named"),
    "broken environment": ("--envs", ["Broken-v0"], "environment 'Broken-v0' can't be made: RuntimeError: no licence"),
    "dask and jobs": ("--dask", ["tcp://127.0.0.1:1", "--n-jobs", "2"], "--n-jobs is for this machine"),
    "no scheduler": ("--dask", ["tcp://127.0.0.1:1"], "--dask tcp://127.0.0.1:1: no dask scheduler answers there"),
    "no address": ("--dask", ["where"], "--dask where: no dask scheduler answers there"),
}


def broken(**kwargs):
    raise RuntimeError("no licence")


gym.register("Broken-v0", broken)


@pytest.mark.parametrize("name", BAD)
def test_bad_input(fakes, capsys, name, monkeypatch):
    monkeypatch.setattr(command, "CONNECT_SECONDS", 0.5)
    Path("own.yml").write_text("tau: 0.5")
    Path("bad.yml").write_text("bad")
    Path("zero.yml").write_text("policy: 0\nn_timesteps: 0")
    option, values, message = BAD[name]
    assert compare(option, *values) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert fakes.take_started() == [] and (not Path("runs").exists() or "scheduler" in message)


def test_all_problems_at_once(fakes, capsys):
    assert compare("--seeds", 0, "--hyperparams", "nonsense", algos="s2ca sac tqc", envs=f"{BOX} Pendlum-v1") == 2
    error = capsys.readouterr().err
    for message in ("--seeds", "nonsense", "'s2ca'", "'Pendlum-v1'", "tqc on Pendulum-v1"):
        assert message in error


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--envs Pendulum-v1", "missing: --algos, -n"),
        # In the zoo it is the seed: not an abbreviation of --seeds
        ("--algos sac --envs Pendulum-v1 -n 10 --seed 3", "unrecognized arguments: --seed 3"),
    ],
)
def test_arguments(capsys, arguments, message):
    with pytest.raises(SystemExit) as status:
        command.main(arguments.split())
    assert status.value.code == 2 and message in capsys.readouterr().err


def test_no_path_of_this_machine_in_the_settings(fakes):
    Path("own.yml").write_text("tau: 0.5")
    own = Path("own.yml").resolve()
    words = ["-conf", f"sac={own}", "--hyperparams", f"sac=replay_buffer_kwargs:dict(b='{own}')", "gamma:1/2"]
    assert compare(*words, folder=Path("runs/c").resolve()) == 0
    words = shlex.split(json.loads(Path("runs/c/settings.json").read_text())["command"])
    assert words[-7:] == [
        "-f",
        "c",
        "-conf",
        "sac=own.yml",
        "--hyperparams",
        "sac=replay_buffer_kwargs:dict(b='own.yml')",
        "gamma:1/2",
    ]


def test_a_record_that_cannot_be_read(fakes, capsys):
    assert compare(algos="sac") == 0
    Path("runs/c/sac/Pendulum-v1_1/run.json").write_text("{")
    for arguments in (["--report-only", "-f", "runs/c"], "--algos sac --envs Pendulum-v1 -n 10 -f runs/c".split()):
        assert command.main(arguments) != 0
        assert "runs/c/sac/Pendulum-v1_1/run.json can't be read" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["rliable.library", "distributed"])
def test_missing_package(fakes, capsys, monkeypatch, module):
    rooms = ("compare.report", "compare.scores", "reporting.statistics")
    names = (module, *(f"sb3_maxent.{room}" for room in rooms))
    for name in names if module != "distributed" else names[:1]:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    assert compare("--dask", "tcp://127.0.0.1:1") == 2
    assert 'pip install "sb3_maxent[compare]"' in capsys.readouterr().err and fakes.take_started() == []


def test_a_folder_of_something_else(fakes, capsys):
    Path("logs/sac/Pendulum-v1_1").mkdir(parents=True)
    assert compare(folder="logs") == 2
    assert "no settings.json" in capsys.readouterr().err
    Path("logs/settings.json").write_text('{"theirs": 1}')
    assert compare(folder="logs") == 2
    assert "not the settings file of a comparison" in capsys.readouterr().err
    Path("file").write_text("")
    assert compare(folder="file/runs") == 2 and compare(folder="file") == 2
    assert "error: " in capsys.readouterr().err and fakes.take_started() == []


def test_report_only(fakes, capsys, monkeypatch):
    assert command.main(["--report-only", "-f", "nowhere"]) == 2
    assert "there is no comparison in nowhere" in capsys.readouterr().err and not Path("nowhere").exists()
    compare()
    fakes.take_started()
    reports = []
    monkeypatch.setattr(report, "write_report", lambda *arguments: reports.append(arguments) or Path("the report"))
    assert command.main(["--report-only", "-f", "runs/c"]) == 0
    assert [result.status for result in reports[0][1]] == ["finished"] * 2 and fakes.take_started() == []


def test_settings_name_no_paths(fakes, tmp_path):
    conf = tmp_path / "own.yml"
    conf.write_text("tau: 1")
    assert compare("-conf", f"sac={conf}", folder=tmp_path / "folder") == 0
    text = json.dumps(folders.report_settings(tmp_path / "folder"))
    assert "sac=own.yml" in text and str(tmp_path) not in text


# ---------------------------------------------------------------------- a full disk


def test_a_run_that_says_the_disk_is_full(fakes, capsys):
    fakes.plan({f"sac {BOX} 0": "says disk full"})
    assert compare(seeds=3) == 1
    assert fakes.take_started() == [f"s2ac {BOX} 0", f"sac {BOX} 0"]  # the others would fail as well
    output = capsys.readouterr().out
    assert "The disk is full." in output and "Failed: 1 (sac on" in output and "Not finished: 4" in output
    assert statuses()[f"s2ac {BOX} 0"] == "finished"
    fakes.plan({})
    assert compare(seeds=3) == 0


@contextmanager
def small_disk(folder):
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("no small file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(fakes, tmp_path, capsys):
    fakes.plan({f"sac {BOX} 0": "disk full"})
    with small_disk(tmp_path / "disk") as disk:
        folder = disk / "c"
        assert compare(seeds=2, folder=folder) == 1
        assert fakes.take_started() == [f"s2ac {BOX} 0", f"sac {BOX} 0"]
        output = capsys.readouterr().out
        assert "Warning: only 2 MB are free for 4 runs" in output and "The disk is full." in output
        assert statuses(folder)[f"s2ac {BOX} 0"] == "finished"
        (disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free))
        assert compare(seeds=2, folder=folder) == 1
        assert "No space left on device" in capsys.readouterr().err
        (disk / "filler").unlink()
        for big in disk.rglob("big"):
            big.unlink()
        fakes.plan({})
        assert compare(seeds=2, folder=folder) == 0


# ---------------------------------------------------------------------- dask


@pytest.fixture
def cluster(fakes, tmp_path):
    (tmp_path / "cluster").mkdir()
    cluster = Cluster(fakes, tmp_path / "cluster")
    try:
        yield cluster
    finally:
        cluster.stop()


@pytest.mark.slow
def test_dask(fakes, cluster, capsys, monkeypatch):
    """Two workers, one killed in the middle of a run; Ctrl-C; all workers lost; the scheduler lost"""
    workers = [cluster.start_worker(), cluster.start_worker()]
    waiting = f"sac {BOX} 0"
    fakes.plan({waiting: "wait"})

    def kill_a_worker():
        training = fakes.wait_until_waiting()
        worker = training.parent()
        assert worker in workers
        worker.kill()
        fakes.plan({})
        until_ended(training)  # with its worker
        return worker

    killing = during(kill_a_worker)
    assert compare("--dask", cluster.address, seeds=3) == 0
    killing.join()
    (killed,) = killing.results
    assert isinstance(killed, psutil.Process), killed
    started = fakes.take_started()
    assert len(started) == 7 and started.count(waiting) == 2
    assert set(statuses().values()) == {"finished"} and len(statuses()) == 6
    assert "All runs are finished." in capsys.readouterr().out
    assert cluster.address not in Path("runs/c/settings.json").read_text()

    fakes.plan({f"s2ac {BOX} 4": "wait"})

    def interrupt():
        training = fakes.wait_until_waiting()
        os.kill(os.getpid(), signal.SIGINT)
        until_ended(training)  # the worker has seen to it

    interrupting = during(interrupt)
    assert compare("--dask", cluster.address, "--first-seed", 4, algos="s2ac") == 130
    interrupting.join()
    assert interrupting.results == [None]
    assert statuses()[f"s2ac {BOX} 4"] == "unfinished"

    monkeypatch.setattr(command, "PATIENCE_SECONDS", 0.5)
    (worker,) = (worker for worker in workers if worker != killed)

    def kill_the_worker():
        fakes.wait_until_waiting()
        worker.kill()

    killing = during(kill_the_worker)
    assert compare("--dask", cluster.scheduler_file, "--first-seed", 4, algos="s2ac") == 1
    killing.join()
    assert "The scheduler has had no worker for 0.5 seconds" in capsys.readouterr().out

    cluster.start_worker()

    def kill_the_scheduler():
        training = fakes.wait_until_waiting()
        cluster.processes[0].kill()
        until_ended(training)

    killing = during(kill_the_scheduler)
    monkeypatch.setattr(command, "PATIENCE_SECONDS", 60)
    assert compare("--dask", cluster.address, "--first-seed", 4, algos="s2ac") == 1
    killing.join()
    assert killing.results == [None] and "interrupted: the scheduler has gone" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_that_takes_its_workers_down(fakes, tmp_path, capsys, monkeypatch):
    """Dask gives up such a run, here at its first worker. joblib's backend for dask would wait for ever"""
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    cluster = Cluster(fakes, tmp_path)
    try:
        for _ in range(2):
            cluster.start_worker()
        fakes.plan({f"s2ac {BOX} 0": "wait"})
        killing = during(lambda: fakes.wait_until_waiting().parent().kill())
        assert compare("--dask", cluster.address, seeds=2) == 1
        killing.join()
    finally:
        cluster.stop()
    # It blames the next run that the worker was given, too
    found = statuses()
    assert found[f"s2ac {BOX} 0"] == "failed" and list(found.values()).count("finished") >= 2, found
    output = capsys.readouterr().out
    assert "s2ac on Pendulum-v1, seed 0: failed: KilledWorker: " in output and "Failed: " in output
    assert "KilledWorker" in Path("runs/c/failed/s2ac_Pendulum-v1_seed0.log").read_text()


# ---------------------------------------------------------------------- the zoo's own training


def python(*arguments, **kwargs):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return psutil.Popen([sys.executable, *map(str, arguments)], env=environment, **pipes, **kwargs)


# An environment of a user's own, that stops in the middle of SAC's training
GATE = """
import sys, time
from pathlib import Path
import gymnasium
from gymnasium.envs.classic_control.pendulum import PendulumEnv

class Gate(PendulumEnv):
    steps = 0

    def step(self, action):
        self.steps += 1
        while self.steps == 600 and "sac" in sys.argv and Path("gate").exists():
            time.sleep(0.02)
        return super().step(action)

gymnasium.register("Gate-v0", Gate, max_episode_steps=200)
"""
CONF = "Gate-v0: {n_timesteps: 1, policy: MlpPolicy, learning_starts: 100, train_freq: 200, gradient_steps: 1, batch_size: 16}"
REAL = ["--algos", "s2ac", "sac", "--envs", "Gate-v0", "--seeds", "1", "-n", "1000", "--eval-episodes", "1", "-f", "c"]
REAL += ["--eval-freq", "500", "--save-freq", "200", "--gym-packages", "gate", "-conf", "own.yml"]
REAL += ["--hyperparams", "sac=buffer_size:1000"]


@pytest.mark.slow
def test_the_zoos_training_killed_and_resumed(tmp_path):
    (tmp_path / "gate.py").write_text(GATE)
    (tmp_path / "own.yml").write_text(CONF)
    (tmp_path / "gate").touch()
    parent = python("-m", "sb3_maxent.compare", *REAL, cwd=tmp_path)
    checkpoints = tmp_path / "c" / "unfinished"
    until(lambda: [*checkpoints.glob("sac*/sac/Gate-v0_1/rl_model_400_steps.zip")] or parent.poll() is not None, 300)
    assert parent.poll() is None, parent.communicate()[0]
    (training,) = parent.children(recursive=True)
    parent.kill()
    output = parent.communicate()[0]
    until_ended(training)
    before = tree(tmp_path / "c" / "s2ac")
    assert any("Gate-v0_1/Gate-v0.zip" in path for path in before), output
    (left,) = checkpoints.glob("*/sac/Gate-v0_1")
    assert (left / "rl_model_400_steps.zip").is_file() and not (left / "Gate-v0.zip").exists()

    (tmp_path / "gate").unlink()
    parent = python("-m", "sb3_maxent.compare", *REAL, cwd=tmp_path)
    output = parent.communicate()[0]
    assert parent.returncode == 0, output
    assert "skipped: 1 (s2ac on Gate-v0: seed 0)" in output and "starts anew: sac on Gate-v0, seed 0" in output
    assert tree(tmp_path / "c" / "s2ac") == before and left.is_dir()
    assert (tmp_path / "c" / "report.html").is_file() and "Report: c/report.html" in output
    for algo in ("s2ac", "sac"):
        place = tmp_path / "c" / algo / "Gate-v0_1"
        record = json.loads((place / "run.json").read_text())
        assert record["num_timesteps"] == 1000 and record["hyperparams"]["batch_size"] == 16
        assert ("buffer_size" in record["hyperparams"]) == (algo == "sac") and record["seconds"] > 0
        assert "sb3_maxent.zoo train" in (place / "Gate-v0" / "command.txt").read_text()
        with np.load(place / "evaluations.npz") as evaluations:
            assert evaluations["timesteps"].tolist() == [500, 1000]

    enjoy = [
        "--algo",
        "sac",
        "--env",
        "Gate-v0",
        "--gym-packages",
        "gate",
        "--exp-id",
        "1",
        "-f",
        "c",
        "--no-render",
        "-n",
        "200",
    ]
    enjoying = python("-m", "sb3_maxent.zoo", "enjoy", *enjoy, cwd=tmp_path)
    output = enjoying.communicate()[0]
    assert enjoying.returncode == 0 and "Mean reward: " in output, output


KINDS = """
import json
import gymnasium as gym
from gymnasium import spaces
from sb3_maxent import zoo
zoo.register()
from rl_zoo3 import ALGOS

class Env(gym.Env):
    observation_space = spaces.Box(-1, 1, (2,))

kinds = [spaces.Box(-1, 1, (2,)), spaces.Discrete(2), spaces.MultiDiscrete([2, 2]), spaces.MultiBinary(2)]
taken = {}
for algo, algorithm in ALGOS.items():
    for space in kinds:
        Env.action_space = space
        policy = "MlpLstmPolicy" if algo == "ppo_lstm" else "MlpPolicy"
        try:
            algorithm(policy, Env(), **({} if algo == "ars" else {"_init_setup_model": False}))
        except AssertionError as error:
            assert "supports" in str(error), error
        else:
            taken.setdefault(algo, []).append(type(space).__name__)
print(json.dumps(taken))
"""


def test_kinds_of_action():
    """What is refused before it starts is what the algorithms refuse"""
    process = python("-c", KINDS)
    output = process.communicate()[0]
    assert process.returncode == 0, output
    taken = json.loads(output.splitlines()[-1])
    assert zoo.registry.ACTIONS_OF_OTHERS.keys() <= taken.keys()
    for algo, names in taken.items():
        assert names == [space.__name__ for space in zoo.fitting_actions(algo)], algo
