"""rl_zoo3 with our algorithms: its commands run as users run them, each in a process of its own."""

import csv
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.envs import BitFlippingEnv

from sb3_maxent import DiscreteSAC, zoo

# Not importorskip: importing rl_zoo3 replaces Gymnasium's TimeLimit, also for the tests of other files
if importlib.util.find_spec("rl_zoo3") is None:
    pytest.skip("needs rl_zoo3", allow_module_level=True)

import optuna
import yaml

ROOT = Path(__file__).parents[1]
# An environment for each algorithm, of those in its hyperparameter file
ENVIRONMENTS = {
    "discretesac": "CartPole-v1",
    "mixturesac": "MultiGoal-v0",
    "s2ac": "MultiGoal-v0",
    "sacnf": "MultiGoal-v0",
    "sql": "MultiGoal-v0",
}
CARTPOLE = ["--algo", "discretesac", "--env", "CartPole-v1"]
SMALL = ["learning_starts:50", "batch_size:16", "buffer_size:1000", "policy_kwargs:dict(net_arch=[16])"]
TINY = ["--n-timesteps", "400", "--eval-freq", "200", "--eval-episodes", "2", "--device", "cpu", "--num-threads", "1"]
TRAIN = [*TINY, "--seed", "0", "--hyperparams", *SMALL]
ENJOY = ["--no-render", "--n-timesteps", "100", "--device", "cpu", "--num-threads", "1"]
# Every algorithm with every environment of this package that suits it, and CartPole
PAIRS = [
    *ENVIRONMENTS.items(),
    ("discretesac", "TabularMDP-v0"),
    ("sql", "TabularMDP-v0"),
    *(
        (algo, env_id)
        for algo in ("mixturesac", "s2ac", "sacnf", "sql")
        for env_id in ("MultiGoalMaxEnt-v0", "MixtureBandit-v0", "TwoWays-v0")
    ),
]
# Between which numbers the return of an episode lies, trained or not
REWARDS = {
    "CartPole-v1": (5, 501),
    "MultiGoal-v0": (-700, 0),
    "MultiGoalMaxEnt-v0": (-700, 0),
    "MixtureBandit-v0": (-20, 1),
    "TabularMDP-v0": (-1000, 1000),
    "TwoWays-v0": (-40, 0),
}
# Of algorithms that are not ours, for environments that rl_zoo3 has no entry for
OTHERS = {"sac": "SAC", "tqc": "TQC", "dqn": "DQN", "qrdqn": "QRDQN"}
CLASSES = {algo: entry.algorithm.__name__ for algo, entry in zoo.ALGORITHMS.items()} | OTHERS
HYPERPARAMS = {algo: yaml.safe_load((ROOT / "hyperparams" / f"{algo}.yml").read_text()) for algo in CLASSES}


def missing(*modules):
    return [module for module in modules if importlib.util.find_spec(module) is None]


def run(*arguments, cwd, path=None, status=0):
    """Run Python and return what it printed."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "SDL_VIDEODRIVER": "dummy", "COLUMNS": "200"}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(path or ""), env.get("PYTHONPATH")]))
    command = [sys.executable, *map(str, arguments)]
    process = subprocess.run(
        command, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300
    )
    assert process.returncode == status, process.stdout
    return process.stdout


def run_zoo(*arguments, **kwargs):
    return run("-m", "sb3_maxent.zoo", *arguments, **kwargs)


def of(algo):
    """Arguments for the algorithm and its environment"""
    return ["--algo", algo, "--env", ENVIRONMENTS[algo]]


def mean_reward(output):
    return float(re.search(r"^Mean reward: (\S+) \+/- ", output, re.MULTILINE).group(1))


# Several commands in one process
COMMANDS = """
import shlex, sys
from sb3_maxent import zoo

for command in sys.argv[1:]:
    print("command:", command)
    sys.argv = ["zoo", *shlex.split(command)]
    zoo.main()
