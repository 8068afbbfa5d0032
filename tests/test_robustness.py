"""
Trained agents in perturbed worlds: the numbers against evaluations by hand, what is kept and made again, the report.

The agents are tiny, trained once for all tests by the zoo's own code, and so are their environments' numbers of episodes.
"""

import argparse
import csv
import dataclasses
import importlib.util
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import matplotlib as mpl
import numpy as np
import pytest
import torch as th

# Not importorskip: importing rl_zoo3 replaces Gymnasium's TimeLimit, also for the tests of other files
if any(importlib.util.find_spec(module) is None for module in ("rl_zoo3", "rliable", "markdown_it")):
    pytest.skip('needs "sb3_maxent[compare]"', allow_module_level=True)

from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from stable_baselines3 import SAC, HerReplayBuffer
from stable_baselines3.common.atari_wrappers import EpisodicLifeEnv
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize

from sb3_maxent import DiscreteSAC, zoo
from sb3_maxent.envs import PERTURBATIONS, PerturbationWrapper
from sb3_maxent.reporting import formatting, statistics
from sb3_maxent.reporting.looks import COLOURS
from sb3_maxent.robustness import evaluation, report
from sb3_maxent.robustness.__main__ import main
from sb3_maxent.robustness.table import Row, World, append, newest, read
from sb3_maxent.zoo import agents

EPISODES = 3
UNPERTURBED = World()
SMALL = {
    "policy": "MlpPolicy",
    "batch_size": 8,
    "buffer_size": 200,
    "learning_starts": 100,
    "policy_kwargs": "dict(net_arch=[8])",
}
WALLS = [[[-1, -7], [-1, 7]], [[1, -7], [1, 7]], [[-1, 1], [1, 1]], [[-1, -1], [1, -1]]]


def train(folder, algo, env_id, seed, hyperparams=SMALL, env_kwargs=None):
    """An agent that the zoo's own code trains and saves"""
    zoo.register()
    from rl_zoo3.exp_manager import ExperimentManager

    arguments = argparse.Namespace(algo=algo, env=env_id, seed=seed, env_kwargs=env_kwargs, gym_packages=[])
    experiment = ExperimentManager(
        *(arguments, algo, env_id, str(folder)),
        n_timesteps=110,
        eval_freq=-1,
        hyperparams=hyperparams,
        env_kwargs=env_kwargs,
        seed=seed,
        log_interval=-1,
        verbose=0,
        device="cpu",
    )
    model, _ = experiment.setup_experiment()  # type: ignore[misc]  # None is for -optimize
    experiment.learn(model)
    experiment.save_trained_model(model)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("agents")
    for seed in range(3):
        train(folder, "sac", "Pendulum-v1", seed)
    train(folder, "sac", "MultiGoal-v0", 0)
    train(folder, "discretesac", "CartPole-v1", 5)
    special = {
        "n_envs": 1,
        "policy_kwargs": SMALL["policy_kwargs"],
        "normalize": True,
        "frame_stack": 2,
        "env_wrapper": "gymnasium.wrappers.TimeAwareObservation",
    }
    train(folder, "a2c", "Pendulum-v1", 7, special, {"g": 5.0})
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of the agents, of which a test may change some"""
    shutil.copytree(trained, tmp_path / "agents")
    return tmp_path / "agents"


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Intervals that are quick"""
    monkeypatch.setattr(statistics, "REPETITIONS", 50)


@pytest.fixture
def run(folder, tmp_path, capsys, monkeypatch):
    """The command, on the agents in ``folder``: what it printed, and the table. It draws the figure, but saves none."""
    monkeypatch.setattr(formatting, "save_figure", lambda figure, path, title: Path(f"{path}.svg").write_text("<svg></svg>"))

    def run(*arguments, status=0):
        words = ["-f", str(folder), "-o", str(tmp_path / "out"), "--episodes", str(EPISODES), "--device", "cpu", *arguments]
        assert main(words) == status
        printed = capsys.readouterr()
        return printed.out + printed.err, read(tmp_path / "out" / "results.csv")

    return run


def by_hand(model, env_id, wrap=lambda env: env, around=lambda env: env, seeds=range(EPISODES), **kwargs):
    """Returns and lengths of one episode after the other, each in an environment of its own"""
    results = []
    for seed in seeds:
        env = around(DummyVecEnv([lambda: wrap(Monitor(gym.make(env_id, **kwargs)))]))
        env.seed(seed)
        results.append(evaluate_policy(model, env, 1, return_episode_rewards=True))
    returns, lengths = np.array(results)[:, :, 0].T
    return returns, lengths


def pick(rows, algo="sac", exp_id="1", world=UNPERTURBED, env="Pendulum-v1"):
    (row,) = (row for row in rows if (row.agent[:3], row.world) == ((algo, env, exp_id), world))
    return row


def same(row, returns, lengths):
    # Networks round otherwise for another size of batch
    assert row.mean_return == pytest.approx(np.mean(returns), rel=1e-4)
    assert row.std_return == pytest.approx(np.std(returns), rel=1e-3, abs=1e-4)
    assert row.mean_length == np.mean(lengths)
    assert row.episodes == len(returns)


# ---------------------------------------------------------------------- evaluations


