"""Variants of an algorithm, arguments of environments, tracking, and folders that were put together, in a comparison."""

import importlib.machinery
import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from comparisons import BOX, SLASH, compare, statuses

from sb3_maxent import zoo
from sb3_maxent.compare import __main__ as command
from sb3_maxent.compare import folder as folders

WIDE = "wide-2.0=sac,learning_rate:0.1,policy_kwargs:dict(net_arch=[128, 128], use_sde=False),tau:0.5"


def record(place):
    return json.loads(Path("runs/c", place, "run.json").read_text())


def arguments_of(fakes):
    return [" ".join(start["arguments"]) for start in fakes.started()]


def test_a_variant_beside_its_algorithm(fakes, capsys):
    words = ["--hyperparams", "gamma:0.9", "sac=learning_rate:0.2", "--variant", WIDE]
    assert compare(*words, algos="sac", seeds=2) == 0
    assert statuses() == {f"{algo} {BOX} {seed}": "finished" for algo in ("sac", "wide-2.0") for seed in (0, 1)}
    plain, variant = arguments_of(fakes)[:2]
    assert "--algo sac" in plain and plain.endswith("--hyperparams gamma:0.9 learning_rate:0.2")
    assert "--algo sac" in variant and variant.endswith(
        "--hyperparams gamma:0.9 learning_rate:0.2 learning_rate:0.1 "
        "policy_kwargs:dict(net_arch=[128, 128], use_sde=False) tau:0.5"
    )
    of_variant = record(f"variants/wide-2.0/sac/{BOX}_2")
    assert (of_variant["algo"], of_variant["variant"], of_variant["seed"]) == ("sac", "wide-2.0", 1)
    own = {"learning_rate": 0.1, "policy_kwargs": "dict(net_arch=[128, 128], use_sde=False)", "tau": 0.5}
    assert of_variant["hyperparams"] == {"policy": "MlpPolicy", "gamma": 0.9, **own}
    assert record(f"sac/{BOX}_1")["hyperparams"]["learning_rate"] == 0.2
    assert "learning_rate: 0.1" in folders.report_settings(Path("runs/c"))["hyperparams"]["wide-2.0"][BOX]
    fakes.take_started()

    # The same command goes on, one that asks for less keeps the rest in the report, and more can be added
    assert compare(*words, algos="sac", seeds=2) == 0
    assert "skipped: 4 (sac on Pendulum-v1: seeds 0, 1; wide-2.0 on Pendulum-v1: seeds 0, 1)" in capsys.readouterr().out
    assert compare("--hyperparams", "gamma:0.9", "sac=learning_rate:0.2", algos="sac", seeds=2) == 0
    assert len(statuses()) == 4 and fakes.take_started() == []
    assert compare(*words, "other=s2ac,tau:1", algos="sac", seeds=2) == 0
    assert fakes.take_started() == [f"s2ac {BOX} 0", f"s2ac {BOX} 1"] and len(statuses()) == 6


def test_a_variant_alone_that_fails(fakes, capsys):
    fakes.plan({f"sac {BOX} 1": "fail"})
    line = f"--variant {WIDE.replace(' ', '')} --envs {BOX} --seeds 2 -n 10 --eval-episodes 3 -f runs/c"
    assert command.main(line.split()) == 1
    assert statuses() == {f"wide-2.0 {BOX} 0": "finished", f"wide-2.0 {BOX} 1": "failed"}
    assert Path(f"runs/c/failed/wide-2.0_{BOX}_seed1.log").is_file()
    # A command without it does not forget what it was
    assert compare(algos="s2ac") == 0
    assert statuses()[f"wide-2.0 {BOX} 1"] == "failed"


def test_another_variant_of_the_same_name(fakes, capsys):
    assert compare("--variant", "v=sac,tau:0.5", algos="s2ac") == 0
    assert compare("--variant", "v=sac,tau:0.25", algos="s2ac") == 2
    assert "tau of v on Pendulum-v1 is 0.5 there and 0.25 now" in capsys.readouterr().err
    assert compare("--variant", "v=s2ac,tau:0.5", algos="s2ac") == 2
    assert "v is a variant of sac there and of s2ac now" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option, value, message",
    [
        ("--variant", "sac", "--variant sac: NAME=ALGO,KEY:VALUE,... is needed"),
        ("--variant", "=sac", "--variant =sac: a name has 1 to 40 letters, digits, dots and hyphens, which '' has not"),
        ("--variant", "a_b=sac", "which 'a_b' has not"),
        ("--variant", "../a=sac", "which '../a' has not"),
        ("--variant", "TQC=sac", "there is an algorithm or another variant of the name 'TQC'"),
        ("--variant", "v=sca", "there is no algorithm 'sca', did you mean 'sac'"),
        ("--variant", "v=sac,tau", "--variant v: tau: KEY:VALUE is needed"),
        ("--variant", "v=sac,tau:1,2", "--variant v: 2: KEY:VALUE is needed"),
        ("--variant", "v=sac,tau:dict(a=1", "--variant v: tau:dict(a=1: 'dict(a=1' is not a Python expression"),
        ("--variant", "v=sac,n_partikles:8", "v: there is no hyperparameter 'n_partikles'"),
        ("--variant", "v=dqn", "v on Pendulum-v1: its actions are Box"),
        ("--hyperparams", "env_kwargs:dict(g=1)", "env_kwargs is no hyperparameter here: --env-kwargs KEY:VALUE"),
        ("--env-kwargs", "g=1", "--env-kwargs g=1: KEY:VALUE or ENV=KEY:VALUE is needed"),
        ("--env-kwargs", "g:dict(a=1)", "--env-kwargs g:dict(a=1): 'dict(a=1)' must be a Python literal"),
        ("--env-kwargs", "Pendulum-v0=g:1", "--env-kwargs Pendulum-v0=g:1: 'Pendulum-v0' is no environment"),
        ("--env-kwargs", "CartPole-v1=g:1", "'CartPole-v1' is not among --envs"),
        ("--env-kwargs", "gravity:1", "environment 'Pendulum-v1' can't be made: TypeError: "),
    ],
)
def test_bad_input(fakes, capsys, option, value, message):
    assert compare(option, value) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert fakes.take_started() == [] and not Path("runs").exists()