"""


def run_commands(*commands, setup="", **kwargs):
    """Run commands of the zoo in one process; what each printed"""
    output = run("-c", setup + COMMANDS, *map(shlex.join, commands), **kwargs)
    return dict(zip(map(tuple, commands), output.split("command: ")[1:], strict=True))


def brings_ffmpeg(folder, monkeypatch):
    """Where there is no ffmpeg, moviepy brings a program of its own"""
    if shutil.which("ffmpeg") is None:
        (folder / "ffmpeg").symlink_to(pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe())
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("zoo")


@pytest.fixture(scope="module")
def trained(folder):
    """By algorithm what training printed, and the folder of the run; trained when it is asked for"""

    class Trained(dict):
        def __missing__(self, algo):
            printed = run_zoo("train", *of(algo), *TRAIN, "--save-replay-buffer", cwd=folder)
            self[algo] = printed, folder / "logs" / algo / f"{ENVIRONMENTS[algo]}_1"
            return self[algo]

    return Trained()


@pytest.fixture(scope="module")
def continued(trained, folder):
    """A second run in the same folder, which goes on from the first"""
    agent = trained["discretesac"][1] / "CartPole-v1.zip"
    output = run_zoo("train", *CARTPOLE, *TRAIN, "--trained-agent", agent, cwd=folder)
    return output, folder / "logs" / "discretesac" / "CartPole-v1_2"


# ---------------------------------------------------------------------- without starting anything


def test_hyperparams_file():
    assert zoo.hyperparams_file("no-algorithm") is None
    assert ENVIRONMENTS.keys() == zoo.ALGORITHMS.keys()
    for algo, env_id in ENVIRONMENTS.items():
        assert zoo.hyperparams_file(algo) == ROOT / "hyperparams" / f"{algo}.yml"
        assert {"default", env_id} <= set(HYPERPARAMS[algo])
        # Without "atari" rl_zoo3 fails for all of Atari, "default" or not; these have no discrete actions
        assert ("atari" in HYPERPARAMS[algo]) == (algo not in ("mixturesac", "s2ac", "sacnf"))
    discrete = {"CartPole-v1", "Acrobot-v1", "MountainCar-v0", "LunarLander-v3"}
    assert discrete <= set(HYPERPARAMS["discretesac"]) & set(HYPERPARAMS["sql"])
    ours = {"MultiGoal-v0", "MultiGoalMaxEnt-v0", "MixtureBandit-v0", "TabularMDP-v0", "TwoWays-v0"}
    mujoco = {f"{name}-v5" for name in ("HalfCheetah", "Hopper", "Walker2d", "Ant", "Humanoid")}
    assert ours | mujoco | {"Pendulum-v1"} <= set(HYPERPARAMS["sql"])
    continuous = {"Pendulum-v1", "LunarLanderContinuous-v3", "BipedalWalker-v3"}
    for algo in ("mixturesac", "s2ac", "sacnf"):
        assert (ours - {"TabularMDP-v0"}) | mujoco | continuous <= set(HYPERPARAMS[algo])


def test_without_rl_zoo(monkeypatch):
    monkeypatch.setitem(sys.modules, "rl_zoo3", None)
    with pytest.raises(ImportError, match=r'pip install "sb3_maxent\[zoo\]"'):
        zoo.register()


MISTAKES = {
    "--algo s2ac --env Pendulum-v1 -conf nowhere.yml": "-conf nowhere.yml: there is no such file",
    "--algo s2ac --env Pendulum-v1 -f a_file": "-f a_file: this is a file, and must be a folder",
    "--algo s2ac --env Pendulum-v1 --hyperparams n_partikles:8": "there is no hyperparameter 'n_partikles', did you mean",
    "--algo s2ac --env Pendulm-v1": "there is no environment 'Pendulm-v1', did you mean 'Pendulum-v1'",
    "--algo s2ac --env CartPole-v1": r"CartPole-v1: its actions are Discrete\(2\), but s2ac needs Box",
    "--algo sac --env Pendulum-v1 --gym-packages no_such_module": "--gym-packages no_such_module: No module named",
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.items())
def test_mistakes_are_told_in_a_line(arguments, message, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("a_file").write_text("")
    monkeypatch.setattr(sys, "argv", ["zoo", "train", *arguments.split()])
    with pytest.raises(SystemExit) as status:
        zoo.main()
    (line,) = capsys.readouterr().err.splitlines()
    assert status.value.code == 2 and re.search(message, line), line


def test_no_mistakes():
    right = [
        "--algo s2ac --env MultiGoal-v0 -n 100 --hyperparams n_particles:8 ent_coef:0.5 n_envs:2",
        "--algo dqn --env CartPole-v1",
    ]
    assert all(zoo.command.problems_of_a_training(arguments.split()) == [] for arguments in right)


@pytest.mark.parametrize(
    "arguments, message", [(["trian"], "no command 'trian', did you mean 'train'"), ([], "a command is missing")]
)
def test_unknown_command(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["zoo", *arguments])
    with pytest.raises(SystemExit) as status:
        zoo.main()
    assert status.value.code == 2
    error = capsys.readouterr().err
    assert message in error and all(command in error for command in zoo.COMMANDS)


def test_every_script_is_a_command():
    """A script of a newer rl_zoo3 would fail here"""
    package = Path(str(importlib.util.find_spec("rl_zoo3").origin)).parent
    scripts = [file for file in package.rglob("*.py") if "parse_args()" in file.read_text()]
    modules = {".".join(("rl_zoo3", *file.relative_to(package).with_suffix("").parts)) for file in scripts}
    assert modules == set(zoo.COMMANDS.values())


@pytest.fixture
def study():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))


NO_HER = {"using_her_replay_buffer": False, "her_kwargs": {}}


def sample(study, algo, env, additional_args=NO_HER):
    """A trial and the arguments it gives, with what rl_zoo3 passes for the environment"""
    trial = study.ask()
    n_actions = env.action_space.shape[0] if isinstance(env.action_space, gym.spaces.Box) else 0
    return trial, zoo.ALGORITHMS[algo].sample_params(trial, n_actions, 1, additional_args)


@pytest.mark.parametrize(
    "algo, env_id",
    [
        ("discretesac", "CartPole-v1"),
        ("sql", "CartPole-v1"),
        *((algo, "Pendulum-v1") for algo in ("sql", "s2ac", "sacnf", "mixturesac")),
    ],
    ids=str,
)
def test_sampler(study, algo, env_id):
    env = gym.make(env_id)
    updates = set()
    for _ in range(10):
        trial, arguments = sample(study, algo, env)
        assert zoo.convert_params(trial.params) == arguments
        assert arguments["gamma"] == trial.user_attrs["gamma"] == 1 - trial.params["one_minus_gamma"]
        assert arguments["batch_size"] == trial.user_attrs["batch_size"] == 2 ** trial.params["batch_size_pow"]
        assert 1 <= arguments["gradient_steps"] <= arguments["train_freq"]
        assert (arguments["tau"] == 1) != (arguments["target_update_interval"] == 1)
        updates.add(arguments["tau"] == 1)
        policy_kwargs = arguments.pop("policy_kwargs")
        # Raises ValueError for an argument that means nothing for the environment's actions
        algorithm: Any = zoo.ALGORITHMS[algo].algorithm
        model = algorithm("MlpPolicy", env, buffer_size=10, device="cpu", policy_kwargs=policy_kwargs, **arguments)
        arguments["train_freq"] = model.train_freq  # a number and a unit
        if arguments.get("target_entropy") == "auto":
            arguments["target_entropy"] = arguments["target_entropy_ratio"] * np.log(2)  # nats
        assert all(getattr(model, name) == value for name, value in arguments.items())
        assert model.policy.net_arch == zoo.NET_ARCHS[trial.params["net_arch"]]
        assert model.policy.activation_fn is zoo.ACTIVATIONS[trial.params["activation_fn"]]
        assert model.policy.n_critics == trial.params.get("n_critics", 2)
    assert updates == {True, False}


EXPLORATION = {
    "exploration_fraction": (0.05, 0.5),
    "exploration_initial_eps": (0, 1),
    "exploration_final_eps": (0, 0.2),
    "exploration_max_duration": {1, 50},
    "exploration_duration_exponent": (1, 2),
}
# Own parameters of the algorithms: from where to where numbers reach, roughly, and all choices
RANGES = {
    ("discretesac", "CartPole-v1"): {
        "ent_coef": {"auto"},
        "target_entropy": {"auto", "lin_0.5_0.1", "adaptive"},
        "target_entropy_ratio": (0.05, 0.9),
        "q_reduction": {"min", "mean"},
        **EXPLORATION,
    },
    ("sql", "CartPole-v1"): {
        "ent_coef": (1e-3, 10),
        "munchausen_coef": (0, 0.95),
        "behavior_policy": {"boltzmann", "greedy"},
        **EXPLORATION,
    },
    ("sql", "Pendulum-v1"): {
        "ent_coef": (1e-3, 10),
        "n_value_particles": {2, 4, 8, 16, 32},
        "value_proposal": {"uniform", "sampler", "mixture"},
        "n_kernel_particles": {4, 8, 16, 32},
        "kernel_update_ratio": (0.2, 0.8),
    },
    ("s2ac", "Pendulum-v1"): {
        "ent_coef": (1e-3, 10),
        "n_particles": {4, 8, 16},
        "n_svgd_steps": {1, 2, 3, 4, 5},
        "svgd_step_size": (0.05, 1.0),
        "start_std": (0.2, 1.5),
        "behavior_policy": {"random", "softmax"},
    },
    ("mixturesac", "Pendulum-v1"): {
        "ent_coef": (1e-3, 10),
        "n_components": set(range(1, 13)),
        "mean_spread": (0.1, 0.95),
        "max_std": (0.3, 2.0),
        "deterministic_action": {"heaviest", "best"},
    },
    ("sacnf", "Pendulum-v1"): {
        "ent_coef": (1e-3, 10),
        "flow": {"radial", "planar", "spline"},
        "n_flows": {1, 2, 3, 4, 5},
        "conditional_flow": {False, True},
    },
}


@pytest.mark.parametrize("algo, env_id", RANGES, ids=str)
def test_ranges_of_the_sampler(study, algo, env_id):
    env, ranges = gym.make(env_id), RANGES[algo, env_id]
    samples = [sample(study, algo, env)[1] for _ in range(100)]
    for name, expected in ranges.items():
        values = [arguments[name] for arguments in samples]
        if isinstance(expected, set):
            assert set(values) == expected, name
        else:
            low, high = expected
            assert low <= min(values) < low + 0.2 * (high - low), name
            assert high - 0.3 * (high - low) < max(values) <= high, name
    others = {name for (key, _), other in RANGES.items() if key == algo for name in other} - ranges.keys()
    assert not others & set().union(*samples)


@pytest.mark.parametrize(("algo", "low", "high"), [("sql", 1e-3, 1.0), ("s2ac", 0.1, 10.0)])
def test_kernel_bandwidth_of_the_sampler(study, algo, low, high):
    values = [sample(study, algo, gym.make("Pendulum-v1"))[1]["kernel_bandwidth"] for _ in range(60)]
    numbers = [value for value in values if not isinstance(value, str)]
    rules = {"median", "mean", "score"} if algo == "sql" else {"median", "mean"}
    assert rules == set(values) - set(numbers) and low <= min(numbers) < (low * high) ** 0.5 < max(numbers) <= high


def test_no_n_step_returns_in_the_small_buffer(study):
    for value in ("True", "False"):  # texts, as the zoo's command makes of an entry's values
        study.set_user_attr("optimize_memory_usage", value)
        assert ("n_steps" in sample(study, "discretesac", gym.make("CartPole-v1"))[1]) == (value == "False")


@pytest.mark.parametrize("n_timesteps", [20, 3000, 10**6])
def test_a_trial_learns_for_most_of_its_steps(study, n_timesteps):
    study.set_user_attr("n_timesteps", n_timesteps)  # as the zoo's command does
    values = [sample(study, "discretesac", gym.make("CartPole-v1"))[1]["learning_starts"] for _ in range(40)]
    assert 1 <= min(values) and max(values) <= min(n_timesteps // 10, 10_000)


@pytest.mark.parametrize("algo", zoo.ALGORITHMS)
def test_sampler_with_dictionary_observations(study, algo):
    study.set_user_attr("policy", "MultiInputPolicy")  # as rl_zoo3 does
    assert "n_steps" not in sample(study, algo, BitFlippingEnv())[1]


@pytest.mark.parametrize(
    "algo, continuous",
    [("discretesac", False), ("sql", False), ("sql", True), ("s2ac", True), ("sacnf", True), ("mixturesac", True)],
)
def test_sampler_with_her(study, algo, continuous):
    env = BitFlippingEnv(n_bits=3, continuous=continuous)
    her = {"using_her_replay_buffer": True, "her_kwargs": {"copy_info_dict": True, "n_sampled_goal": 99}}
    trial, arguments = sample(study, algo, env, her)
    assert arguments["replay_buffer_kwargs"].pop("copy_info_dict")
    assert arguments == zoo.convert_params(trial.params)
    assert "n_steps" not in arguments and "learning_starts" not in arguments
    arguments["batch_size"] = 16  # quicker
    algorithm: Any = zoo.ALGORITHMS[algo].algorithm
    model = algorithm(
        "MultiInputPolicy", env, replay_buffer_class=HerReplayBuffer, buffer_size=1000, device="cpu", **arguments
    )
    assert model.replay_buffer.n_sampled_goal == trial.params["n_sampled_goal"] <= 5
    model.learn(150)
    assert model._n_updates > 0


# ---------------------------------------------------------------------- python -m sb3_maxent.zoo


@pytest.mark.parametrize("algo, env_id", [item if item[0] == "discretesac" else slow(*item) for item in ENVIRONMENTS.items()])
def test_train(trained, algo, env_id):
    output, run_folder = trained[algo]
    assert f"Loading hyperparameters from: {zoo.hyperparams_file(algo)}" in output
    assert "train/" in output and "entropy" in output
    assert "RuntimeWarning" not in output  # runpy's, where a module is imported twice
    hyperparams = HYPERPARAMS[algo][env_id]
    assert {file.name for file in run_folder.iterdir()} == {
        *(f"{index}.monitor.csv" for index in range(hyperparams.get("n_envs", 1))),
        "best_model.zip",
        env_id,
        f"{env_id}.zip",
        "evaluations.npz",
        "replay_buffer.pkl",
    }
    assert f"sb3_maxent.zoo train --algo {algo}" in (run_folder / env_id / "command.txt").read_text()
    model = zoo.ALGORITHMS[algo].algorithm.load(run_folder / f"{env_id}.zip")
    assert model.num_timesteps == 400 and model.batch_size == 16
    kept = hyperparams.keys() & {"tau", "gradient_steps", "ent_coef", "target_entropy_ratio", "n_kernel_particles"}
    assert kept and all(getattr(model, name) == hyperparams[name] for name in kept)


def test_enjoy_in_a_process_of_its_own(trained, folder):
    trained["discretesac"]
    best = ["--exp-id", "1", "--load-best", "--stochastic"]
    output = run_zoo("enjoy", *CARTPOLE, *ENJOY, "--folder", "logs", *best, cwd=folder)
    assert REWARDS["CartPole-v1"][0] < mean_reward(output) < REWARDS["CartPole-v1"][1]


@pytest.mark.slow
@pytest.mark.parametrize("algo, env_id", [("discretesac", "PongNoFrameskip-v4"), ("sql", "MinAtar/Breakout-v1")])
def test_images(algo, env_id, tmp_path):
    """Train and enjoy by the file's entry, but for the size of the training"""
    if missing_for(env_id):
        pytest.skip(f"needs {', '.join(missing_for(env_id))}")
    small = ["learning_starts:60", "batch_size:8", "buffer_size:200"]
    names = ["--algo", algo, "--env", env_id]
    train = ["--n-timesteps", "100", "--eval-freq", "-1", "--num-threads", "1", "--device", "cpu", "--hyperparams", *small]
    run_zoo("train", *names, *train, cwd=tmp_path)
    model = zoo.ALGORITHMS[algo].algorithm.load(next((tmp_path / "logs").rglob("*.zip")))
    assert model.num_timesteps == 100 and model._n_updates == 10
    output = run_zoo("enjoy", *names, *ENJOY, "--folder", "logs", cwd=tmp_path)
    assert "Error" not in output