def test_numbers_are_those_of_evaluate_policy(run, folder):
    _, rows = run("--algos", "sac", "--envs", "Pendulum-v1", "--perturb", "observation_noise:0,0.5", "action_delay:0,2")
    assert len(rows) == 3 * 3, "the unperturbed world once for each agent"
    for exp_id in "13":
        model = SAC.load(folder / "sac" / f"Pendulum-v1_{exp_id}" / "Pendulum-v1.zip")
        unperturbed = by_hand(model, "Pendulum-v1")
        assert np.std(unperturbed[0]) > 1, "episodes differ"
        same(pick(rows, exp_id=exp_id), *unperturbed)
        for name, value in (("observation_noise", 0.5), ("action_delay", 2)):
            perturbed = by_hand(model, "Pendulum-v1", lambda env, given={name: value}: PerturbationWrapper(env, **given))
            assert abs(perturbed[0] - unperturbed[0]).min() > 1e-2, "it is another world"
            same(pick(rows, exp_id=exp_id, world=World(name, str(value))), *perturbed)
        assert pick(rows, exp_id=exp_id).seed == int(exp_id) - 1
    # The first episodes' seeds are those that were asked for
    model = SAC.load(folder / "sac" / "Pendulum-v1_1" / "Pendulum-v1.zip")
    _, rows = run(
        "--algos", "sac", "--perturb", "action_delay:2", "--envs", "Pendulum-v1", "--seed", "7", "-o", str(folder / "7")
    )
    rows = read(folder / "7" / "results.csv")
    same(pick(rows), *by_hand(model, "Pendulum-v1", seeds=range(7, 10)))


def test_training_s_environment(run, folder):
    """VecNormalize, stacked frames, a wrapper and arguments of the environment, as in training; returns are raw."""
    TimeAware = gym.wrappers.TimeAwareObservation

    place = folder / "a2c" / "Pendulum-v1_1"
    statistics_file = place / "Pendulum-v1" / "vecnormalize.pkl"
    before = statistics_file.read_bytes()
    _, rows = run("--algos", "a2c", "--perturb", "observation_noise:0.5")
    assert statistics_file.read_bytes() == before

    (agent,) = (agent for agent in zoo.trained_agents(folder) if agent.algo == "a2c")
    model = zoo.load_agent(agent, "cpu")

    def around(env, with_statistics=True):
        if with_statistics:
            env = VecNormalize.load(str(statistics_file), env)
            env.training = env.norm_reward = False
        return VecFrameStack(env, 2)

    def perturbed(env):
        # Within what the agent's training put around the environment: its own clock is right
        return TimeAware(PerturbationWrapper(env, observation_noise=0.5))

    same(pick(rows, "a2c"), *by_hand(model, "Pendulum-v1", TimeAware, around, g=5.0))
    same(pick(rows, "a2c", world=World("observation_noise", "0.5")), *by_hand(model, "Pendulum-v1", perturbed, around, g=5.0))
    # Each of them matters
    right = pick(rows, "a2c").mean_return
    for other in (
        by_hand(model, "Pendulum-v1", TimeAware, lambda env: around(env, False), g=5.0),
        by_hand(model, "Pendulum-v1", TimeAware, around),
    ):
        assert abs(np.mean(other[0]) - right) > 1

    env = zoo.evaluation_env(agent, n_envs=2, seed=0)
    vec_normalize = env.venv
    assert isinstance(env, VecFrameStack) and isinstance(vec_normalize, VecNormalize)
    assert not vec_normalize.training and not vec_normalize.norm_reward
    assert env.get_attr("g") == [5.0, 5.0]
    env.close()


class Stub:
    """An agent whose action is the observation's first number; keeps what it sees"""

    def __init__(self):
        self.seen = []

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        self.seen.append(observation.copy())
        return 2 * observation[:, :1], None


def test_noise_reaches_the_agent(run, monkeypatch):
    stubs = []
    monkeypatch.setattr(zoo.TrainedAgent, "load", lambda *_: stubs.append(Stub()) or stubs[-1])
    _, rows = run("--envs", "Pendulum-v1", "--algos", "sac", "--perturb", "observation_noise:0.01,0.02")
    first = {row.world: stub.seen[0] for row, stub in zip(rows, stubs, strict=True)}  # (episodes, 3)
    one, two = (first[World("observation_noise", value)] - first[World()] for value in ("0.01", "0.02"))
    # The same random numbers, twice as large (of the angular velocity, which is far from its bounds)
    assert np.allclose(two[:, 2], 2 * one[:, 2], atol=1e-6)
    assert 1e-4 < abs(one[:, 2]).min() and abs(one[:, 2]).max() < 0.05
    # And it acts on what it has seen
    scores = [pick(rows, world=World("observation_noise", value)).mean_return for value in ("0.01", "0.02")]
    assert len({pick(rows).mean_return, *scores}) == 3


def test_success_and_walls(run, folder):
    wall = json.dumps(WALLS)
    _, rows = run("--envs", "MultiGoal-v0", "--perturb", f"obstacles:none,{wall}", "action_noise:0.5,0.50,1")
    worlds = [World(), World("obstacles", wall), World("action_noise", "0.5"), World("action_noise", "1")]
    assert [row.world for row in rows] == worlds
    model = SAC.load(folder / "sac" / "MultiGoal-v0_1" / "MultiGoal-v0.zip")
    for row in rows:
        returns, lengths = by_hand(model, "MultiGoal-v0", partial(PerturbationWrapper, **row.world.arguments))
        same(row, returns, lengths)
        assert row.success_rate == np.mean(lengths < 30)
    enclosed = pick(rows, world=worlds[1], env="MultiGoal-v0")
    assert enclosed.success_rate == 0 and enclosed.mean_length == 30
    assert pick(rows, world=worlds[3], env="MultiGoal-v0").success_rate > 0


