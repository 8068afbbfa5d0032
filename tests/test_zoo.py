"""rl_zoo3 with our algorithms: its commands run as users run them, each in a process of its own."""

import csv
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

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
CARTPOLE = ["--algo", "discretesac", "--env", "CartPole-v1"]
SMALL = ["learning_starts:50", "batch_size:16", "buffer_size:1000", "policy_kwargs:dict(net_arch=[16])"]
TINY = ["--n-timesteps", "400", "--eval-freq", "200", "--eval-episodes", "2", "--device", "cpu", "--num-threads", "1"]
TRAIN = [*CARTPOLE, *TINY, "--seed", "0", "--hyperparams", *SMALL]
ENJOY = [*CARTPOLE, "--no-render", "--n-timesteps", "100", "--device", "cpu", "--num-threads", "1"]
HYPERPARAMS = yaml.safe_load((ROOT / "hyperparams" / "discretesac.yml").read_text())


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


def mean_reward(output):
    return float(re.search(r"^Mean reward: (\S+) \+/- ", output, re.MULTILINE).group(1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("zoo")


@pytest.fixture(scope="module")
def trained(folder):
    """What training printed, and the folder of the run"""
    output = run_zoo("train", *TRAIN, "--save-replay-buffer", cwd=folder)
    return output, folder / "logs" / "discretesac" / "CartPole-v1_1"


@pytest.fixture(scope="module")
def continued(trained, folder):
    """A second run in the same folder, which goes on from the first"""
    output = run_zoo("train", *TRAIN, "--trained-agent", trained[1] / "CartPole-v1.zip", cwd=folder)
    return output, folder / "logs" / "discretesac" / "CartPole-v1_2"


# ---------------------------------------------------------------------- without starting anything


def test_hyperparams_file():
    assert zoo.hyperparams_file("no-algorithm") is None
    for algo in zoo.ALGORITHMS:
        file = zoo.hyperparams_file(algo)
        assert file is not None and "default" in yaml.safe_load(file.read_text())
    listed = yaml.safe_load(zoo.hyperparams_file("discretesac").read_text())
    assert {"default", "atari", "CartPole-v1", "Acrobot-v1", "MountainCar-v0", "LunarLander-v3"} <= set(listed)


def test_without_rl_zoo(monkeypatch):
    monkeypatch.setitem(sys.modules, "rl_zoo3", None)
    with pytest.raises(ImportError, match=r'pip install "sb3_maxent\[zoo\]"'):
        zoo.register()


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
    package = Path(importlib.util.find_spec("rl_zoo3").origin).parent
    scripts = [file for file in package.rglob("*.py") if "parse_args()" in file.read_text()]
    modules = {".".join(("rl_zoo3", *file.relative_to(package).with_suffix("").parts)) for file in scripts}
    assert modules == set(zoo.COMMANDS.values())


@pytest.fixture
def study():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))


NO_HER = {"using_her_replay_buffer": False, "her_kwargs": {}}


@pytest.mark.parametrize("algo", zoo.ALGORITHMS)
def test_sampler(study, algo):
    algorithm, sampler = zoo.ALGORITHMS[algo]
    updates = set()
    for _ in range(10):
        trial = study.ask()
        arguments = sampler(trial, 0, 1, NO_HER)
        assert zoo.convert_params(trial.params) == arguments
        assert arguments["gamma"] == trial.user_attrs["gamma"] == 1 - trial.params["one_minus_gamma"]
        assert arguments["batch_size"] == 2 ** trial.params["batch_size_pow"]
        assert 1 <= arguments["gradient_steps"] <= arguments["train_freq"]
        assert (arguments["tau"] == 1) != (arguments["target_update_interval"] == 1)
        updates.add(arguments["tau"] == 1)
        model = algorithm("MlpPolicy", "CartPole-v1", buffer_size=10, device="cpu", **arguments)
        for name in ("learning_rate", "n_steps", "learning_starts", "tau", "target_update_interval"):
            assert getattr(model, name) == arguments[name]
        assert model.policy.net_arch == zoo.NET_ARCHS[trial.params["net_arch"]]
        assert model.policy.activation_fn is zoo.ACTIVATIONS[trial.params["activation_fn"]]
    assert updates == {True, False}