@pytest.fixture(scope="module")
def shown(trained, tmp_path_factory):
    """For each pair of algorithm and environment what `enjoy` printed; the videos"""
    if missing("moviepy", "pygame"):
        pytest.skip("needs moviepy and pygame")
    folder = tmp_path_factory.mktemp("shown")
    shutil.copytree(trained["sql"][1].parents[1], folder / "logs")
    # Not MultiGoal's four or the bandit's eight environments, which would take longer
    short = ["-n", "100", "--eval-freq", "-1", *TINY[-4:], "--hyperparams", "n_envs:1", *SMALL]
    commands = [
        ["train", "--algo", algo, "--env", env_id, *short]
        for algo, env_id in PAIRS
        if not (folder / "logs" / algo / f"{env_id}_1").is_dir()
    ]
    both = ["--folder", "logs", "--exp-id", "1"]
    enjoy = {pair: ["enjoy", "--algo", pair[0], "--env", pair[1], *both, *ENJOY] for pair in PAIRS}
    record = ["record_video", *both, "--output-folder", "videos", "--n-timesteps", "20"]
    commands += [*enjoy.values(), *([*record, "--algo", algo, "--env", env_id] for algo, env_id in PAIRS)]
    outputs = run_commands(*commands, cwd=folder)
    return {pair: outputs[tuple(command)] for pair, command in enjoy.items()}, folder / "videos"