def test_a_wrapper_of_the_training_ends_the_episode(run, folder):
    """Around Monitor, which does not see it; a scaled reward is not that of the environment."""
    wrappers = [
        {"gymnasium.wrappers.TimeLimit": {"max_episode_steps": 7}},
        {"gymnasium.wrappers.TransformReward": {"func": abs}},
    ]
    train(folder, "sac", "MultiGoal-v0", 3, {**SMALL, "env_wrapper": wrappers})
    _, rows = run("--envs", "MultiGoal-v0", "--perturb", "action_delay:1")
    model = SAC.load(folder / "sac" / "MultiGoal-v0_2" / "MultiGoal-v0.zip")
    same(pick(rows, exp_id="2", env="MultiGoal-v0"), *by_hand(model, "MultiGoal-v0", max_episode_steps=7))
    late = by_hand(model, "MultiGoal-v0", partial(PerturbationWrapper, action_delay=1), max_episode_steps=7)
    same(pick(rows, exp_id="2", env="MultiGoal-v0", world=World("action_delay", "1")), *late)
    assert pick(rows, exp_id="2", env="MultiGoal-v0").mean_length <= 7


def test_the_loss_of_a_life_ends_no_episode():
    """A done of EpisodicLifeEnv inside the game is not Monitor's, and is not made one."""

    class Game(gym.Env):
        left: int
        observation_space, action_space = gym.spaces.Box(-1, 1, (1,)), gym.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            self.ale, self.left = argparse.Namespace(lives=lambda: self.left), 2
            return np.zeros(1, np.float32), {}

        def step(self, action):
            self.left -= 1
            return np.zeros(1, np.float32), 1.0, self.left == 0, False, {}

    env = agents._EndOfEpisode(EpisodicLifeEnv(Monitor(Game())))
    env.reset()
    steps = [env.step(0), env.step(0)]
    assert [step[2] for step in steps] == [True, True]
    assert [step[4].get("episode", {}).get("l") for step in steps] == [None, 2]


def test_agents_of_other_environments_are_not_pooled(run, folder):
    train(folder, "sac", "Pendulum-v1", 9, env_kwargs={"g": 5.0})
    printed, _ = run("--algos", "sac", "--envs", "Pendulum-v1", "--perturb", "action_delay:1", status=2)
    assert "Pendulum-v1: agents with other env_kwargs can't be compared (sac 3: {}; sac 4: {'g': 5.0})" in printed


def test_agents_of_another_folder_are_others(run, folder, tmp_path, capsys):
    arguments = ["--algos", "sac", "--envs", "MultiGoal-v0", "--perturb", "action_delay:1"]
    run(*arguments)
    shutil.copytree(folder, tmp_path / "copy")
    output = tmp_path / "out"
    assert main(["-f", str(tmp_path / "copy"), "-o", str(output), "--episodes", str(EPISODES), *arguments]) == 0
    rows = newest(read(output / "results.csv"))
    assert len(rows) == 4 and len({row.agent for row in rows}) == 2
    assert "Another model" not in capsys.readouterr().out
    assert "if they are copies" in (output / "robustness.md").read_text()


def test_discrete_actions(run, folder):
    _, rows = run("--algos", "discretesac", "--perturb", "observation_noise:0.3")
    model = DiscreteSAC.load(folder / "discretesac" / "CartPole-v1_1" / "CartPole-v1.zip")
    same(pick(rows, "discretesac", env="CartPole-v1"), *by_hand(model, "CartPole-v1"))
    perturbed = by_hand(model, "CartPole-v1", partial(PerturbationWrapper, observation_noise=0.3))
    same(pick(rows, "discretesac", world=World("observation_noise", "0.3"), env="CartPole-v1"), *perturbed)
    assert all(math.isnan(row.success_rate) and row.seed == 5 for row in rows)
    printed, _ = run("--algos", "discretesac", "--perturb", "action_delay:1", status=2)
    assert "CartPole-v1, action_delay 1: `action_delay` must be 0" in printed


def test_best_model_and_sampled_actions(run, folder):
    place = folder / "sac" / "Pendulum-v1_1"
    shutil.copy(folder / "sac" / "Pendulum-v1_2" / "Pendulum-v1.zip", place / "best_model.zip")
    arguments = ["--envs", "Pendulum-v1", "--algos", "sac", "--perturb", "action_delay:1"]
    _, last = run(*arguments)
    # Only the agents that have one
    assert main(["-f", str(folder), "--load-best", "-o", str(folder / "best"), "--episodes", "3", *arguments]) == 0
    best = read(folder / "best" / "results.csv")
    assert {row.exp_id for row in best} == {"1"} and {row.saved for row in best} == {"best"}
    assert pick(best).mean_return == pick(last, exp_id="2").mean_return != pick(last).mean_return
    arguments = ["--envs", "MultiGoal-v0", "--perturb", "action_delay:1"]
    assert (
        main(["-f", str(folder), "--stochastic", "--seed", "4", "-o", str(folder / "s"), "--episodes", "3", *arguments]) == 0
    )
    row = pick(read(folder / "s" / "results.csv"), env="MultiGoal-v0")
    model = SAC.load(folder / "sac" / "MultiGoal-v0_1" / "MultiGoal-v0.zip")
    env = DummyVecEnv([lambda: Monitor(gym.make("MultiGoal-v0"))] * 3)
    env.seed(4)
    set_random_seed(4)
    same(row, *evaluate_policy(model, env, 3, deterministic=False, return_episode_rewards=True))
    assert row.actions == "stochastic"