def test_discretesac_sampler(study):
    samples = [zoo.sample_discretesac_params(study.ask(), 0, 1, NO_HER) for _ in range(50)]
    ratios = [sample["target_entropy_ratio"] for sample in samples]
    assert 0.05 <= min(ratios) < 0.2 and 0.75 < max(ratios) <= 0.9
    assert {sample["q_reduction"] for sample in samples} == {"min", "mean"}


def test_sampler_with_dictionary_observations(study):
    study.set_user_attr("policy", "MultiInputPolicy")  # as rl_zoo3 does
    assert "n_steps" not in zoo.sample_discretesac_params(study.ask(), 0, 1, NO_HER)


def test_sampler_with_her(study):
    trial = study.ask()
    her = {"using_her_replay_buffer": True, "her_kwargs": {"copy_info_dict": True, "n_sampled_goal": 99}}
    arguments = zoo.sample_discretesac_params(trial, 0, 1, her)
    assert arguments["replay_buffer_kwargs"].pop("copy_info_dict")
    assert arguments == zoo.convert_params(trial.params)
    assert "n_steps" not in arguments and "learning_starts" not in arguments
    model = DiscreteSAC(
        "MultiInputPolicy",
        BitFlippingEnv(n_bits=3, continuous=False),
        replay_buffer_class=HerReplayBuffer,
        buffer_size=1000,
        device="cpu",
        **arguments,
    )
    assert model.replay_buffer.n_sampled_goal == trial.params["n_sampled_goal"] <= 5
    model.learn(150)
    assert model._n_updates > 0


# ---------------------------------------------------------------------- python -m sb3_maxent.zoo


def test_train(trained):
    output, run_folder = trained
    assert f"Loading hyperparameters from: {zoo.hyperparams_file('discretesac')}" in output
    assert "train/" in output and "entropy" in output
    assert "RuntimeWarning" not in output  # runpy's, where a module is imported twice
    assert {file.name for file in run_folder.iterdir()} == {
        "0.monitor.csv",
        "best_model.zip",
        "CartPole-v1",
        "CartPole-v1.zip",
        "evaluations.npz",
        "replay_buffer.pkl",
    }
    assert "sb3_maxent.zoo train --algo discretesac" in (run_folder / "CartPole-v1" / "command.txt").read_text()
    model = DiscreteSAC.load(run_folder / "CartPole-v1.zip")
    assert model.num_timesteps == 400 and model.batch_size == 16
    assert model.tau == HYPERPARAMS["CartPole-v1"]["tau"]


@pytest.mark.parametrize("arguments", [[], ["--load-best", "--stochastic"]], ids=["last", "best"])
def test_enjoy(trained, folder, arguments):
    output = run_zoo("enjoy", *ENJOY, "--folder", "logs", "--exp-id", "1", *arguments, cwd=folder)
    assert 5 < mean_reward(output) <= 100


def test_continue_training(trained, continued):
    output, run_folder = continued
    assert "Loading pretrained agent" in output and "Loading replay buffer" in output
    before, after = (DiscreteSAC.load(path / "CartPole-v1.zip") for path in (trained[1], run_folder))
    assert after._n_updates > before._n_updates > 0


def test_unknown_environment(tmp_path):
    output = run_zoo("train", "--algo", "discretesac", "--env", "CartPoel-v1", cwd=tmp_path, status=1)
    assert "CartPoel-v1 not found in gym registry, you maybe meant CartPole-v1?" in output


def test_environment_without_hyperparameters(tmp_path):
    """Our files have a default; a file of the user's may have none"""
    (tmp_path / "own.yml").write_text("CartPole-v1: {policy: MlpPolicy, n_timesteps: 100}")
    arguments = ["--algo", "discretesac", "--env", "Acrobot-v1", "-conf", "own.yml"]
    output = run_zoo("train", *arguments, cwd=tmp_path, status=1)
    assert "Hyperparameters not found for discretesac-Acrobot-v1 in own.yml" in output


