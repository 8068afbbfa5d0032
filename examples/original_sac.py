"""
An algorithm of your own, in three hooks: the original soft actor-critic, which has a network for the state value.
docs/guide/extending.md walks through this file.

    python examples/original_sac.py --steps 10000
"""

import argparse
from typing import Any, ClassVar

import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import SquashedDiagGaussianDistribution
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.policies import BasePolicy, ContinuousCritic
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, NatureCNN, create_mlp
from stable_baselines3.common.type_aliases import GymEnv, PyTorchObs, Schedule
from stable_baselines3.sac.policies import Actor
from torch import nn
from torch.nn import functional as F

from sb3_maxent.common.gradient_step import GradientStep
from sb3_maxent.common.max_ent_algorithm import MaxEntAlgorithm
from sb3_maxent.common.policies import MaxEntPolicy


class ValueCritic(ContinuousCritic):
    """
    SB3's Q networks (``critic(observations, actions)``), and the network of the state value beside them.

    All are in one module, so one optimizer trains them, and one Polyak update moves their targets. In the target critic
    the state value is that of psi-bar. Its Q networks follow as well, but the algorithm has no use for them.
    A features extractor that learns (images) is shared by Q and V.

    :param net_arch: layer sizes, the same for Q and V
    :param features_dim: number of features
    :param activation_fn: activation function
    :param kwargs: the other parameters, see :class:`~stable_baselines3.common.policies.ContinuousCritic`
    """

    def __init__(self, *, net_arch: list[int], features_dim: int, activation_fn: type[nn.Module], **kwargs: Any):
        super().__init__(net_arch=net_arch, features_dim=features_dim, activation_fn=activation_fn, **kwargs)
        self.value_net = nn.Sequential(*create_mlp(features_dim, 1, net_arch, activation_fn))

    def value(self, observations: PyTorchObs) -> th.Tensor:
        """
        :param observations: batch of B observations
        :return: (B, 1) V(s)
        """
        features = self.extract_features(observations, self.features_extractor)
        # A features extractor that the actor shares learns from the actor's loss only
        return self.value_net(features.detach() if self.share_features_extractor else features)


class GaussianActor(Actor):
    """SAC's actor. SB3's keeps its last distribution, which would break a compiled step into several graphs."""

    def action_log_prob(self, obs: PyTorchObs) -> tuple[th.Tensor, th.Tensor]:
        mean, log_std, _ = self.get_action_dist_params(obs)
        return SquashedDiagGaussianDistribution(mean.shape[1]).log_prob_from_params(mean, log_std)


class OriginalSACPolicy(MaxEntPolicy):
    """Policy class for OriginalSAC, with SAC's actor. Parameters: :class:`~sb3_maxent.common.policies.MaxEntPolicy`"""

    actor: GaussianActor
    critic: ValueCritic
    critic_target: ValueCritic

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> GaussianActor:
        return GaussianActor(**self._update_features_extractor(self.actor_kwargs, features_extractor)).to(self.device)

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> ValueCritic:
        return ValueCritic(**self._update_features_extractor(self.critic_kwargs, features_extractor)).to(self.device)


class CnnPolicy(OriginalSACPolicy):
    """Policy class for OriginalSAC with image observations."""

    default_features_extractor_class = NatureCNN


class MultiInputPolicy(OriginalSACPolicy):
    """Policy class for OriginalSAC with dictionary observations."""

    default_features_extractor_class = CombinedExtractor


class OriginalSAC(MaxEntAlgorithm):
    """
    The original soft actor-critic: V is a network of its own, not computed from Q. Equation numbers are those of the paper.
    Paper: https://arxiv.org/abs/1801.01290

    :param policy: The policy model to use (MlpPolicy, CnnPolicy, ...)
    :param env: The environment to learn from (if registered in Gym, can be str)
    :param learning_rate: learning rate of all networks (and of the temperature); it can be a function of the current progress
        remaining (from 1 to 0)
    :param ent_coef: the temperature, a number as in the paper, which has it as a scale of the rewards: temperature 0.2 does
        what a reward scale of 5 does. Not in the paper: all else that
        :class:`~sb3_maxent.common.max_ent_algorithm.MaxEntAlgorithm` takes, for instance ``"auto"``
    :param _init_setup_model: Whether or not to build the network at the creation of the instance
    :param kwargs: the other parameters, see :class:`~sb3_maxent.common.max_ent_algorithm.MaxEntAlgorithm`; their defaults
        are the paper's
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": OriginalSACPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    policy: OriginalSACPolicy
    actor: GaussianActor
    critic: ValueCritic
    critic_target: ValueCritic

    def __init__(
        self,
        policy: str | type[OriginalSACPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 3e-4,
        *,
        ent_coef: str | float | Schedule = 0.2,
        _init_setup_model: bool = True,
        **kwargs: Any,
    ):
        super().__init__(policy, env, learning_rate, ent_coef=ent_coef, supported_action_spaces=(spaces.Box,), **kwargs)
        if _init_setup_model:  # load() does it itself, later
            self._setup_model()

    def _default_target_entropy(self) -> float:
        return -float(get_action_dim(self.action_space))  # for ent_coef="auto" only, as in SAC

    def _td_target(self, step: GradientStep) -> th.Tensor:
        return step.soft_td_target(self.critic_target.value(step.batch.next_observations))  # Equation 8

    def _critic_loss(self, step: GradientStep, target: th.Tensor) -> th.Tensor:
        q_loss = super()._critic_loss(step, target)  # Equation 7
        with th.no_grad():
            sampled_values, _ = self._sample_value(step)
        value_loss = 0.5 * F.mse_loss(self.critic.value(step.batch.observations), sampled_values)  # Equation 5
        step.metrics["value_loss"] = value_loss.detach()  # logged as train/value_loss
        return q_loss + value_loss  # no parameter is in both, so that each gets its own gradient

    def _actor_loss(self, step: GradientStep) -> tuple[th.Tensor, th.Tensor]:
        sampled_values, entropy = self._sample_value(step)
        return -sampled_values.mean(), entropy  # Equation 12

    def _sample_value(self, step: GradientStep) -> tuple[th.Tensor, th.Tensor]:
        """
        Soft value of the policy by the current Q networks, from one action of the policy in each state (Equation 3).

        :param step: the gradient step
        :return: (B, 1) min_k Q_k(s, a) - alpha log pi(a|s), with the gradient through the action; (B, 1) -log pi(a|s)
        """
        actions, log_prob = self.actor.action_log_prob(step.batch.observations)  # Equation 11
        entropy = -log_prob.reshape(-1, 1)
        q_values = th.cat(self.critic(step.batch.observations, actions), dim=1).min(dim=1, keepdim=True).values
        return q_values + step.ent_coef * entropy, entropy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="Pendulum-v1")
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="original_sac.zip")
    args = parser.parse_args()

    model = OriginalSAC("MlpPolicy", args.env, learning_rate=1e-3, seed=args.seed, verbose=1).learn(args.steps)
    model.save(args.output)
    env = model.get_env()
    assert env is not None
    mean, std = evaluate_policy(model, env, n_eval_episodes=10)
    print(f"Mean return of 10 episodes: {mean:.1f} +/- {std:.1f}\nSaved {args.output}")


if __name__ == "__main__":
    main()