def test_variants_of_a_comparison_have_names_of_their_own(run, folder, capsys):
    shutil.copytree(folder / "sac" / "Pendulum-v1_1", folder / "variants" / "small" / "sac" / "Pendulum-v1_1")
    variant = next(agent for agent in zoo.trained_agents(folder) if agent.variant)
    assert (variant.algo, variant.label, variant.key[:3]) == ("sac", "small", ("small", "Pendulum-v1", "1"))
    assert isinstance(zoo.load_agent(variant, "cpu"), SAC)
    _, rows = run("--algos", "sac", "small", "--envs", "Pendulum-v1", "--perturb", "action_noise:0.5")
    of_variant, of_sac = (
        [row.mean_return for row in rows if (row.algo, row.exp_id) == (algo, "1")] for algo in ("small", "sac")
    )
    assert of_variant == of_sac and len(of_sac) == 2, "it is the same agent here"


def test_agents_load_without_the_buffer(folder, tmp_path, monkeypatch):
    agents = {(agent.algo, agent.env, agent.exp_id): agent for agent in zoo.trained_agents(folder)}
    assert list(agents) == [
        ("a2c", "Pendulum-v1", "1"),
        ("discretesac", "CartPole-v1", "1"),
        ("sac", "MultiGoal-v0", "1"),
        *(("sac", "Pendulum-v1", exp_id) for exp_id in "123"),
    ]
    agent = agents["sac", "Pendulum-v1", "2"]
    assert zoo.load_agent(agent, "cpu").replay_buffer.buffer_size == 1
    # HER's buffer needs an environment
    env = BitFlippingEnv(n_bits=3, continuous=True)
    SAC("MultiInputPolicy", env, replay_buffer_class=HerReplayBuffer, buffer_size=500).save(tmp_path / "her")
    loaded = zoo.load_agent(dataclasses.replace(agent, file=tmp_path / "her.zip"), "cpu")
    assert loaded.replay_buffer.buffer_size == 1
    observation: Any = env.reset()[0]
    loaded.predict(observation)
    # What registers environments, as the training's command line had it
    (tmp_path / "own_envs.py").write_text("LOADED = True")
    monkeypatch.syspath_prepend(tmp_path)
    zoo.evaluation_env(dataclasses.replace(agent, arguments={**agent.arguments, "gym_packages": ["own_envs"]})).close()
    assert sys.modules.pop("own_envs").LOADED
    # A training that is under way has no model yet
    agent.file.unlink()
    assert ("sac", "Pendulum-v1", "2") not in {each.key[:3] for each in zoo.trained_agents(folder)}


# ---------------------------------------------------------------------- going on


def evaluated(printed):
    return re.findall(r"^\[\d+/\d+\] (.*): return", printed, re.MULTILINE)


def test_the_same_command_goes_on(run, folder, tmp_path):
    arguments = ["--envs", "Pendulum-v1", "--perturb", "observation_noise:0,0.1"]
    printed, rows = run(*arguments, "--algos", "sac")
    assert len(evaluated(printed)) == len(rows) == 6
    before = (tmp_path / "out" / "results.csv").read_bytes()
    printed, _ = run(*arguments, "--algos", "sac")
    assert "there already: 6" in printed and not evaluated(printed)
    # Agents, algorithms and strengths can be added; 0.1 is 0.10
    shutil.rmtree(folder / "a2c")  # of another environment
    train(folder, "a2c", "Pendulum-v1", 7, {"n_envs": 1, "policy_kwargs": SMALL["policy_kwargs"]})
    printed, rows = run("--envs", "Pendulum-v1", "--perturb", "observation_noise:0.10,0.2")
    assert len(evaluated(printed)) == 3 + 3 and len(rows) == 12
    assert (tmp_path / "out" / "results.csv").read_bytes().startswith(before)
    assert sum(text.startswith("a2c on Pendulum-v1, agent 1 (seed 7)") for text in evaluated(printed)) == 3
    # Other settings would make other numbers
    printed, _ = run(*arguments, "--episodes", "4", "--stochastic", "--seed", "1", status=2)
    for line in ("episodes is 3 there and 4", "actions is deterministic there and stochastic", "first_seed is 0 there and 1"):
        assert line in printed


def test_an_agent_that_was_trained_again_is_another_one(run, folder, tmp_path):
    arguments = ["--envs", "Pendulum-v1", "--algos", "sac"]
    _, old = run(*arguments, "--perturb", "observation_noise:0.1", "action_delay:1")
    file = folder / "sac" / "Pendulum-v1_1" / "Pendulum-v1.zip"
    content, times = file.read_bytes(), os.stat(file)
    shutil.copy(folder / "sac" / "Pendulum-v1_3" / "Pendulum-v1.zip", file)
    printed, rows = run(*arguments, "--perturb", "observation_noise:0.1")
    assert "Another model than before, evaluated anew: sac on Pendulum-v1, agent 1" in printed
    assert len(evaluated(printed)) == 2, "the new one, in two worlds"
    assert str(rows[:9]) == str(old), "what was evaluated is kept"
    # But does not count, not even where the new one was not evaluated
    counting = newest(rows)
    assert len(counting) == 8
    assert pick(counting).mean_return == pick(counting, exp_id="3").mean_return
    assert not [row for row in counting if row.exp_id == "1" and row.world == World("action_delay", "1")]
    table = tables((tmp_path / "out" / "robustness.md").read_text())["action_delay on Pendulum-v1"][0]
    assert table[1][1] == "2 to 3"
    # And back again
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    _, rows = run(*arguments, "--perturb", "observation_noise:0.1")
    assert str([row for row in newest(rows) if row.exp_id == "1"]) == str([row for row in old if row.exp_id == "1"])


