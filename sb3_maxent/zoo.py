"""
RL Zoo integration: the algorithms, their hyperparameter files and search spaces, and ``python -m sb3_maxent.zoo``.

The only module of the package that imports rl_zoo3, and not before it is used.
"""

import argparse
import contextlib
import difflib
import functools
import importlib
import io
import runpy
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium as gym
from stable_baselines3.common.atari_wrappers import EpisodicLifeEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from torch import nn

from sb3_maxent import S2AC, SACNF, DiscreteSAC, SoftQLearning

if TYPE_CHECKING:
    import optuna

SCRIPTS = ("train", "enjoy", "benchmark", "record_video", "record_training", "load_from_hub", "push_to_hub")
PLOT_SCRIPTS = ("plot_train", "all_plots", "plot_from_file")
COMMANDS = {name: f"rl_zoo3.{name}" for name in SCRIPTS} | {name: f"rl_zoo3.plots.{name}" for name in PLOT_SCRIPTS}

NET_ARCHS = {"small": [64, 64], "medium": [256, 256], "deep": [256, 256, 256], "wide": [512, 512]}
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "elu": nn.ELU}

# ---------------------------------------------------------------------- search spaces


def _sample_params(trial: "optuna.Trial", additional_args: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """
    Sample what all algorithms share. The ranges are fixed, as Optuna's multivariate sampler needs them.

    :param trial: the trial to draw from
    :param additional_args: what rl_zoo3 knows of the replay buffer
    :param params: values of the algorithm's own parameters
    :return: arguments for the algorithm
    """
    with_her = additional_args["using_her_replay_buffer"]
    params |= {
        "one_minus_gamma": trial.suggest_float("one_minus_gamma", 1e-4, 0.05, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 1e-5, 3e-3, log=True),
        "batch_size_pow": trial.suggest_int("batch_size_pow", 5, 10),
        "train_freq": trial.suggest_int("train_freq", 1, 10),
        "subsample_steps": trial.suggest_int("subsample_steps", 1, 8),
        "target_update": trial.suggest_categorical("target_update", ["soft", "hard"]),
        "tau": trial.suggest_float("tau", 1e-3, 0.1, log=True),
        "target_update_interval": trial.suggest_int("target_update_interval", 10, 10_000, log=True),
        "net_arch": trial.suggest_categorical("net_arch", list(NET_ARCHS)),
        "activation_fn": trial.suggest_categorical("activation_fn", list(ACTIVATIONS)),
    }
    if with_her:
        strategies = ["final", "episode", "future"]
        params["n_sampled_goal"] = trial.suggest_int("n_sampled_goal", 1, 5)
        params["goal_selection_strategy"] = trial.suggest_categorical("goal_selection_strategy", strategies)
    else:
        # Not with HER, which can't learn before the end of the first episode
        params["learning_starts"] = trial.suggest_int("learning_starts", 100, 10_000, log=True)
        # SB3 refuses n-step returns for dictionary observations. The study's attributes are the only place
        # where rl_zoo3 shows a sampler the untuned hyperparameters.
        if trial.study.user_attrs.get("policy") != "MultiInputPolicy":
            params["n_steps"] = trial.suggest_int("n_steps", 1, 5)

    arguments = convert_params(params)
    for name, value in arguments.items():
        if isinstance(value, int | float | str) and params.get(name) != value:
            trial.set_user_attr(name, value)  # what the names of the trial's parameters hide
    if with_her:
        arguments["replay_buffer_kwargs"] = {**additional_args["her_kwargs"], **arguments["replay_buffer_kwargs"]}
    return arguments


def convert_params(sampled_params: dict[str, Any]) -> dict[str, Any]:
    """
    Turn the parameters of a trial, as Optuna stores them, into constructor arguments. A name that ends in ``_pow`` holds
    the exponent of a power of two.

    :param sampled_params: values by their Optuna names
    :return: arguments for the algorithm
    """
    params = dict(sampled_params)
    params["gamma"] = 1 - params.pop("one_minus_gamma")
    for name in [name for name in params if name.endswith("_pow")]:
        params[name.removesuffix("_pow")] = 2 ** params.pop(name)
    # At most one gradient step for each step of the environment, counted for one environment
    params["gradient_steps"] = max(params["train_freq"] // params.pop("subsample_steps"), 1)
    if params.pop("target_update") == "soft":
        params["target_update_interval"] = 1
    else:
        params["tau"] = 1.0
    kernel_bandwidth_rule = params.pop("kernel_bandwidth_rule", "number")
    if kernel_bandwidth_rule != "number":
        params["kernel_bandwidth"] = kernel_bandwidth_rule
    params["policy_kwargs"] = {
        "net_arch": NET_ARCHS[params.pop("net_arch")],
        "activation_fn": ACTIVATIONS[params.pop("activation_fn")],
    }
    if "n_critics" in params:
        params["policy_kwargs"]["n_critics"] = params.pop("n_critics")
    her_kwargs = {key: params.pop(key) for key in ("n_sampled_goal", "goal_selection_strategy") if key in params}
    if her_kwargs:
        params["replay_buffer_kwargs"] = her_kwargs
    return params


def sample_discretesac_params(
    trial: "optuna.Trial", n_actions: int, n_envs: int, additional_args: dict[str, Any]
) -> dict[str, Any]:
    """
    Sample the hyperparameters of DiscreteSAC.

    :param trial: the trial to draw from
    :param n_actions: number of action dimensions (not used)
    :param n_envs: number of environments (not used)
    :param additional_args: what rl_zoo3 knows of the replay buffer
    :return: arguments for the algorithm
    """
    params = {
        "target_entropy_ratio": trial.suggest_float("target_entropy_ratio", 0.05, 0.9),
        "q_reduction": trial.suggest_categorical("q_reduction", ["min", "mean"]),
    }
    return _sample_params(trial, additional_args, params)


def sample_sql_params(trial: "optuna.Trial", n_actions: int, n_envs: int, additional_args: dict[str, Any]) -> dict[str, Any]:
    """
    Sample the hyperparameters of SoftQLearning, those that mean something for the environment's kind of action.

    :param trial: the trial to draw from
    :param n_actions: number of action dimensions, 0 unless the action space is a ``Box``
    :param n_envs: number of environments (not used)
    :param additional_args: what rl_zoo3 knows of the replay buffer
    :return: arguments for the algorithm
    """
    params: dict[str, Any] = {
        "ent_coef": trial.suggest_float("ent_coef", 1e-3, 10.0, log=True),
        "n_critics": trial.suggest_int("n_critics", 1, 2),
    }
    if n_actions > 0:
        # A gradient step costs about batch size x particles: more of them only where time doesn't matter
        params |= {
            "n_value_particles_pow": trial.suggest_int("n_value_particles_pow", 1, 5),
            "value_proposal": trial.suggest_categorical("value_proposal", ["uniform", "sampler", "mixture"]),
            "n_kernel_particles_pow": trial.suggest_int("n_kernel_particles_pow", 2, 5),
            "kernel_update_ratio": trial.suggest_float("kernel_update_ratio", 0.2, 0.8),
            "kernel_bandwidth_rule": trial.suggest_categorical("kernel_bandwidth_rule", ["median", "mean", "number"]),
            "kernel_bandwidth": trial.suggest_float("kernel_bandwidth", 1e-3, 1.0, log=True),
        }
    else:
        params |= {
            "munchausen_coef": trial.suggest_float("munchausen_coef", 0.0, 0.95),
            "behavior_policy": trial.suggest_categorical("behavior_policy", ["boltzmann", "greedy"]),
            "exploration_fraction": trial.suggest_float("exploration_fraction", 0.05, 0.5),
            "exploration_initial_eps": trial.suggest_float("exploration_initial_eps", 0.0, 1.0),
            "exploration_final_eps": trial.suggest_float("exploration_final_eps", 0.0, 0.2),
        }
    return _sample_params(trial, additional_args, params)


def sample_s2ac_params(trial: "optuna.Trial", n_actions: int, n_envs: int, additional_args: dict[str, Any]) -> dict[str, Any]:
    """
    Sample the hyperparameters of S2AC.

    :param trial: the trial to draw from
    :param n_actions: number of action dimensions (not used)
    :param n_envs: number of environments (not used)
    :param additional_args: what rl_zoo3 knows of the replay buffer
    :return: arguments for the algorithm
    """
    params: dict[str, Any] = {
        "ent_coef": trial.suggest_float("ent_coef", 1e-3, 10.0, log=True),
        "n_critics": trial.suggest_int("n_critics", 1, 2),
        # A gradient step costs about batch size x particles x steps: at most about three times the default here
        "n_particles_pow": trial.suggest_int("n_particles_pow", 2, 4),
        "n_svgd_steps": trial.suggest_int("n_svgd_steps", 1, 5),
        "svgd_step_size": trial.suggest_float("svgd_step_size", 0.05, 1.0, log=True),
        "kernel_bandwidth_rule": trial.suggest_categorical("kernel_bandwidth_rule", ["median", "mean", "number"]),
        "kernel_bandwidth": trial.suggest_float("kernel_bandwidth", 0.1, 10.0, log=True),
        "start_std": trial.suggest_float("start_std", 0.2, 1.5, log=True),
        "behavior_policy": trial.suggest_categorical("behavior_policy", ["random", "softmax"]),
    }
    return _sample_params(trial, additional_args, params)


def sample_sacnf_params(trial: "optuna.Trial", n_actions: int, n_envs: int, additional_args: dict[str, Any]) -> dict[str, Any]:
    """
    Sample the hyperparameters of SACNF.

    :param trial: the trial to draw from
    :param n_actions: number of action dimensions (not used)
    :param n_envs: number of environments (not used)
    :param additional_args: what rl_zoo3 knows of the replay buffer
    :return: arguments for the algorithm
    """
    params: dict[str, Any] = {
        "ent_coef": trial.suggest_float("ent_coef", 1e-3, 10.0, log=True),
        "n_critics": trial.suggest_int("n_critics", 1, 2),
        "flow": trial.suggest_categorical("flow", ["radial", "planar", "spline"]),
        "n_flows": trial.suggest_int("n_flows", 1, 5),
        "conditional_flow": trial.suggest_categorical("conditional_flow", [False, True]),
    }
    return _sample_params(trial, additional_args, params)


# ---------------------------------------------------------------------- registration

# zoo key (also the name of the hyperparameter file): class, sampler of hyperparameters
ALGORITHMS: dict[str, tuple[type[BaseAlgorithm], Callable[..., dict[str, Any]]]] = {
    "discretesac": (DiscreteSAC, sample_discretesac_params),
    "s2ac": (S2AC, sample_s2ac_params),
    "sacnf": (SACNF, sample_sacnf_params),
    "sql": (SoftQLearning, sample_sql_params),
}


def hyperparams_file(algo: str) -> Path | None:
    """
    Our hyperparameter file of an algorithm.

    :param algo: zoo key
    :return: the file of the installed package, or of the repository for an editable install, ``None`` without either
    """
    package = Path(__file__).parent
    candidates = (folder / "hyperparams" / f"{algo}.yml" for folder in (package, package.parent))
    return next((file for file in candidates if file.is_file()), None)


def register() -> None:
    """
    Make the algorithms known to rl_zoo3, with their hyperparameter files and search spaces.

    May be called any number of times, and from a ``custom_envs.py`` while rl_zoo3 is being imported. Where
    ``rl_zoo3.exp_manager`` is the module that started this import, its class does not exist yet: the algorithms are
    then registered (enough for rl_zoo3's own scripts), but reading our hyperparameter files takes another call later.

    :raises ImportError: if rl_zoo3 is missing
    """
    try:
        from rl_zoo3 import ALGOS, exp_manager, hyperparams_opt
    except ImportError as error:
        raise ImportError(f'This needs the RL Zoo: pip install "sb3_maxent[zoo]" ({error})') from error

    for key, (algorithm, sampler) in ALGORITHMS.items():
        ALGOS[key] = algorithm
        hyperparams_opt.HYPERPARAMS_SAMPLER[key] = sampler
        hyperparams_opt.HYPERPARAMS_CONVERTER[key] = convert_params

    manager = getattr(exp_manager, "ExperimentManager", None)
    if manager is not None and not hasattr(manager.read_hyperparameters, "knows_sb3_maxent"):
        # rl_zoo3 only looks into its own folders when there is no `-conf`
        folders = [folder / "hyperparams" for folder in list(Path(exp_manager.__file__).parents)[:2]]
        manager.read_hyperparameters = _reading_our_files(manager.read_hyperparameters, folders)


def _reading_our_files(read_hyperparameters: Callable[[Any], Any], folders: list[Path]) -> Callable[[Any], Any]:
    """
    Which file a training reads its hyperparameters from:

    1. the user's (``-conf``), where given;
    2. rl_zoo3's own for the algorithm, where it has an entry for the environment's id;
    3. ours for the algorithm, where it has such an entry, or where rl_zoo3 has no file (as for our algorithms);
    4. rl_zoo3's own, for its ``atari`` or ``default``.

    Inside a file rl_zoo3 looks for the environment's id, then for ``atari`` if it is of Atari, else for ``default``.

    :param read_hyperparameters: the method of ``ExperimentManager``
    :param folders: where rl_zoo3 looks for files of its own
    :return: the method, with this rule, and with an error that says what to do where there are no hyperparameters
    """

    @functools.wraps(read_hyperparameters)
    def wrapped(self: Any) -> Any:
        env_id, config, ours = self.env_name.gym_id, Path(self.config), hyperparams_file(self.algo)
        if self.trial_id == 0:
            self.trial_id = _FirstTrial()
        if config.parent in folders and ours is not None:
            if not config.is_file() or (_has_entry(ours, env_id) and not _has_entry(config, env_id)):
                self.config = str(ours)
        try:
            return read_hyperparameters(self)
        except (KeyError, ValueError) as error:
            if error.args != ("atari",) and not str(error).startswith("Hyperparameters not found"):
                raise
            raise ValueError(
                f"Hyperparameters not found for {self.algo}-{env_id} in {self.config}. "
                "Write them into a file of your own and pass it with -conf FILE, for instance:\n"
                f"{env_id}:\n  n_timesteps: 20000\n  policy: MlpPolicy"
            ) from error

    wrapped.knows_sb3_maxent = True  # type: ignore[attr-defined]
    return wrapped


class _FirstTrial(int):
    """``--trial-id 0``, which rl_zoo3 2.9 would take for none: it asks whether the number is true."""

    def __bool__(self) -> bool:
        return True


def _has_entry(file: Path, env_id: str) -> bool:
    import yaml  # rl_zoo3's

    return env_id in yaml.safe_load(file.read_text())


def algorithms() -> list[str]:
    """
    The zoo keys of all algorithms that the zoo's commands know: rl_zoo3's and ours.

    :return: what ``--algo`` accepts
    """
    register()
    from rl_zoo3 import ALGOS

    return list(ALGOS)


def read_hyperparams(algo: str, env_id: str, conf: str | Path | None = None) -> dict[str, Any]:
    """
    What a training would read for this algorithm and environment, by rl_zoo3's own code: see ``_reading_our_files`` for
    the file.

    :param algo: zoo key
    :param env_id: id of a registered environment
    :param conf: what would be passed as ``-conf``
    :return: the entry of the file as it stands, before rl_zoo3 makes schedules and classes of its strings
    :raises ValueError: if there is no such algorithm, environment, or entry
    :raises FileNotFoundError: if ``conf`` is missing
    """
    for name, value, known in (("algorithm", algo, algorithms()), ("environment", env_id, list(gym.registry))):
        if value not in known:
            raise ValueError(f"There is no {name} {value!r}{did_you_mean(value, known)}")
    from rl_zoo3.exp_manager import ExperimentManager

    manager = ExperimentManager(argparse.Namespace(), algo, env_id, log_folder="", config=None if conf is None else str(conf))
    with contextlib.redirect_stdout(io.StringIO()):  # it prints them
        return manager.read_hyperparameters()[0]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """
    :param name: what is not among them
    :param known: what is
    :return: the nearest ones for the end of a message, nothing where none is near
    """
    lower = {each.lower(): each for each in known}
    matches = difflib.get_close_matches(name.lower(), lower, n=3)
    return f", did you mean {' or '.join(repr(lower[match]) for match in matches)}?" if matches else ""


# ---------------------------------------------------------------------- trained agents


class TrainedAgent(NamedTuple):
    """
    What a training left behind in ``<folder>/<algo>/<env>_<exp_id>/``.

    :param algo: zoo key
    :param env: environment id
    :param exp_id: what rl_zoo3 tells trainings of the same algorithm and environment apart by, mostly a number
    :param folder: as it was given
    :param seed: of the training
    :param file: the model
    :param arguments: of the training's command line, by name
    """

    algo: str
    env: str
    exp_id: str
    folder: str
    seed: int
    file: Path
    arguments: dict[str, Any]


def trained_agents(folder: str | Path, best: bool = False) -> list[TrainedAgent]:
    """
    :param folder: what the trainings had as ``-f``, or a comparison's folder
    :param best: the model with the best evaluation during training (``best_model.zip``) instead of the last one
    :return: the agents by algorithm, environment and number; a training that left no such model, for instance because it is
        still under way, is left out
    :raises ValueError: if the arguments of a training can't be read
    """
    import yaml  # rl_zoo3's

    agents = []
    for settings in (file.parent for file in Path(folder).glob("*/*/*/args.yml")):
        place = settings.parent
        file = place / ("best_model.zip" if best else f"{settings.name}.zip")
        if file.is_file():
            try:
                # As rl_zoo3 reads what it wrote: values may be Python objects
                arguments = dict(yaml.load((settings / "args.yml").read_text(), Loader=yaml.UnsafeLoader))
                env, seed = arguments["env"], arguments["seed"]
            except (yaml.YAMLError, KeyError, TypeError) as error:
                raise ValueError(f"{settings / 'args.yml'} can't be read: {error!r}") from error
            exp_id = place.name.removeprefix(f"{settings.name}_")
            agents.append(TrainedAgent(place.parent.name, env, exp_id, Path(folder).as_posix(), seed, file, arguments))
    return sorted(agents, key=lambda agent: (agent.algo, agent.env, len(agent.exp_id), agent.exp_id))


def load_agent(agent: TrainedAgent, device: str = "auto") -> BaseAlgorithm:
    """
    Load a model to act, as ``enjoy`` does: without the memory that its replay buffer would need.

    :param agent: which
    :param device: PyTorch's
    :return: the model, without an environment
    """
    register()
    from rl_zoo3 import ALGOS

    algorithm = ALGOS[agent.algo]
    # Schedules are pickled functions, which other versions of Python can't read
    schedules = {"learning_rate": 0.0, "lr_schedule": lambda _: 0.0, "clip_range": lambda _: 0.0}
    kwargs: dict[str, Any] = {}
    if issubclass(algorithm, OffPolicyAlgorithm):
        # Not HER's buffer either, which would need an environment
        kwargs = {"buffer_size": 1, "optimize_memory_usage": False, "replay_buffer_class": None, "replay_buffer_kwargs": {}}
    return algorithm.load(agent.file, custom_objects=schedules, device=device, **kwargs)


class _EndOfEpisode(gym.Wrapper[Any, Any, Any, Any]):
    """
    ``Monitor``'s account of an episode that a wrapper around it ends, as a ``TimeLimit`` of the training may. The loss of a
    life ends none.
    """

    def __init__(self, env: gym.Env[Any, Any]):
        super().__init__(env)
        self._has_lives = is_wrapped(env, EpisodicLifeEnv)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        if (terminated or truncated) and "episode" not in info and not self._has_lives:
            rewards = self.env.get_wrapper_attr("rewards")
            info = {**info, "episode": {"r": float(sum(rewards)), "l": len(rewards)}}
        return observation, reward, terminated, truncated, info


def env_kwargs_of(agent: TrainedAgent) -> dict[str, Any]:
    """
    :param agent: which
    :return: the arguments of its environment
    """
    return _saved_settings(agent)[1]


def _saved_settings(agent: TrainedAgent) -> tuple[dict[str, Any], dict[str, Any], str | None]:
    """Hyperparameters, arguments of the environment, and where the statistics of ``VecNormalize`` are, by rl_zoo3's code."""
    from rl_zoo3 import get_saved_hyperparams

    settings = agent.file.parent / agent.env.replace("/", "-")
    hyperparams, stats_path = get_saved_hyperparams(str(settings), norm_reward=False, test_mode=True)
    in_file, given = hyperparams.pop("env_kwargs", None), agent.arguments.get("env_kwargs")
    return hyperparams, (in_file if given is None else given) or {}, stats_path


def evaluation_env(
    agent: TrainedAgent, n_envs: int = 1, seed: int = 0, wrappers: Sequence[dict[Any, dict[str, Any]]] = ()
) -> VecEnv:
    """
    What an agent was trained in, as ``enjoy`` makes it: with the training's ``env_kwargs``, wrappers and stacked frames, and
    with its statistics of ``VecNormalize``, which stay as they are. ``info["episode"]`` has the environment's own rewards, up
    to where the outermost wrapper ends the episode (on Atari: up to the game's end, not to that of a life).

    :param agent: which
    :param n_envs: number of copies, in this process
    :param seed: the first episode of copy i gets ``seed + i``
    :param wrappers: ``{class: arguments}`` of wrappers that are put around the environment before those of the training
    :return: the environment
    """
    register()
    from rl_zoo3 import create_test_env

    for module in agent.arguments.get("gym_packages", ()):
        importlib.import_module(module)
    hyperparams, env_kwargs, stats_path = _saved_settings(agent)
    own = hyperparams.get("env_wrapper") or []
    hyperparams["env_wrapper"] = [*wrappers, *(own if isinstance(own, list) else [own]), {_EndOfEpisode: {}}]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it loads
        return create_test_env(
            agent.env,
            n_envs=n_envs,
            stats_path=stats_path,
            seed=seed,
            should_render=False,
            hyperparams=hyperparams,
            env_kwargs=env_kwargs,
            vec_env_cls=DummyVecEnv,
        )


# ---------------------------------------------------------------------- command line

_subprocess_call = subprocess.call


def _call(command: Any, *args: Any, **kwargs: Any) -> int:
    """
    In place of ``subprocess.call``: benchmark and record_training start other scripts of the RL Zoo
    (``python enjoy.py``, ``python -m rl_zoo3.record_video``), which have to know our algorithms, too.

    :param command: what to run
    :param args: as for ``subprocess.call``
    :param kwargs: as for ``subprocess.call``
    :return: exit status
    """
    ours = [sys.executable, "-m", "sb3_maxent.zoo"]
    match command:
        case ["python", "enjoy.py", *arguments]:
            command = [*ours, "enjoy", *arguments]
        case ["python", "-m", module, *arguments] if module in COMMANDS.values():
            command = [*ours, module.rpartition(".")[2], *arguments]
    return _subprocess_call(command, *args, **kwargs)


def _mend_hub() -> None:
    """
    Make rl_zoo3's ``push_to_hub`` and its downloads work with the versions of huggingface_sb3 and huggingface_hub that
    rl_zoo3 2.9.2 asks for, and its model cards name commands that know our algorithms and environments.
    """
    import huggingface_sb3
    from huggingface_hub import repocard
    from huggingface_hub.errors import EntryNotFoundError

    push, download, save = sys.modules["huggingface_sb3.push_to_hub"], huggingface_sb3.load_from_hub, repocard.metadata_save
    if not hasattr(push, "generate_metadata"):
        # Another name since version 3, and ModelCardData instead of a dict
        push.generate_metadata = lambda *args: push._generate_metadata(*args).to_dict()  # type: ignore[attr-defined]

    def load_from_hub(*args: Any, **kwargs: Any) -> str:
        try:
            return download(*args, **kwargs)
        except EntryNotFoundError as error:
            # What rl_zoo3 expects where an agent has no VecNormalize; huggingface_hub no longer uses requests
            from requests import HTTPError

            raise HTTPError(str(error)) from error

    def metadata_save(local_path: str | Path, data: dict[str, Any]) -> None:
        path = Path(local_path)
        card = path.read_text(encoding="utf-8").replace("python -m rl_zoo3.", "python -m sb3_maxent.zoo ")
        path.write_text(card.replace("pip install rl_zoo3", 'pip install "sb3_maxent[zoo]"'), encoding="utf-8")
        save(local_path, data)

    huggingface_sb3.load_from_hub = load_from_hub
    repocard.metadata_save = metadata_save


def main() -> None:
    """
    Run a command of rl_zoo3 with the arguments of this process.

    :raises SystemExit: with status 2 where there is no such command
    """
    parser = argparse.ArgumentParser(
        prog="python -m sb3_maxent.zoo",
        usage="%(prog)s COMMAND [ARGUMENTS ...]",
        description="Runs a command of rl_zoo3 that knows the algorithms of sb3_maxent. COMMAND --help shows its arguments.",
        epilog=f"Commands: {', '.join(COMMANDS)}. Algorithms of sb3_maxent: {', '.join(ALGORITHMS)}.",
    )
    parser.add_argument("command", metavar="COMMAND", nargs="?")
    command = parser.parse_args(sys.argv[1:2]).command
    if command not in COMMANDS:
        problem = "a command is missing" if command is None else f"there is no command {command!r}"
        parser.error(f"{problem}{did_you_mean(str(command), COMMANDS)}\nCommands: {', '.join(COMMANDS)}")

    register()
    subprocess.call = _call  # type: ignore[assignment]
    _mend_hub()
    # The package of the plot scripts imports them, which runpy finds worth a warning
    warnings.filterwarnings("ignore", message=".*found in sys.modules after import of package", category=RuntimeWarning)
    del sys.argv[1]
    runpy.run_module(COMMANDS[command], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
