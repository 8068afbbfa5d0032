"""Soft Q-learning with discrete actions: V(s) is a sum, and the policy a softmax of Q."""

from typing import Any, Literal, get_args

import torch as th

from sb3_maxent.common.checks import check_choice, check_number
from sb3_maxent.common.discrete_algorithm import DiscreteAlgorithm
from sb3_maxent.common.gradient_step import GradientStep
from sb3_maxent.functional import categorical_entropy
from sb3_maxent.soft_q_learning.policies import SoftQPolicy

BehaviorPolicy = Literal["boltzmann", "greedy"]
# Parameters that mean nothing for continuous actions
ONLY_DISCRETE = (
    "bound_values",
    "munchausen_coef",
    "munchausen_clip",
    "behavior_policy",
    "exploration_fraction",
    "exploration_initial_eps",
    "exploration_final_eps",
    "exploration_max_duration",
    "exploration_duration_exponent",
)


class SoftQDiscrete(DiscreteAlgorithm):
    """The part of ``SoftQLearning`` that is for discrete actions."""

    policy: SoftQPolicy
    critic: Any
    critic_target: Any
    munchausen_coef: float
    munchausen_clip: float
    behavior_policy: BehaviorPolicy

    def _check_discrete_parameters(self) -> None:
        check_number("munchausen_coef", self.munchausen_coef, 0, 1 - 1e-6)
        check_number("munchausen_clip", self.munchausen_clip, maximum=0)
        check_choice("behavior_policy", self.behavior_policy, get_args(BehaviorPolicy))
        self._check_discrete_algorithm()

    def _discrete_target(self, step: GradientStep) -> th.Tensor:
        """
        :param step: the gradient step
        :return: (B, 1) the TD target
        """
        next_observations = step.batch.next_observations
        q_values = self.policy.soft_minimum(self.critic_target(next_observations), step.ent_coef, next_observations)
        next_values = self.critic_target.heads.soft_maximum(q_values, step.ent_coef)
        return step.soft_td_target(self._bounded(next_values, step, step.ent_coef), self._rewards(step))

    def _discrete_critic_loss(self, step: GradientStep, target: th.Tensor) -> th.Tensor:
        """
        :param step: the gradient step, which remembers the Q-values of all actions
        :param target: (B, 1)
        :return: the loss (scalar)
        """
        all_q_values = self.critic(step.batch.observations)
        step.memory["q_values"] = [q_values.detach() for q_values in all_q_values]
        return step.regression_loss([self.critic.heads.select(q, step.batch.actions) for q in all_q_values], target)

    def _discrete_entropy(self, step: GradientStep) -> th.Tensor:
        """
        :param step: the gradient step, after the critic's loss
        :return: (B, 1) entropies of the policy
        """
        # Q of before this step's update of the critic, which saves a forward pass
        q_values = self.policy.soft_minimum(step.memory["q_values"], step.ent_coef, step.batch.observations)
        return categorical_entropy(self.critic.heads.boltzmann_log_probs(q_values, step.ent_coef))

    def _rewards(self, step: GradientStep) -> th.Tensor:
        """
        :param step: the gradient step
        :return: (B, 1) rewards with the Munchausen term
        """
        batch = step.batch
        if self.munchausen_coef == 0:
            return batch.rewards
        heads = self.critic_target.heads
        q_values = self.policy.soft_minimum(self.critic_target(batch.observations), step.ent_coef, batch.observations)
        # alpha log pi(a|s) = Q(s, a) - V(s)
        bonus = heads.select(q_values, batch.actions) - heads.soft_maximum(q_values, step.ent_coef)
        return batch.rewards + self.munchausen_coef * bonus.clamp(self.munchausen_clip, 0)

    def _acts_greedily(self) -> bool:
        return self.behavior_policy == "greedy"