def test_half_a_line_is_mended(run, tmp_path):
    arguments = ["--envs", "MultiGoal-v0", "--perturb", "action_noise:0.1,0.2"]
    _, rows = run(*arguments)
    file = tmp_path / "out" / "results.csv"
    content = file.read_bytes()
    lines = content.splitlines(keepends=True)
    for cut in (1, len(lines[-1]) - 1):
        file.write_bytes(content[:-cut])
        assert read(file) == rows[:2]
        printed, _ = run(*arguments)
        assert "there already: 2" in printed and file.read_bytes() == content
    file.write_bytes(content[:10])  # of the heading
    assert len(evaluated(run(*arguments)[0])) == 3 and file.read_bytes() == content
    # Nothing else is taken for half a line
    file.write_bytes(b"".join([*lines[:2], b"sac,what\n", *lines[2:]]))
    with pytest.raises(ValueError, match="line 3 can't be read"):
        run(*arguments, status=2)
    file.write_text("x,y\n1,2\n")
    with pytest.raises(ValueError, match="is not a table of this command"):
        run(*arguments, status=2)
    assert file.read_text() == "x,y\n1,2\n"


def test_a_failure_does_not_stop_the_others(run, folder):
    broken = folder / "sac" / "Pendulum-v1_2" / "Pendulum-v1.zip"
    content = broken.read_bytes()
    broken.write_bytes(b"no zip file")
    arguments = ["--envs", "Pendulum-v1", "--algos", "sac", "--perturb", "action_delay:1"]
    printed, rows = run(*arguments, status=1)
    assert printed.count("agent 2 (seed 1), unperturbed: failed: ") == 1 and "Not evaluated: 2" in printed
    assert {row.exp_id for row in rows} == {"1", "3"} and len(rows) == 4
    broken.write_bytes(content)
    printed, rows = run(*arguments)
    assert len(evaluated(printed)) == 2 and len(rows) == 6


def test_interrupted(run, monkeypatch, tmp_path):
    arguments = ["--envs", "MultiGoal-v0", "--perturb", "action_noise:0.1,0.2,0.3"]
    evaluate = evaluation.evaluate

    def interrupted(job):
        if job.world.value == "0.2":
            raise KeyboardInterrupt
        return evaluate(job)

    monkeypatch.setattr(evaluation, "evaluate", interrupted)
    printed, rows = run(*arguments, status=130)
    assert "Interrupted." in printed and [row.value for row in rows] == ["", "0.1"]
    assert (tmp_path / "out" / "robustness.md").is_file()
    monkeypatch.setattr(evaluation, "evaluate", evaluate)
    assert [row.value for row in run(*arguments)[1]] == ["", "0.1", "0.2", "0.3"]


def start(folder, out, *arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    command = [sys.executable, "-m", "sb3_maxent.robustness", "-f", folder, "-o", out, "--device", "cpu", *arguments]
    return subprocess.Popen(
        list(map(str, command)), env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def until(condition, seconds=120):
    """A limit for what goes wrong only"""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "has not happened"
        time.sleep(0.02)


def noises(number):
    return ["--algos", "a2c", "--perturb", "action_noise:" + ",".join(map(str, range(1, number)))]


@pytest.mark.slow
def test_killed(run, folder, tmp_path):
    """The real command line, killed in the middle: what it had evaluated is there."""
    file = tmp_path / "out" / "results.csv"
    with start(folder, tmp_path / "out", "--episodes", EPISODES, *noises(60)) as process:
        until(lambda: len(read(file)) >= 2)
        process.kill()
    before = read(file)
    assert process.returncode == -signal.SIGKILL and 2 <= len(before) < 60
    number = len(before) + 2
    printed, rows = run(*noises(number))
    assert f"there already: {len(before)}" in printed and str(rows[: len(before)]) == str(before)
    assert [row.world for row in rows] == [World(), *(World("action_noise", str(value)) for value in range(1, number))]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_the_command(run, folder, tmp_path, number):
    psutil = pytest.importorskip("psutil")
    file = tmp_path / "out" / "results.csv"
    with start(folder, tmp_path / "out", "--episodes", EPISODES, "--n-jobs", 2, *noises(40)) as process:
        until(lambda: len(read(file)) >= 4)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        process.send_signal(number)
        printed = process.stdout.read()
    until(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children))
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert ("Interrupted" in printed) == (number == signal.SIGINT) and "Traceback" not in printed
    # The same numbers with any number of processes
    before = {row.world: row for row in read(file)}
    run(*noises(40), "-o", str(tmp_path / "serial"))
    serial = {row.world: row for row in read(tmp_path / "serial" / "results.csv")}
    assert all(str(serial[world]) == str(row) for world, row in before.items())
    assert len(run(*noises(40))[1]) == 40


@pytest.mark.slow
def test_a_process_is_killed(folder, tmp_path):
    psutil = pytest.importorskip("psutil")
    file = tmp_path / "out" / "results.csv"
    with start(folder, tmp_path / "out", "--episodes", EPISODES, "--n-jobs", 2, *noises(100)) as process:
        until(lambda: len(read(file)) >= 2)
        # Beside the two there is one that looks after multiprocessing's resources
        workers = [child for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline())]
        workers[0].kill()
        printed = process.stdout.read()
    assert process.returncode == 1 and "A process was killed" in printed and "the same command goes on" in printed
    assert len(read(file)) >= 2 and (tmp_path / "out" / "robustness.md").is_file()