def test_optimize(tmp_path):
    study = ["--storage", "sqlite:///study.db", "--study-name", "study"]
    short = [*CARTPOLE, *TINY, *study]
    run_zoo("train", *short, "--optimize-hyperparameters", "--n-trials", "2", "--n-evaluations", "2", cwd=tmp_path)
    (report,) = (tmp_path / "logs" / "discretesac").glob("report_*.csv")
    trials = list(csv.DictReader(report.open()))
    assert [trial["state"] for trial in trials] == ["COMPLETE", "COMPLETE"]
    assert all(float(trial["value"]) > 0 and 0.05 <= float(trial["params_target_entropy_ratio"]) <= 0.9 for trial in trials)

    run_zoo("train", *short, "--trial-id", "1", cwd=tmp_path)
    (config,) = (tmp_path / "logs" / "discretesac").glob("CartPole-v1_*/CartPole-v1/config.yml")
    hyperparams = dict(yaml.unsafe_load(config.read_text()))
    assert hyperparams["gamma"] == 1 - float(trials[1]["params_one_minus_gamma"])
    assert hyperparams["q_reduction"] == trials[1]["params_q_reduction"]


NAN_ENVIRONMENT = """
import gymnasium
from gymnasium.wrappers import TransformReward

def make(**kwargs):
    return TransformReward(gymnasium.make("CartPole-v1", **kwargs), lambda reward: reward * float("nan"))

gymnasium.register("NaN-v0", make)
"""


def test_nan_prunes_the_trial(tmp_path):
    example = (ROOT / "examples" / "custom_envs.py").read_text()
    (tmp_path / "custom_envs.py").write_text(example + NAN_ENVIRONMENT)
    environment = ["--algo", "discretesac", "--env", "NaN-v0", *TINY]
    # rl_zoo3 itself fails in the end, as there is no best trial
    output = run_zoo("train", *environment, "--optimize-hyperparameters", "--n-trials", "2", cwd=tmp_path, status=1)
    assert all(re.search(rf"Trial {trial} pruned", output) for trial in (0, 1))
    assert "No trials are completed yet" in output


BENCHMARK = ["--no-hub", "--test-mode", "--n-timesteps", "100", "--num-threads", "1"]


def test_benchmark(trained, folder, tmp_path):
    output = run_zoo("benchmark", *BENCHMARK, "--log-dir", folder / "logs", "--benchmark-dir", tmp_path, cwd=tmp_path)
    assert "Error during evaluation" not in output
    row = next(line for line in (tmp_path / "benchmark.md").read_text().splitlines() if "|discretesac|CartPole-v1|" in line)
    assert float(row.split("|")[3]) > 5


@pytest.mark.skipif(missing("moviepy", "pygame"), reason="needs moviepy and pygame")
def test_record_video(trained, folder, tmp_path):
    video = ["--folder", "logs", "--exp-id", "1", "--output-folder", tmp_path, "--n-timesteps", "20"]
    run_zoo("record_video", *CARTPOLE, *video, cwd=folder)
    (file,) = tmp_path.glob("final-model-discretesac-CartPole-v1*.mp4")
    assert file.stat().st_size > 1000


@pytest.mark.skipif(missing("moviepy", "pygame"), reason="needs moviepy and pygame")
def test_record_training(trained, folder, tmp_path, monkeypatch):
    if shutil.which("ffmpeg") is None:
        # moviepy brings a program of its own
        (tmp_path / "ffmpeg").symlink_to(pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe())
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    shutil.copytree(
        trained[1],
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
                  "all_plots -a discretesac -e CartPole-v1 -f logs -o results",
                  "plot_from_file -i results.pkl -o results.svg"):
    print("command:", arguments)
    sys.argv = ["zoo", *arguments.split()]
    zoo.main()
"""


@pytest.mark.skipif(missing("seaborn", "pandas", "scipy"), reason="needs rl_zoo3[plots]")
def test_plots(continued, folder):
    output = run("-c", PLOTS, cwd=folder)
    assert "found in sys.modules" not in output  # runpy's warning
    train, table, from_file = output.split("command:")[1:]
    assert "shown: 1 with 2 curves" in train
    assert "|CartPole-v1 |" in table and "|DISCRETESAC|" in table and "with 1 curves" in table
    assert "with 1 curves" in from_file and "bars" in from_file
    assert (folder / "results.svg").stat().st_size > 1000


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
    if "cannot import name 'generate_metadata'" in answers["push_to_hub"]:
        del answers["push_to_hub"]  # rl_zoo3 2.9.2 does not fit the versions of huggingface_sb3 that it asks for
    for command, answer in answers.items():
        assert "status: 0" in answer, answer
        if command != "benchmark" and "plot" not in command:
            assert "discretesac" in answer  # among the choices of --algo


# ---------------------------------------------------------------------- rl_zoo3's own commands


def test_own_commands_of_rl_zoo(tmp_path):
    run("-m", "rl_zoo3.train", *TRAIN, cwd=tmp_path, path=ROOT / "examples")
    run_folder = tmp_path / "logs" / "discretesac" / "CartPole-v1_1"
    assert DiscreteSAC.load(run_folder / "CartPole-v1.zip").num_timesteps == 400

    enjoy = [*ENJOY, "--folder", "logs"]
    rewards = [mean_reward(run("-m", "rl_zoo3.enjoy", *enjoy, cwd=tmp_path, path=ROOT / "examples"))]
    script = shutil.which("rl_zoo3", path=os.path.dirname(sys.executable))
    if script is not None:
        rewards.append(mean_reward(run(script, "enjoy", *enjoy, cwd=tmp_path, path=ROOT / "examples")))
    assert min(rewards) == max(rewards) > 5


HALF_IMPORTED = """
from rl_zoo3 import ALGOS, exp_manager  # imports custom_envs, which registers, before the class exists
from sb3_maxent import zoo

