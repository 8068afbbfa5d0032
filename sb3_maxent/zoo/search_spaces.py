"""The search spaces of ``-optimize``: what a trial of Optuna samples for each algorithm, and what the algorithm is given."""

from typing import TYPE_CHECKING, Any, get_args

from torch import nn

from sb3_maxent.discrete_sac.discrete_sac import QReduction
from sb3_maxent.mixture_sac.policies import DeterministicAction
from sb3_maxent.s2ac.policies import BehaviorPolicy as S2ACBehavior
from sb3_maxent.s2ac.sampler import BandwidthRule
from sb3_maxent.sacnf.families import ShallowFlowFamily
from sb3_maxent.soft_q_learning.box import SteinBandwidthRule, ValueProposal
from sb3_maxent.soft_q_learning.discrete import BehaviorPolicy as SoftQBehavior

if TYPE_CHECKING:
    import optuna

# Attribute of a study: steps of a trial's training
N_TIMESTEPS = "n_timesteps"
NET_ARCHS = {"small": [64, 64], "medium": [256, 256], "deep": [256, 256, 256], "wide": [512, 512]}
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "elu": nn.ELU}


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
        # At most a tenth of the training: a trial that only collects says nothing
        most = min(max(trial.study.user_attrs.get(N_TIMESTEPS, 100_000) // 10, 1), 10_000)
        params["learning_starts"] = trial.suggest_int("learning_starts", min(100, most), most, log=True)
        # SB3 refuses n-step returns for dictionary observations, and with the small form of the replay buffer. The study's
        # attributes are the only place where rl_zoo3 shows a sampler the untuned hyperparameters.
        untuned = trial.study.user_attrs
        if untuned.get("policy") != "MultiInputPolicy" and untuned.get("optimize_memory_usage") != "True":
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


def _sample_exploration(trial: "optuna.Trial") -> dict[str, Any]:
    """
    :param trial: the trial to draw from
    :return: parameters of the random actions of algorithms for discrete actions
    """
    return {
        "exploration_fraction": trial.suggest_float("exploration_fraction", 0.05, 0.5),
        "exploration_initial_eps": trial.suggest_float("exploration_initial_eps", 0.0, 1.0),
        "exploration_final_eps": trial.suggest_float("exploration_final_eps", 0.0, 0.2),
        "exploration_max_duration": trial.suggest_categorical("exploration_max_duration", [1, 50]),
        "exploration_duration_exponent": trial.suggest_float("exploration_duration_exponent", 1.0, 2.0),
    }


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
        # Without these two an entry's own temperature or falling target would stay, and the ratio would mean nothing
        "ent_coef": trial.suggest_categorical("ent_coef", ["auto"]),
        "target_entropy": trial.suggest_categorical("target_entropy", ["auto", "lin_0.5_0.1", "adaptive"]),
        "target_entropy_ratio": trial.suggest_float("target_entropy_ratio", 0.05, 0.9),
        "q_reduction": trial.suggest_categorical("q_reduction", list(get_args(QReduction))),
        **_sample_exploration(trial),
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
            "value_proposal": trial.suggest_categorical("value_proposal", list(get_args(ValueProposal))),
            "n_kernel_particles_pow": trial.suggest_int("n_kernel_particles_pow", 2, 5),
            "kernel_update_ratio": trial.suggest_float("kernel_update_ratio", 0.2, 0.8),
            "kernel_bandwidth_rule": trial.suggest_categorical(
                "kernel_bandwidth_rule", [*get_args(SteinBandwidthRule), "number"]
            ),
            "kernel_bandwidth": trial.suggest_float("kernel_bandwidth", 1e-3, 1.0, log=True),
        }
    else:
        params |= {
            "munchausen_coef": trial.suggest_float("munchausen_coef", 0.0, 0.95),
            "behavior_policy": trial.suggest_categorical("behavior_policy", list(get_args(SoftQBehavior))),
            **_sample_exploration(trial),
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
        "kernel_bandwidth_rule": trial.suggest_categorical("kernel_bandwidth_rule", [*get_args(BandwidthRule), "number"]),
        "kernel_bandwidth": trial.suggest_float("kernel_bandwidth", 0.1, 10.0, log=True),
        "start_std": trial.suggest_float("start_std", 0.2, 1.5, log=True),
        "behavior_policy": trial.suggest_categorical("behavior_policy", list(get_args(S2ACBehavior))),
    }
    return _sample_params(trial, additional_args, params)


def sample_mixturesac_params(
    trial: "optuna.Trial", n_actions: int, n_envs: int, additional_args: dict[str, Any]
) -> dict[str, Any]:
    """
    Sample the hyperparameters of MixtureSAC.

    :param trial: the trial to draw from
    :param n_actions: number of action dimensions (not used)
    :param n_envs: number of environments (not used)
    :param additional_args: what rl_zoo3 knows of the replay buffer
    :return: arguments for the algorithm
    """
    params: dict[str, Any] = {
        "ent_coef": trial.suggest_float("ent_coef", 1e-3, 10.0, log=True),
        "n_critics": trial.suggest_int("n_critics", 1, 2),
        "n_components": trial.suggest_int("n_components", 1, 12),
        "mean_spread": trial.suggest_float("mean_spread", 0.1, 0.95),
        "max_std": trial.suggest_float("max_std", 0.3, 2.0, log=True),
        "deterministic_action": trial.suggest_categorical("deterministic_action", list(get_args(DeterministicAction))),
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
        "flow": trial.suggest_categorical("flow", [*get_args(ShallowFlowFamily), "spline"]),
        "n_flows": trial.suggest_int("n_flows", 1, 5),
        "conditional_flow": trial.suggest_categorical("conditional_flow", [False, True]),
    }
    return _sample_params(trial, additional_args, params)