# ---------------------------------------------------------------------- bad input


def test_all_that_is_wrong_in_one_message(run, folder):
    arguments = ["--algos", "sca", "discretesac", "--envs", "Pendulm-v1", "Pendulum-v1", "CartPole-v1", "--perturb"]
    arguments += ["observation_noise:-1,0.1", "observatoin_noise:1", "mass:2", "action_noise:", "friction:x", "action_noise:1"]
    arguments += ["action_noise:2", "gravity:1e999", "--episodes", "0", "--seed", "-1", "--n-jobs", "0", "--device", "cupu"]
    printed, rows = run(*arguments, status=2)
    for line in (
        "--episodes must be at least 1, not 0",
        "--seed must be at least 0, not -1",
        "--n-jobs must be at least 1, not 0",
        "--device cupu: ",
        "has no agent of algorithm 'sca', did you mean 'sac'?",
        "has no agent of environment 'Pendulm-v1', did you mean 'Pendulum-v1'?",
        "has no agent of discretesac on Pendulum-v1",
        "--perturb observatoin_noise:1: there is no perturbation 'observatoin_noise', did you mean 'observation_noise'",
        "--perturb action_noise:: NAME:V1,V2,... with numbers",
        "--perturb friction:x: NAME:V1,V2,... with numbers",
        "--perturb action_noise:2: action_noise is there twice",
        "CartPole-v1, observation_noise -1: `observation_noise` must be",
        "CartPole-v1, mass 2: `mass` must be 1 outside MuJoCo environments",
        "CartPole-v1, action_noise 1: `action_noise` must be 0",
        "CartPole-v1, gravity Infinity: `gravity` must be",
    ):
        assert printed.count(line) == 1, line
    assert not rows
    printed, _ = run("-f", str(folder / "nowhere"), "--perturb", "mass:2", status=2)
    assert "there is no trained agent in" in printed
    printed, _ = run("--load-best", "--perturb", "mass:2", status=2)
    assert "with a best_model.zip" in printed
    with pytest.raises(SystemExit, match="2"):
        main(["-f", str(folder)])
    assert "there is no evaluation in" in run("--report-only", status=1)[0]


def test_an_algorithm_that_the_zoo_does_not_know(run, folder):
    (folder / "a2c").rename(folder / "own")
    printed, _ = run("--perturb", "observation_noise:1", "--envs", "Pendulum-v1", status=2)
    assert "own is no algorithm of the zoo" in printed
    run("--perturb", "observation_noise:1", "--envs", "MultiGoal-v0", "--algos", "sac")


def test_an_environment_that_can_t_be_made(run, folder):
    shutil.rmtree(folder / "a2c")
    for config in folder.glob("sac/Pendulum-v1_*/Pendulum-v1/config.yml"):
        config.write_text(config.read_text() + "- - env_kwargs\n  - unknown: 1\n")
    printed, _ = run("--perturb", "observation_noise:1,2", "--envs", "Pendulum-v1", status=2)
    assert printed.count("Pendulum-v1, unperturbed: TypeError") == 1 and "observation_noise" not in printed


# ---------------------------------------------------------------------- report


def tables(markdown):
    """By the heading above, tables as rows of cells without backticks"""
    found: dict[str, list] = {}
    heading = before = ""
    for line in markdown.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ").replace("`", "")
        elif line.startswith("|") and "---" not in line:
            of_heading = found.setdefault(heading, [])
            if not before.startswith("|"):
                of_heading.append([])
            of_heading[-1].append([cell.strip().replace("`", "") for cell in line.strip("|").split(" | ")])
        before = line
    return found


def make_table(folder, scores):
    """A table by hand: {(algo, env): {world: returns of agents 1, 2, ...}}, ``None`` where an agent was not evaluated"""
    folder.mkdir(exist_ok=True)
    for (algo, env), worlds in scores.items():
        for (perturbation, strength), returns in worlds.items():
            for number, value in enumerate(returns, 1):
                if value is not None:
                    row = Row(
                        algo,
                        env,
                        str(number),
                        "logs",
                        number,
                        f"{number:x}",
                        "last",
                        perturbation,
                        strength,
                        "deterministic",
                        0,
                        5,
                        mean_return=float(value),
                        std_return=0.0,
                        mean_length=1.0,
                        success_rate=math.nan,
                        versions="",
                    )
                    append(folder / "results.csv", row)


NOISE = [World("observation_noise", value) for value in ("0.5", "0.1")]
SCORES = {
    ("sac", "A-v0"): {World(): [1, 2, 6], NOISE[0]: [0, 0, 0.5], NOISE[1]: [1, 2, 3]},
    ("s2ac", "A-v0"): {World(): [4, 5], NOISE[0]: [None, None, 7], NOISE[1]: [None, 3, 8]},
    ("s2ac", "B-v0"): {World(): [-10], World("mass", "0.5"): [-20], World("mass", "2"): [-30]},
}