def test_two_variants_of_one_name(fakes, capsys):
    assert compare("--variant", "v=sac", "V=s2ac") == 2
    assert "another variant of the name 'V'" in capsys.readouterr().err


# ---------------------------------------------------------------------- arguments of environments


def test_arguments_of_environments(fakes, capsys):
    kwargs = ["--env-kwargs", "g:9.5", f"{SLASH}=g:5", f"{SLASH}=render_mode:None"]
    assert compare(*kwargs, algos="sac", envs=f"{BOX} {SLASH}") == 0
    of_box, of_slash = arguments_of(fakes)
    assert of_box.endswith("--env-kwargs g:9.5") and of_slash.endswith("--env-kwargs g:5 render_mode:None")
    assert record(f"sac/{BOX}_1")["hyperparams"]["env_kwargs"] == {"g": 9.5}
    # Others are another experiment
    assert compare(algos="sac", envs=f"{BOX} {SLASH}") == 2
    assert "env_kwargs of sac on Pendulum-v1 is {'g': 9.5} there and not set now" in capsys.readouterr().err


def test_arguments_of_environments_in_a_file(fakes, monkeypatch):
    """rl_zoo3 keeps these from the environment of the evaluations, but for those of its command line."""
    monkeypatch.setattr(zoo, "read_hyperparams", lambda *_: {"policy": "p", "n_timesteps": 5, "env_kwargs": {"g": "x y"}})
    assert compare(algos="sac") == 0
    (start,) = fakes.started()
    assert start["arguments"][-2:] == ["--env-kwargs", "g:'x y'"]


def test_actions_that_follow_from_the_arguments(fakes, capsys):
    def make(discrete: bool = False, **kwargs: Any) -> gym.Env[Any, Any]:
        return gym.make("CartPole-v1" if discrete else "Pendulum-v1", **kwargs)

    gym.register("Either-v0", make)
    assert compare("--env-kwargs", "discrete:False", algos="sac", envs="Either-v0") == 0
    assert compare("--env-kwargs", "discrete:True", algos="sac", envs="Either-v0", folder="runs/d") == 2
    assert "sac on Either-v0: its actions are Discrete(2), but sac needs Box" in capsys.readouterr().err


# ---------------------------------------------------------------------- tracking


def test_tracking(fakes, capsys, monkeypatch):
    assert importlib.util.find_spec("wandb") is None
    assert compare("--track") == 2
    assert "--track needs wandb: pip install wandb" in capsys.readouterr().err
    there = importlib.machinery.ModuleSpec("wandb", None)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: there if name == "wandb" else find(name, *rest))
    names = "--wandb-project-name goals --wandb-entity us --wandb-tags a b".split()
    assert compare("--track", *names, "--variant", "v=sac", algos="s2ac") == 0
    expected = f"--track --wandb-group {{}} {' '.join(names)}"
    assert [line[line.index("--track") :] for line in arguments_of(fakes)] == [expected.format("s2ac"), expected.format("v")]
    # It is no setting of the experiment: the same runs can be gone on with without it
    assert compare("--variant", "v=sac", algos="s2ac") == 0


# ---------------------------------------------------------------------- folders of several people


def test_folders_put_together(fakes, capsys):
    variant = ["--variant", "v=sac,tau:0.5"]
    assert compare(*variant, algos="sac", seeds=2, folder="runs/c") == 0
    assert compare(*variant, "--first-seed", 2, algos="sac", seeds=2, folder="theirs") == 0
    fakes.take_started()
    shutil.copytree("theirs/sac", "runs/c/sac", dirs_exist_ok=True)
    shutil.copytree("theirs/variants", "runs/c/variants", dirs_exist_ok=True)
    assert statuses() == {f"{algo} {BOX} {seed}": "finished" for algo in ("sac", "v") for seed in range(4)}
    assert command.main(["--report-only", "-f", "runs/c"]) == 0
    # They count as if they had been made there
    assert compare(*variant, algos="sac", seeds=5) == 0
    assert fakes.take_started() == [f"sac {BOX} 4"] * 2


def test_runs_of_other_settings_put_together(fakes, capsys):
    assert compare(algos="sac") == 0
    assert compare("--first-seed", 1, algos="sac", n=20, folder="theirs") == 0
    shutil.copytree("theirs/sac", "runs/c/sac", dirs_exist_ok=True)
    steps = {result.seed: result.n_timesteps for result in folders.read_results(Path("runs/c"))}
    assert steps == {0: 10, 1: 20}, "the report says that they differ"
    assert folders.report_settings(Path("runs/c"))["n_timesteps"] == "10; 20"
    assert compare(algos="sac", seeds=3) == 2
    assert "n_timesteps is 20 there and 10 now" in capsys.readouterr().err