@pytest.mark.slow
@pytest.mark.parametrize("algo, env_id", PAIRS)
def test_enjoy(shown, algo, env_id):
    assert REWARDS[env_id][0] < mean_reward(shown[0][algo, env_id]) < REWARDS[env_id][1]


@pytest.mark.slow
@pytest.mark.parametrize("algo, env_id", PAIRS)
def test_record_video(shown, algo, env_id):
    """The video shows the scene at first, and then something that moves"""
    iio = pytest.importorskip("imageio.v3")
    (file,) = shown[1].glob(f"final-model-{algo}-{env_id}-*.mp4")
    frames = iio.imread(file, plugin="FFMPEG").astype(float)
    env = gym.make(f"sb3_maxent:{env_id}", render_mode="rgb_array")
    env.reset(seed=0)
    scene = env.render().astype(float)
    env.close()
    assert len(frames) >= 20 and frames.shape[1:] == scene.shape
    assert scene.std() > 10 * np.abs(frames[0] - scene).mean()
    # The codec alone makes less than 30 of it
    assert np.abs(frames - frames[0]).max() > 100


def test_continue_training(trained, continued):
    output, run_folder = continued
    assert "Loading pretrained agent" in output and "Loading replay buffer" in output
    folders = trained["discretesac"][1], run_folder
    before, after = (DiscreteSAC.load(path / "CartPole-v1.zip") for path in folders)
    assert after._n_updates > before._n_updates > 0