def test_numbers_of_the_report(tmp_path):
    make_table(tmp_path, SCORES)
    assert main(["--report-only", "-o", str(tmp_path)]) == 0
    found = tables((tmp_path / "robustness.md").read_text())
    returns, change = found["observation_noise on A-v0"]
    assert returns[0] == ["algorithm", "agents", "0 (unperturbed)", "0.1", "0.5"], "by strength"
    assert change[0] == ["algorithm", "agents", "0.1", "0.5"]
    assert [line[:2] for line in returns[1:]] == [["s2ac", "1 to 2"], ["sac", "3"]]

    def cell(*scores, decimals=2):
        if len(scores) == 1:
            return f"{scores[0]:.{decimals}f} [-]"
        estimate = statistics.summarise(np.array(scores, dtype=float)[:, None])["mean"]
        assert estimate.value == np.mean(scores) and estimate.low < estimate.value < estimate.high
        return f"{estimate.value:.{decimals}f} [{estimate.low:.{decimals}f}, {estimate.high:.{decimals}f}]"

    assert returns[1][2:] == [cell(4, 5), cell(3, 8), cell(7)]
    assert returns[2][2:] == [cell(1, 2, 6), cell(1, 2, 3), cell(0, 0, 0.5)]
    # Paired: agent 2 fell from 5 to 3, and agent 3 has not been in the unperturbed world
    assert change[1][2:] == [cell(-2), "-"]
    assert change[2][2:] == [cell(0, 0, -3), cell(-1, -2, -5.5)]
    # 1 is the unperturbed world of a factor; no algorithm that has no agent there
    returns, change = found["mass on B-v0"]
    assert returns[0][2:] == ["0.5", "1 (unperturbed)", "2"] and [line[0] for line in returns[1:]] == ["s2ac"]
    assert change[1][2:] == ["-10.0 [-]", "-20.0 [-]"]
    settings = dict(found["Settings"][0])
    assert settings["agents"] == "7, of training seeds 1-3" and settings["episodes"] == "5"
    assert "same training seed" not in (tmp_path / "robustness.md").read_text()


def test_same_training_seed_is_said(tmp_path):
    make_table(tmp_path, SCORES)
    row = read(tmp_path / "results.csv")[0]
    append(tmp_path / "results.csv", row._replace(exp_id="9", model="9"))
    report.write_report(tmp_path)
    assert "have the same training seed" in (tmp_path / "robustness.md").read_text()


def test_success_rates_have_a_table(tmp_path):
    make_table(tmp_path, {("sac", "A-v0"): {World(): [1, 2], NOISE[0]: [1, 2]}})
    rows = [row._replace(success_rate=0.5 if row.value else 1.0) for row in read(tmp_path / "results.csv")]
    (tmp_path / "results.csv").unlink()
    for row in rows:
        append(tmp_path / "results.csv", row)
    report.write_report(tmp_path)
    assert "Success rate:" in (tmp_path / "robustness.md").read_text()
    *_, success = tables((tmp_path / "robustness.md").read_text())["observation_noise on A-v0"]
    assert [re.match(r"[\d.]+", text)[0] for text in success[1][2:]] == ["1.000", "0.500"]


def test_the_same_table_gives_the_same_files(tmp_path):
    make_table(tmp_path / "a", SCORES)
    lines = (tmp_path / "a" / "results.csv").read_text().splitlines(keepends=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "results.csv").write_text("".join([lines[0], *lines[:0:-1]]))  # as processes may have it
    for name in "ab":
        report.write_report(tmp_path / name)
    for name in ("robustness.md", "robustness.png", "robustness.svg"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_lines_and_bands(tmp_path):
    make_table(tmp_path, SCORES)
    scores = report.Scores(read(tmp_path / "results.csv"))
    (panel,) = scores.panels("A-v0")
    axes = Figure().subplots()
    report.draw(axes, scores, "A-v0", panel)
    lines, names = axes.get_legend_handles_labels()
    s2ac, sac = lines
    assert names == ["s2ac", "sac"]
    assert [to_rgba(line.get_color()) for line in lines] == [to_rgba(colour) for colour in COLOURS[:2]]
    # Of the agents that were in both worlds: none of s2ac for 0.5
    assert s2ac.get_xydata().tolist() == [[0, 0], [0.1, -2]]
    assert np.allclose(sac.get_xydata(), np.array([[0, 0], [0.1, -1], [0.5, -8.5 / 3]]))
    bands = [band for band in axes.collections if isinstance(band, PolyCollection)]
    low, high = zip(*(scores.estimate("A-v0", "sac", world, "mean_return", True)[1:] for world in panel.labels), strict=True)
    corners = {tuple(corner) for corner in bands[1].get_paths()[0].vertices.round(6)}
    assert {
        (x, round(y, 6)) for x, ends in zip((0, 0.1, 0.5), zip(low, high, strict=True), strict=True) for y in ends
    } <= corners
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("observation_noise", "change of the return")
    # One agent: a line, and no band
    axes = Figure().subplots()
    report.draw(axes, scores, "B-v0", *scores.panels("B-v0"))
    (line,) = axes.get_legend_handles_labels()[0]
    assert line.get_xydata().tolist() == [[0.5, -10], [1, 0], [2, -20]]
    assert not axes.collections
    assert to_rgba(line.get_color()) == to_rgba(COLOURS[0]), "the algorithm's, on every panel"


def test_panels_of_the_figure(tmp_path):
    """At most three a row, one scale for an environment, its name and the legend once."""
    worlds = [World("observation_noise", "1"), World("action_noise", "1"), World("action_delay", "1"), World("mass", "2")]
    worlds += [World("friction", "2"), World("gravity", "2")]
    rising = {World(): [1], **{world: [number] for number, world in enumerate(worlds)}}
    make_table(
        tmp_path, {("sac", "A-v0"): rising, ("s2ac", "B-v0"): {World(): [5], **{world: [1000] for world in worlds[:4]}}}
    )
    figure = report._figure(report.Scores(read(tmp_path / "results.csv")))
    assert [axes.get_xlabel() for axes in figure.axes] == [world.perturbation for world in (*worlds, *worlds[:4])]
    places = [(axes.get_subplotspec().rowspan.start, axes.get_subplotspec().colspan.start) for axes in figure.axes]
    assert places == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (3, 0), (3, 1)]
    assert [bool(axes.get_ylabel()) for axes in figure.axes] == [column == 0 for _, column in places]
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["A-v0", *[""] * 5, "B-v0", *[""] * 3]
    assert len({axes.get_ylim() for axes in figure.axes[:6]}) == 1 and len({axes.get_ylim() for axes in figure.axes}) == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["sac", "s2ac"]