assert ALGOS["discretesac"] is zoo.DiscreteSAC
original = exp_manager.ExperimentManager.read_hyperparameters
zoo.register()
wrapped = exp_manager.ExperimentManager.read_hyperparameters
assert wrapped is not original
zoo.register()
assert exp_manager.ExperimentManager.read_hyperparameters is wrapped
"""


def test_register_during_the_import(tmp_path):
    run("-c", HALF_IMPORTED, cwd=tmp_path, path=ROOT / "examples")


# ---------------------------------------------------------------------- the hyperparameter file

# What an environment needs, by a part of its name
DEPENDENCIES = {"NoFrameskip": ("ale_py", "cv2"), "LunarLander": ("Box2D",), "MiniGrid": ("minigrid",)}

BUILD = """
import argparse, json, sys, traceback
from sb3_maxent import zoo

zoo.register()
from rl_zoo3.exp_manager import ExperimentManager

def build(env_id, config=None):
    try:
        manager = ExperimentManager(
            argparse.Namespace(), "discretesac", env_id, "logs", eval_freq=-1, verbose=0, device="cpu", config=config
        )
        model, hyperparams = manager.setup_experiment()
        return [type(model).__name__, hyperparams, manager.n_timesteps]
    except Exception:
        return traceback.format_exc()

report = {env_id: build(env_id) for env_id in sys.argv[2:]}
report["other"] = build("CartPole-v1", "other.yml")
report["nowhere"] = build("CartPole-v1", "nowhere/discretesac.yml")
json.dump(report, open(sys.argv[1], "w"))
"""


def environment_of(entry):
    if entry == "atari":
        return "PongNoFrameskip-v4"
    # Not listed
    return (
        next(i for i in ("Acrobot-v1", "FrozenLake-v1", "Blackjack-v1") if i not in HYPERPARAMS)
        if entry == "default"
        else entry
    )


def missing_for(entry):
    return [module for part, names in DEPENDENCIES.items() if part in environment_of(entry) for module in missing(*names)]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """For each environment the name of the class, the hyperparameters and the training time; or the traceback"""
    folder = tmp_path_factory.mktemp("built")
    (folder / "other.yml").write_text("CartPole-v1: {n_timesteps: 7, policy: MlpPolicy, buffer_size: 3}")
    environments = [environment_of(entry) for entry in HYPERPARAMS if not missing_for(entry)]
    run("-c", BUILD, "report.json", *environments, cwd=folder)
    return json.loads((folder / "report.json").read_text())


@pytest.mark.parametrize("entry", HYPERPARAMS)
def test_hyperparams_entry(built, entry):
    if missing_for(entry):
        pytest.skip(f"needs {', '.join(missing_for(entry))}")
    result = built[environment_of(entry)]
    assert isinstance(result, list), result
    assert result[0] == "DiscreteSAC" and result[1].keys() == HYPERPARAMS[entry].keys()
    assert result[2] == HYPERPARAMS[entry]["n_timesteps"]


def test_conf_file_comes_first(built):
    assert built["other"] == ["DiscreteSAC", {"n_timesteps": 7, "policy": "MlpPolicy", "buffer_size": 3}, 7]
    assert "FileNotFoundError" in built["nowhere"] and "nowhere/discretesac.yml" in built["nowhere"]