@pytest.mark.slow
def test_unknown_environment(tmp_path):
    """The process ends with one line, before rl_zoo3 would give a traceback, and leaves nothing behind"""
    output = run_zoo("train", "--algo", "discretesac", "--env", "CartPoel-v1", cwd=tmp_path, status=2)
    (line,) = output.splitlines()
    assert line.startswith(
        "python -m sb3_maxent.zoo train: error: there is no environment 'CartPoel-v1', did you mean 'CartPole-v1'"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_environment_without_hyperparameters(tmp_path):
    """Our files have a default; a file of the user's may have none"""
    (tmp_path / "own.yml").write_text("CartPole-v1: {policy: MlpPolicy, n_timesteps: 100}")
    arguments = ["--algo", "discretesac", "--env", "Acrobot-v1", "-conf", "own.yml"]
    output = run_zoo("train", *arguments, cwd=tmp_path, status=1)
    assert "ValueError: Hyperparameters not found for discretesac-Acrobot-v1 in own.yml" in output
    assert "-conf FILE" in output and yaml.safe_load(output.rpartition("for instance:\n")[2]).keys() == {"Acrobot-v1"}


@pytest.mark.parametrize(
    "algo, env_id, own",
    [
        slow("discretesac", "CartPole-v1", ["target_entropy", "target_entropy_ratio", "q_reduction"]),
        slow("sql", "MultiGoal-v0", ["ent_coef", "value_proposal", "kernel_update_ratio"]),
        slow("sql", "CartPole-v1", ["ent_coef", "munchausen_coef", "exploration_final_eps"]),
        slow("s2ac", "MultiGoal-v0", ["ent_coef", "n_svgd_steps", "svgd_step_size", "behavior_policy"]),
        slow("mixturesac", "MultiGoal-v0", ["ent_coef", "n_components", "max_std", "deterministic_action"]),
        slow("sacnf", "MultiGoal-v0", ["ent_coef", "flow", "n_flows", "conditional_flow"]),
    ],
    ids=lambda value: None if isinstance(value, str) else "own",
)
@pytest.mark.filterwarnings("ignore:`n_steps")  # SB3 says so of each loaded model with n_steps > 1, and is wrong
def test_optimize(tmp_path, algo, env_id, own):
    short = ["train", "--algo", algo, "--env", env_id, *TINY, "--storage", "sqlite:///study.db", "--study-name", "study"]
    optimize = [*short, "--seed", "0", "-optimize", "--n-trials", "2", "--n-evaluations", "2", "--no-optim-plots"]
    # Trial 0: rl_zoo3 alone takes it for none
    run_commands(optimize, [*short, "--trial-id", "0"], cwd=tmp_path)
    (report,) = (tmp_path / "logs" / algo).glob("report_*.csv")
    trials = list(csv.DictReader(report.open()))
    assert [trial["state"] for trial in trials] == ["COMPLETE", "COMPLETE"]
    assert all(trial["value"] for trial in trials)
    assert all(int(trial["params_learning_starts"]) <= 400 // 10 for trial in trials)

    (config,) = (tmp_path / "logs" / algo).glob(f"{env_id}_*/{env_id}/config.yml")
    hyperparams = dict(yaml.unsafe_load(config.read_text()))
    assert hyperparams["gamma"] == 1 - float(trials[0]["params_one_minus_gamma"])
    assert hyperparams["batch_size"] == int(trials[0]["user_attrs_batch_size"])
    assert hyperparams["policy_kwargs"]["net_arch"] == zoo.NET_ARCHS[trials[0]["params_net_arch"]]
    for name in own:
        assert str(hyperparams[name]) == trials[0][f"params_{name}"]
    model = zoo.ALGORITHMS[algo].algorithm.load(config.parents[1] / f"{env_id}.zip")
    assert model.num_timesteps >= 400 and model.gamma == hyperparams["gamma"]


NAN_ENVIRONMENT = """
import gymnasium
from gymnasium.wrappers import TransformReward

def make(**kwargs):
    return TransformReward(gymnasium.make("CartPole-v1", **kwargs), lambda reward: reward * float("nan"))

gymnasium.register("NaN-v0", make)
"""


@pytest.mark.slow
def test_nan_prunes_the_trial(tmp_path):
    example = (ROOT / "examples" / "custom_envs.py").read_text()
    (tmp_path / "custom_envs.py").write_text(example + NAN_ENVIRONMENT)
    environment = ["--algo", "discretesac", "--env", "NaN-v0", *TINY]
    # rl_zoo3 itself fails in the end, as there is no best trial
    output = run_zoo("train", *environment, "--optimize-hyperparameters", "--n-trials", "2", cwd=tmp_path, status=1)
    assert all(re.search(rf"Trial {trial} pruned", output) for trial in (0, 1))
    assert "No trials are completed yet" in output


BENCHMARK = ["--no-hub", "--n-timesteps", "100", "--num-threads", "1"]


@pytest.mark.slow
def test_benchmark(trained, folder, tmp_path):
    assert all(trained[algo] for algo in ENVIRONMENTS)
    output = run_zoo("benchmark", *BENCHMARK, "--log-dir", folder / "logs", "--benchmark-dir", "benchmark", cwd=tmp_path)
    assert "Error during evaluation" not in output
    lines = (tmp_path / "benchmark.md").read_text().splitlines()
    for algo, env_id in ENVIRONMENTS.items():
        row = next(line for line in lines if f"|{algo}|{env_id}|" in line.replace(" ", ""))
        assert REWARDS[env_id][0] < float(row.split("|")[3]) < REWARDS[env_id][1]


@pytest.mark.slow
@pytest.mark.skipif(missing("moviepy", "pygame"), reason="needs moviepy and pygame")
def test_record_training(trained, folder, tmp_path, monkeypatch):
    brings_ffmpeg(tmp_path, monkeypatch)
    shutil.copytree(
        trained["discretesac"][1],
        tmp_path / "logs" / "discretesac" / "CartPole-v1_1",
        ignore=shutil.ignore_patterns("best_model.zip"),  # one video less
    )
    run_zoo("record_training", *CARTPOLE, "--folder", "logs", "--n-timesteps", "20", cwd=tmp_path)
    videos = tmp_path / "logs" / "discretesac" / "CartPole-v1_1" / "videos"
    assert (videos / "training.mp4").stat().st_size > 1000


PLOTS = """
import sys
from matplotlib import pyplot as plt
from sb3_maxent import zoo

def show():
    for number in plt.get_fignums():
        axes = plt.figure(number).gca()
        print(f"shown: {number} with {len(axes.lines)} curves and {len(axes.patches)} bars")
    plt.close("all")

plt.show = show
for arguments in ("plot_train -a discretesac -e CartPole-v1 -f logs -w 3",
                  "all_plots -a sql -e MultiGoal-v0 -f logs -o other",
                  "all_plots -a discretesac -e CartPole-v1 -f logs -o results",
                  "plot_from_file -i results.pkl -o results.svg"):
    print("command:", arguments)
    sys.argv = ["zoo", *arguments.split()]
    zoo.main()
"""


@pytest.mark.slow
@pytest.mark.skipif(missing("seaborn", "pandas", "scipy"), reason="needs rl_zoo3[plots]")
def test_plots(trained, continued, folder):
    trained["sql"]
    output = run("-c", PLOTS, cwd=folder)
    assert "found in sys.modules" not in output  # runpy's warning
    train, other, table, from_file = output.split("command:")[1:]
    assert "shown: 1 with 2 curves" in train
    assert "|MultiGoal-v0|" in other and "|   SQL " in other and "with 1 curves" in other
    assert "|CartPole-v1 |" in table and "|DISCRETESAC|" in table and "with 1 curves" in table
    assert "with 1 curves" in from_file and "bars" in from_file
    assert (folder / "results.svg").stat().st_size > 1000


HUB = """
import shutil
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import EntryNotFoundError

class HfApi(huggingface_hub.HfApi):
    "A folder in place of the server"

    def create_repo(self, repo_id, **kwargs):
        Path("server", repo_id).mkdir(parents=True)
        return f"https://nowhere/{repo_id}"

    def snapshot_download(self, repo_id, local_dir, **kwargs):
        shutil.copytree(Path("server", repo_id), local_dir)

    def upload_folder(self, repo_id, folder_path, commit_message, **kwargs):
        shutil.copytree(folder_path, Path("server", repo_id), dirs_exist_ok=True)

def hf_hub_download(repo_id, filename, **kwargs):
    file = Path("server", repo_id, filename)
    if not file.is_file():
        raise EntryNotFoundError(f"404: {file}")
    return str(file)

huggingface_hub.HfApi, huggingface_hub.hf_hub_download = HfApi, hf_hub_download
"""


@pytest.mark.slow
@pytest.mark.skipif(missing("moviepy", "pygame"), reason="needs moviepy and pygame")
def test_hub(trained, tmp_path, monkeypatch):
    """Upload with model card and video, download, use; without the network: nothing here knows the real server"""
    brings_ffmpeg(tmp_path, monkeypatch)
    monkeypatch.setenv("TRUST_REMOTE_CODE", "True")
    commands = []
    for algo, run_folder in [(algo, trained[algo][1]) for algo in ENVIRONMENTS]:
        hub, short = ["--organization", "me", *of(algo)], ["--n-timesteps", "20", "--num-threads", "1", "--device", "cpu"]
        push = ["push_to_hub", *hub, *short, "--folder", run_folder.parents[1], "--exp-id", "1"]
        load = ["load_from_hub", *hub, "--folder", "downloads"]
        commands += [list(map(str, command)) for command in (push, load, ["enjoy", *of(algo), *ENJOY, "-f", "downloads"])]
    outputs = list(run_commands(*commands, setup=HUB, cwd=tmp_path).values())
    for index, (algo, env_id) in enumerate(ENVIRONMENTS.items()):
        assert REWARDS[env_id][0] < mean_reward(outputs[3 * index + 2]) < REWARDS[env_id][1]
        uploaded = tmp_path / "server" / "me" / f"{algo}-{env_id}"
        assert {f"{algo}-{env_id}.zip", "config.yml", "results.json", "replay.mp4", "train_eval_metrics.zip"} <= {
            file.name for file in uploaded.iterdir()
        }
        _, metadata, card = (uploaded / "README.md").read_text().split("---\n", 2)
        results = json.loads((uploaded / "results.json").read_text())
        model_index = yaml.safe_load(metadata)["model-index"]
        assert model_index[0]["name"] == CLASSES[algo]
        value = f"{results['mean_reward']:.2f} +/- {results['std_reward']:.2f}"
        assert model_index[0]["results"][0]["metrics"][0]["value"] == value
        assert f"**{CLASSES[algo]}** Agent playing **{env_id}**" in card
        # Commands that know our algorithms, and none that doesn't
        assert f"python -m sb3_maxent.zoo enjoy --algo {algo} --env {env_id}" in card
        assert "rl_zoo3." not in card and "pip install rl_zoo3" not in card


# An environment in which a trial goes on when there are trials in two processes
MEETING = """
import os, pathlib, time
import gymnasium

class Meeting(gymnasium.Wrapper):
    def reset(self, **kwargs):
        folder = pathlib.Path("meeting")
        folder.mkdir(exist_ok=True)
        (folder / str(os.getpid())).touch()
        while len(list(folder.iterdir())) < 2:
            time.sleep(0.05)
        return super().reset(**kwargs)

gymnasium.register("Meeting-v0", lambda **kwargs: Meeting(gymnasium.make("CartPole-v1", **kwargs)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["study.log", "sqlite:///study.db"])
def test_two_processes_on_one_study(tmp_path, storage):
    example = (ROOT / "examples" / "custom_envs.py").read_text()
    (tmp_path / "custom_envs.py").write_text(example + MEETING)
    backend = storage
    if storage == "study.log":
        backend = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / storage)))
    else:
        backend = f"sqlite:///{tmp_path}/study.db"
        # Two processes that make the database at the same time get in each other's way
        optuna.create_study(storage=backend, study_name="study", direction="maximize")
    short = ["train", "--algo", "discretesac", "--env", "Meeting-v0", "-n", "200", "--eval-episodes", "1", *TINY[-4:]]
    short += ["--storage", storage, "--study-name", "study"]
    optimize = [*short, "-optimize", "--max-total-trials", "4", "--n-evaluations", "1", "--no-optim-plots", "--uuid"]
    with ThreadPoolExecutor() as pool:
        log = "--optimization-log-path"
        outputs = list(pool.map(lambda name: run_zoo(*optimize, log, name, cwd=tmp_path), ("one", "two")))
    assert all("Best trial:" in output for output in outputs)

    study = optuna.load_study(storage=backend, study_name="study")
    # One more, if both processes begin a trial at the same moment
    assert [trial.number for trial in study.trials] in (list(range(4)), list(range(5)))
    assert all(trial.state == optuna.trial.TrialState.COMPLETE for trial in study.trials)
    by_process = [{int(path.name.removeprefix("trial_")) for path in (tmp_path / name).iterdir()} for name in ("one", "two")]
    assert all(by_process) and not set.intersection(*by_process)
    assert set.union(*by_process) == {trial.number for trial in study.trials}

    run_zoo(*short, "--trial-id", study.best_trial.number, "--log-folder", "best", cwd=tmp_path)
    (config,) = (tmp_path / "best").glob("discretesac/Meeting-v0_1/Meeting-v0/config.yml")
    assert yaml.unsafe_load(config.read_text())["gamma"] == 1 - study.best_params["one_minus_gamma"]


HELP = """
import sys
from sb3_maxent import zoo

for command in zoo.COMMANDS:
    sys.argv = ["zoo", command, "--help"]
    print("command:", command)
    try:
        zoo.main()
    except SystemExit as status:
        print("status:", status.code)
    except ImportError as error:
        print("error:", error)
"""


def test_every_command_starts(tmp_path):
    output = run("-c", HELP, cwd=tmp_path)
    answers = {answer.split()[0]: answer for answer in output.split("command:")[1:]}
    assert list(answers) == list(zoo.COMMANDS)
    for command, answer in answers.items():
        assert "status: 0" in answer, answer
        if command != "benchmark" and "plot" not in command:
            assert all(algo in re.findall(r"\w+", answer) for algo in zoo.ALGORITHMS)  # the choices of --algo


# ---------------------------------------------------------------------- rl_zoo3's own commands


@pytest.mark.slow
@pytest.mark.parametrize("algo, env_id", ENVIRONMENTS.items())
def test_own_commands_of_rl_zoo(tmp_path, algo, env_id):
    run("-m", "rl_zoo3.train", *of(algo), *TRAIN, cwd=tmp_path, path=ROOT / "examples")
    run_folder = tmp_path / "logs" / algo / f"{env_id}_1"
    assert zoo.ALGORITHMS[algo].algorithm.load(run_folder / f"{env_id}.zip").num_timesteps == 400

    # One algorithm by the module, one by the console script
    script = shutil.which("rl_zoo3", path=os.path.dirname(sys.executable)) if algo == "sql" else None
    enjoy = [script, "enjoy"] if script else ["-m", "rl_zoo3.enjoy"]
    output = run(*enjoy, *of(algo), *ENJOY, "--folder", "logs", cwd=tmp_path, path=ROOT / "examples")
    assert REWARDS[env_id][0] < mean_reward(output) < REWARDS[env_id][1]


HALF_IMPORTED = """
from rl_zoo3 import ALGOS, exp_manager  # imports custom_envs, which registers, before the class exists
from sb3_maxent import zoo

assert all(ALGOS[algo] is entry.algorithm for algo, entry in zoo.ALGORITHMS.items())
original = exp_manager.ExperimentManager.read_hyperparameters
zoo.register()
wrapped = exp_manager.ExperimentManager.read_hyperparameters
assert wrapped is not original
zoo.register()
assert exp_manager.ExperimentManager.read_hyperparameters is wrapped
"""


@pytest.mark.slow
def test_register_during_the_import(tmp_path):
    run("-c", HALF_IMPORTED, cwd=tmp_path, path=ROOT / "examples")


# ---------------------------------------------------------------------- the hyperparameter file

# What an environment needs, by a part of its name
DEPENDENCIES = {
    "NoFrameskip": ("ale_py", "cv2"),
    "LunarLander": ("Box2D",),
    "Bipedal": ("Box2D",),
    "MiniGrid": ("minigrid",),
    "MinAtar": ("minatar",),
    "-v5": ("mujoco",),
}

BUILD = """
import argparse, json, sys, traceback
from pathlib import Path
from sb3_maxent import zoo

zoo.register()
from rl_zoo3.exp_manager import ExperimentManager

def build(algo, env_id, config=None, hyperparams=None):
    try:
        manager = ExperimentManager(
            argparse.Namespace(), algo, env_id, "logs", config=config, hyperparams=hyperparams, eval_freq=-1, verbose=0,
            device="cpu",
        )
        model, used = manager.setup_experiment()
        if hyperparams is not None:
            model.learn(model.n_envs * max(model.train_freq.frequency, 6))
        return [type(model).__name__, used, manager.n_timesteps, model._n_updates]
    except Exception:
        return traceback.format_exc()

small = {"learning_starts": 4, "buffer_size": 1000}
report = {f"{algo} {env_id}": build(algo, env_id, None, small)
          for algo, env_id in (argument.split() for argument in sys.argv[2:])}
report["other"] = build("discretesac", "CartPole-v1", "other.yml")
report["nowhere"] = build("discretesac", "CartPole-v1", "nowhere/discretesac.yml")
report["algorithms"] = zoo.algorithms()

def read(*arguments):
    try:
        return zoo.read_hyperparams(*arguments)
    except Exception as error:
        return f"{type(error).__name__}: {error}"

for case in json.load(open("cases.json")):
    report["read " + " ".join(case)] = read(*case)
zoo.registry.hyperparams_file = lambda algo: Path("own.yml")
for case in (["sac", "Pendulum-v1"], ["sac", "MultiGoal-v0"], ["sac", "Acrobot-v1"], ["sac", "Pendulum-v1", "other.yml"]):
    report["own " + " ".join(case)] = read(*case)
report["rl_zoo3"] = str(Path(sys.modules["rl_zoo3"].__file__).with_name("hyperparams"))
json.dump(report, open(sys.argv[1], "w"))
"""


def environments_of(algo, entry):
    """Environments that take the entry: ``default`` is for those that are not listed, of any kind of action"""
    if entry == "atari":
        return ["PongNoFrameskip-v4"]
    if entry != "default":
        return [entry]
    assert algo in zoo.ALGORITHMS  # the other algorithms have rl_zoo3's
    discrete, continuous = "FrozenLake-v1", "MountainCarContinuous-v0"
    candidates = {"discretesac": [discrete], "sql": [discrete, continuous]}.get(algo, [continuous])
    assert not set(candidates) & HYPERPARAMS[algo].keys()
    return candidates


ENTRIES = [
    (algo, entry, env_id)
    for algo, entries in HYPERPARAMS.items()
    for entry in entries
    for env_id in environments_of(algo, entry)
]


# The default tests learn with these only
QUICK_ENTRIES = ("CartPole-v1", "MultiGoal-v0")


def missing_for(env_id):
    return [module for part, names in DEPENDENCIES.items() if part in env_id for module in missing(*names)]


# Arguments of read_hyperparams, and what it raises
BAD = {
    ("s2ca", "MultiGoal-v0"): "ValueError: There is no algorithm 's2ca', did you mean 's2ac'?",
    ("s2ac", "MultiGaol-v0"): "ValueError: There is no environment 'MultiGaol-v0', did you mean 'MultiGoal-v0' or ",
    ("sac", "Pendulum-v1", "other.yml"): "ValueError: Hyperparameters not found for sac-Pendulum-v1 in other.yml. ",
    ("sac", "Pendulum-v1", "nowhere.yml"): "FileNotFoundError: ",
}
GOOD = [
    ("s2ac", "MultiGoal-v0"),
    ("sac", "MultiGoal-v0"),
    ("tqc", "MultiGoalMaxEnt-v0"),
    ("ppo", "MultiGoal-v0"),
    ("sac", "Pendulum-v1"),
    ("sql", "FrozenLake-v1"),
    ("ppo", "CartPole-v1", "other.yml"),
]
CASES = [*BAD, *GOOD]


@pytest.fixture(scope="module")
def built(request, tmp_path_factory):
    """For each tested entry the name of the class, the hyperparameters, the training time and the updates; or the traceback"""
    folder = tmp_path_factory.mktemp("built")
    (folder / "other.yml").write_text("CartPole-v1: {n_timesteps: 7, policy: MlpPolicy, buffer_size: 3}")
    (folder / "own.yml").write_text("{Pendulum-v1: {gamma: 0.5}, MultiGoal-v0: {gamma: 0.6}, default: {gamma: 0.7}}")
    (folder / "cases.json").write_text(json.dumps(CASES))
    tested = [item.callspec.params for item in request.session.items if item.name.startswith("test_hyperparams_entry[")]
    arguments = [f"{entry['algo']} {entry['env_id']}" for entry in tested if not missing_for(entry["env_id"])]
    run("-c", BUILD, "report.json", *arguments, cwd=folder)
    return json.loads((folder / "report.json").read_text())


@pytest.mark.parametrize("algo, entry, env_id", [row if row[1] in QUICK_ENTRIES else slow(*row) for row in ENTRIES])
def test_hyperparams_entry(built, algo, entry, env_id):
    if missing_for(env_id):
        pytest.skip(f"needs {', '.join(missing_for(env_id))}")
    result = built[f"{algo} {env_id}"]
    assert isinstance(result, list), result
    name, hyperparams, n_timesteps, n_updates = result
    expected = HYPERPARAMS[algo][entry]
    assert name == CLASSES[algo] and n_updates > 0
    assert hyperparams == {**expected, "learning_starts": 4, "buffer_size": 1000}
    assert n_timesteps == expected["n_timesteps"]


def test_conf_file_comes_first(built):
    assert built["other"] == ["DiscreteSAC", {"n_timesteps": 7, "policy": "MlpPolicy", "buffer_size": 3}, 7, 0]
    assert "FileNotFoundError" in built["nowhere"] and "nowhere/discretesac.yml" in built["nowhere"]


@pytest.mark.parametrize("case", BAD, ids=" ".join)
def test_no_hyperparams(built, case):
    assert built["read " + " ".join(case)].startswith(BAD[case])


def test_algorithms(built):
    assert CLASSES.keys() | {"ppo", "td3", "dqn", "qrdqn", "tqc", "crossq"} <= set(built["algorithms"])


def test_where_hyperparams_come_from(built):
    def theirs(algo):
        return yaml.safe_load((Path(built["rl_zoo3"]) / f"{algo}.yml").read_text())

    expected = {
        ("s2ac", "MultiGoal-v0"): HYPERPARAMS["s2ac"]["MultiGoal-v0"],
        ("sql", "FrozenLake-v1"): HYPERPARAMS["sql"]["default"],
        ("sac", "MultiGoal-v0"): HYPERPARAMS["sac"]["MultiGoal-v0"],
        ("tqc", "MultiGoalMaxEnt-v0"): HYPERPARAMS["tqc"]["MultiGoalMaxEnt-v0"],
        ("ppo", "MultiGoal-v0"): theirs("ppo")["default"],
        ("sac", "Pendulum-v1"): theirs("sac")["Pendulum-v1"],
        ("ppo", "CartPole-v1", "other.yml"): {"n_timesteps": 7, "policy": "MlpPolicy", "buffer_size": 3},
    }
    assert {case: built["read " + " ".join(case)] for case in GOOD} == expected
    # Theirs first where both have an entry, ours where only we have one, and never our default for other algorithms
    assert built["own sac Pendulum-v1"] == theirs("sac")["Pendulum-v1"]
    assert built["own sac MultiGoal-v0"] == {"gamma": 0.6}
    assert built["own sac Acrobot-v1"] == theirs("sac")["default"]
    assert "in other.yml" in built["own sac Pendulum-v1 other.yml"]


def test_same_settings_for_pixels():
    """Network, learning rate, batches, steps and buffer; how each explores and follows its targets is its own"""
    names = {"n_timesteps", "policy", "learning_rate", "buffer_size", "learning_starts", "batch_size", "train_freq"}
    network = "features_extractor_class=importlib.import_module('sb3_maxent.minatar').MinAtarCNN, net_arch=[]"
    for game in ("Breakout", "SpaceInvaders", "Asterix"):
        dqn, *others = (HYPERPARAMS[algo][f"MinAtar/{game}-v1"] for algo in ("dqn", "qrdqn", "discretesac", "sql"))
        assert all({name: other[name] for name in names} == {name: dqn[name] for name in names} for other in others)
        assert all(network in entry["policy_kwargs"] and entry["gradient_steps"] == 1 for entry in (dqn, *others))


def test_same_settings():
    """Algorithms are compared with the same networks (but the number of critics), batches, steps and temperature"""
    assert HYPERPARAMS["tqc"] == HYPERPARAMS["sac"] == {name: HYPERPARAMS["sacnf"][name] for name in HYPERPARAMS["sac"]}
    for algo in ("mixturesac", "s2ac"):
        for env_id in ("MultiGoal-v0", "MultiGoalMaxEnt-v0", "MixtureBandit-v0", "TwoWays-v0"):
            sac, ours = HYPERPARAMS["sac"][env_id], HYPERPARAMS[algo][env_id]
            assert {key: ours[key] for key in sac if key != "policy_kwargs"} == {
                key: value for key, value in sac.items() if key != "policy_kwargs"
            }


MASKED = """
import gymnasium as gym
gym.register("Masked-v0", "toys_masked:Masked", max_episode_steps=20)
"""
MASKED_ENV = """
import numpy as np
from gymnasium import spaces
from toys import Toy

class Masked(Toy):
    def __init__(self):
        super().__init__(spaces.Box(-100, 100, (3,)), spaces.Discrete(4))

    def action_masks(self):
        return [action == 1 for action in range(4)]

    def step(self, action):
        assert action == 1
        return super().step(action)
"""
MASKED_HYPERPARAMS = """
Masked-v0:
  n_timesteps: 200
  n_envs: 2
  normalize: "dict(norm_obs_keys=['observation'])"
  policy: MultiInputPolicy
  learning_starts: 50
  batch_size: 16
  env_wrapper: sb3_maxent.envs.ActionMaskWrapper
  policy_kwargs: "dict(net_arch=[16], action_mask_key='action_mask')"
"""


@pytest.mark.slow
@pytest.mark.parametrize("algo", ["discretesac", "sql"])
def test_action_masks(algo, tmp_path, monkeypatch):
    """An environment with action_masks(), by the wrapper in the zoo's file; another action than the allowed one is an error"""
    for name, text in {"masked.py": MASKED, "toys_masked.py": MASKED_ENV, "masked.yml": MASKED_HYPERPARAMS}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(__file__).parent)]))
    arguments = ["--algo", algo, "--env", "Masked-v0", "--gym-packages", "masked", "--folder", "logs"]
    train = ["train", *arguments[:-2], "-conf", "masked.yml", "--eval-freq", "100", "--n-eval-envs", "1", "-f", "logs"]
    run_zoo(*train, cwd=tmp_path)
    output = run_zoo("enjoy", *arguments, "--no-render", "-n", "50", "--exp-id", "1", cwd=tmp_path)
    assert np.isfinite(mean_reward(output))