def test_the_figure_in_words(tmp_path):
    """The same sentence in Markdown, in the page and in the file."""
    walls = World("obstacles", json.dumps(WALLS[:2]))
    worlds = {World(): [10], NOISE[1]: [8], NOISE[0]: [9], walls: [-20]}
    make_table(tmp_path, {("sac", "A-v0"): worlds, ("s2ac", "A-v0"): {World(): [1], NOISE[1]: [2]}, ("sac", "B-v0"): {}})
    report.write_report(tmp_path)
    falls = "on A-v0 s2ac none, sac -30.0 (obstacles 2 walls)"
    words = f"Largest fall of the mean return from the unperturbed world: {falls}."
    assert f"![{formatting.plain(words)}](robustness.svg)" in (tmp_path / "robustness.md").read_text()
    assert f'<title id="robustness-title">{words}</title>' in (tmp_path / "robustness.html").read_text()
    assert f"<title>{words}</title>" in (tmp_path / "robustness.svg").read_text()


def test_walls_and_combinations(tmp_path):
    """Walls stand side by side in the figure; combinations have tables only."""
    walls = [World("obstacles", json.dumps(WALLS[:n])) for n in (2, 1)]
    both = [World("observation_noise+action_delay", f"0.1; {delay}") for delay in (10, 2)]
    returns = {World(): [1], walls[0]: [2], walls[1]: [3], both[0]: [5], both[1]: [4]}
    make_table(tmp_path, {("sac", "A-v0"): returns})
    report.write_report(tmp_path)
    found = tables((tmp_path / "robustness.md").read_text())
    assert set(found) == {"Settings", "obstacles on A-v0", "Combinations on A-v0"}
    returns, _ = found["obstacles on A-v0"]
    assert returns[0][2:] == ["none (unperturbed)", walls[1].value, walls[0].value]
    returns, change = found["Combinations on A-v0"]
    names = [f"observation_noise 0.1, action_delay {delay}" for delay in (2, 10)]
    assert returns[2:] == [["none (unperturbed)", "1.00 [-]"], [names[0], "4.00 [-]"], [names[1], "5.00 [-]"]]
    assert change[2:] == [[names[0], "3.00 [-]"], [names[1], "4.00 [-]"]]
    scores = report.Scores(read(tmp_path / "results.csv"))
    (panel,) = scores.panels("A-v0")
    axes = Figure().subplots()
    report.draw(axes, scores, "A-v0", panel)
    assert axes.get_legend_handles_labels()[0][0].get_xydata().tolist() == [[0, 0], [1, 2], [2, 1]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["none", "1 wall", "2 walls"]


def test_product(run, folder, tmp_path):
    arguments = ["--envs", "MultiGoal-v0", "--product", "--perturb", "action_noise:0,0.5", "action_delay:1,2"]
    _, rows = run(*arguments)
    both = [World("action_noise+action_delay", f"0.5; {delay}") for delay in (1, 2)]
    assert [row.world for row in rows] == [World(), World("action_delay", "1"), World("action_delay", "2"), *both]
    model = SAC.load(folder / "sac" / "MultiGoal-v0_1" / "MultiGoal-v0.zip")
    wrap = partial(PerturbationWrapper, action_noise=0.5, action_delay=2)
    same(pick(rows, world=both[1], env="MultiGoal-v0"), *by_hand(model, "MultiGoal-v0", wrap))
    # The axis of which all strengths are there alone is drawn
    assert set(tables((tmp_path / "out" / "robustness.md").read_text())) > {"action_delay on MultiGoal-v0"}
    printed, _ = run(*arguments[:4], *reversed(arguments[4:]))
    assert not evaluated(printed)
    # What a product has evaluated need not be evaluated again for an axis
    printed, _ = run("--envs", "MultiGoal-v0", "--perturb", "action_delay:1,2")
    assert not evaluated(printed)


def test_raw_table(run, tmp_path):
    run("--envs", "MultiGoal-v0", "--perturb", "action_noise:0.1")
    with (tmp_path / "out" / "results.csv").open() as file:
        first, second = csv.DictReader(file)
    assert (first["perturbation"], first["value"], second["perturbation"], second["value"]) == ("", "", "action_noise", "0.1")
    assert re.fullmatch("[0-9a-f]{12}", first["model"]) and f"torch {th.__version__}" in first["versions"]
    assert (first["saved"], first["actions"], first["first_seed"], first["episodes"]) == ("last", "deterministic", "0", "3")


def test_every_perturbation_is_an_axis():
    from sb3_maxent.robustness.plan import NEUTRAL

    assert tuple(NEUTRAL) == PERTURBATIONS
    assert NEUTRAL == dict(zip(PERTURBATIONS, (0, 0, 0, 1, 1, 1, None), strict=True))
    assert mpl.rcParams["svg.hashsalt"] != "sb3_maxent", "the report leaves Matplotlib's settings alone"
