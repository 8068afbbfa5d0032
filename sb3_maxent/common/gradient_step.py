"""One gradient step: what it works on, the hooks in which an algorithm says what it does, and their order."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch as th
from stable_baselines3.common.policies import BaseModel
from stable_baselines3.common.type_aliases import DictReplayBufferSamples, ReplayBufferSamples
from torch.nn import functional as F

from sb3_maxent.common.policies import MaxEntPolicy
from sb3_maxent.common.target_entropy import TargetEntropy
from sb3_maxent.common.temperature import Temperature
from sb3_maxent.functional import soft_td_target

Batch = ReplayBufferSamples | DictReplayBufferSamples
# Those of the critics, of the actor and of the temperature; None where there is none
Optimizers = tuple[th.optim.Optimizer, th.optim.Optimizer | None, th.optim.Optimizer | None]
# Names of the metrics of a gradient step, and their values in one tensor
StepResult = tuple[tuple[str, ...], th.Tensor]

# Watched for NaN as all metrics are, and not logged
ACTOR_NORM = "norm of the actor's weights"


@dataclass
class GradientStep:
    """
    What one gradient step works on, and what its hooks leave. It is gone after the step.

    :param batch: transitions from the replay buffer; those of n-step returns have summed rewards
    :param ent_coef: the temperature, one entry, without gradient
    :param discounts: ``gamma``, or (B, 1) ``gamma^n`` for n-step returns (less where an episode ended before)
    :param targets_are_due: whether the target critics are updated at the end of this step (``target_update_interval``)
    :param memory: what a hook leaves for a later hook of the same step, by any name
    :param metrics: scalar tensors that are logged as ``train/<name>``; the same names in each step. Leave them on their
        device: they are brought to the host once for each call of ``train()``, and watched for NaN there.
    """

    batch: Batch
    ent_coef: th.Tensor
    discounts: th.Tensor | float
    targets_are_due: bool = True
    memory: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, th.Tensor] = field(default_factory=dict)

    def soft_td_target(self, next_values: th.Tensor, rewards: th.Tensor | None = None) -> th.Tensor:
        """
        The target ``y = r + (1 - d) * gamma^n * V(s')``.

        :param next_values: (B, 1) soft values of the next states
        :param rewards: (B, 1), those of the batch if ``None``
        :return: (B, 1)
        """
        rewards = self.batch.rewards if rewards is None else rewards
        return soft_td_target(rewards, self.batch.dones, self.discounts, next_values)

    def regression_loss(self, current_q_values: Sequence[th.Tensor], target: th.Tensor) -> th.Tensor:
        """
        Half the mean squared error to the target, summed over the critics. Their mean is logged as ``train/q_mean``.

        :param current_q_values: (B, 1) Q-values of the batch's actions by each critic
        :param target: (B, 1)
        :return: the loss (scalar)
        """
        self.metrics["q_mean"] = th.stack([q_values.detach().mean() for q_values in current_q_values]).mean()
        loss = 0.5 * sum(F.mse_loss(current_q, target) for current_q in current_q_values)
        assert isinstance(loss, th.Tensor)  # for the type checker
        return loss


class GradientStepHooks:
    """
    What an algorithm says about its gradient step. A hook is a function of the :class:`GradientStep` and of the networks,
    and of nothing else, so that a step can be compiled. They are called in this order:

    - ``_td_target(step)`` gives the target (B, 1) of the critics' regression; called without gradient. What it remembers from
      step to step is a tensor, changed in place and saved (``_get_torch_save_params``).
    - ``_critic_loss(step, target)`` gives the loss of the critics. Default: a regression of ``self.critic``.
    - ``_actor_loss(step)`` gives the loss of the actor, or ``None``, and the policy's entropies (B, 1), or ``None``.
    - ``_target_entropy_of(step)`` gives the target entropy of a learned temperature. Default: that of ``self.target_entropy``.
    - ``_update_targets(step)`` moves the target networks; called without gradient. Default: a Polyak average.

    After ``_critic_loss`` and ``_actor_loss`` the optimizer of the critics or of the actor takes a step on the loss; after
    ``_target_entropy_of`` the one of the temperature does.
    """

    policy: MaxEntPolicy
    actor: BaseModel | None
    critic: BaseModel
    critic_target: BaseModel
    temperature: Temperature
    entropy_target: TargetEntropy
    gamma: float
    tau: float
    batch_norm_stats: list[th.Tensor]
    batch_norm_stats_target: list[th.Tensor]

    def _td_target(self, step: GradientStep) -> th.Tensor:
        """
        Target of the critics' regression, usually :meth:`GradientStep.soft_td_target` of the soft values that
        ``self.critic_target`` gives the next states. Called without gradient.

        :param step: the gradient step
        :return: (B, 1)
        """
        raise NotImplementedError()

    def _critic_loss(self, step: GradientStep, target: th.Tensor) -> th.Tensor:
        """
        Loss of the critics: by default the regression of ``self.critic(observations, actions)`` towards the target.

        :param step: the gradient step
        :param target: (B, 1) from ``_td_target``
        :return: the loss (scalar)
        """
        return step.regression_loss(self.critic(step.batch.observations, step.batch.actions), target)

    def _actor_loss(self, step: GradientStep) -> tuple[th.Tensor | None, th.Tensor | None]:
        """
        Loss of the actor. The critics have been updated by then.

        :param step: the gradient step
        :return: the loss (scalar; ``None`` for a policy without an actor network), and the policy's entropies (B, 1) in
            nats (``None`` where they are not known)
        """
        raise NotImplementedError()

    def _target_entropy_of(self, step: GradientStep) -> th.Tensor:
        """
        Target entropy of a learned temperature, by default the same for all states.

        :param step: the gradient step
        :return: one entry, or (B, 1) for each state; in nats
        """
        return self.entropy_target.value

    def _update_targets(self, step: GradientStep) -> None:
        """
        Move the target networks, by default the target critics and only where ``step.targets_are_due``.
        Called without gradient.

        :param step: the gradient step
        """
        if step.targets_are_due:
            polyak_average(list(self.critic.parameters()), list(self.critic_target.parameters()), self.tau)
            # Copy running stats, see https://github.com/DLR-RM/stable-baselines3/issues/996
            polyak_average(self.batch_norm_stats, self.batch_norm_stats_target, 1.0)


def polyak_average(sources: list[th.Tensor], targets: list[th.Tensor], tau: float) -> None:
    """
    Move targets towards their sources, ``target <- (1 - tau) target + tau source``, in place, as SB3's ``polyak_update``
    does, but with two calls for all tensors.

    :param sources: tensors
    :param targets: tensors of the same shapes
    :param tau: the soft update coefficient; with 1 the sources are copied, so that infinities (of a mask) stay what they are
    """
    if not targets:
        return
    if tau == 1:
        th._foreach_copy_(targets, sources)
        return
    th._foreach_mul_(targets, 1 - tau)
    th._foreach_add_(targets, sources, alpha=tau)


class Update(Protocol):
    """
    A step of an optimizer.

    :param optimizer: the optimizer
    :param parameters: the parameters that it moves
    """

    optimizer: th.optim.Optimizer
    parameters: list[th.Tensor]

    def apply(self, gradients: Sequence[th.Tensor | None]) -> None:
        """
        Take the step.

        :param gradients: one for each of the parameters, ``None`` where the loss does not depend on it
        """


class Updates(NamedTuple):
    """The steps that a gradient step takes: of the critics, of the actor, and of a learned temperature."""

    critic: Update
    actor: Update | None
    temperature: Update | None


class OptimizerUpdate:
    """
    The step of any optimizer, as it is.

    :param optimizer: the optimizer
    """

    def __init__(self, optimizer: th.optim.Optimizer):
        self.optimizer = optimizer
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.parameters = [p for p in parameters if p.requires_grad]
        for parameter in parameters:
            if not parameter.requires_grad:
                parameter.grad = None  # frozen since the last step: the optimizer passes over it

    def apply(self, gradients: Sequence[th.Tensor | None]) -> None:
        """
        Take the step.

        :param gradients: one for each of the parameters, ``None`` where the loss does not depend on it
        """
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()


def gradient_step(
    hooks: GradientStepHooks,
    batch: Batch,
    updates: Updates,
    targets_are_due: bool,
) -> StepResult:
    """
    Do one gradient step. Called without gradient. It is a function of its arguments alone, so that it can be compiled.

    :param hooks: the algorithm
    :param batch: transitions from the replay buffer
    :param updates: how optimizers take their steps
    :param targets_are_due: whether the target critics are updated at the end
    :return: names of the metrics, and their values in one tensor
    :raises ValueError: where the temperature is learned and the policy's entropy is not known
    """
    discounts = batch.discounts if batch.discounts is not None else hooks.gamma
    step = GradientStep(batch, hooks.temperature.value, discounts, targets_are_due)
    # A learned temperature changes below, a buffer of the policy or the fixed one does not
    step.metrics["ent_coef"] = step.ent_coef
    hooks.temperature.tell(hooks.policy)

    target = hooks._td_target(step)
    with th.enable_grad():
        critic_loss = hooks._critic_loss(step, target)
        # Only these parameters' gradients: a loss that passes through other networks costs nothing there
        gradients = th.autograd.grad(critic_loss, updates.critic.parameters, allow_unused=True)
    step.metrics["critic_loss"] = critic_loss.detach()
    updates.critic.apply(gradients)

    with th.enable_grad():
        actor_loss, entropy = hooks._actor_loss(step)
    if actor_loss is not None and updates.actor is not None:
        with th.enable_grad():
            gradients = th.autograd.grad(actor_loss, updates.actor.parameters, allow_unused=True)
        step.metrics["actor_loss"] = actor_loss.detach()
        updates.actor.apply(gradients)
        # A finite loss can have a NaN gradient. The critics' next loss reveals theirs; the actor's would reach an action.
        step.metrics[ACTOR_NORM] = th.nn.utils.get_total_norm(updates.actor.parameters)
    if entropy is not None:
        step.metrics["entropy"] = entropy.detach().mean()
    if updates.temperature is not None:
        if entropy is None:
            raise ValueError("`ent_coef='auto'` needs a policy whose entropy is known")
        target_entropy = hooks._target_entropy_of(step)
        if hooks.entropy_target.changes:
            step.metrics["target_entropy"] = target_entropy.mean()
        with th.enable_grad():
            ent_coef_loss = hooks.temperature.loss(entropy.detach(), target_entropy)
            gradients = th.autograd.grad(ent_coef_loss, updates.temperature.parameters)
        step.metrics["ent_coef_loss"] = ent_coef_loss.detach()
        updates.temperature.apply(gradients)
        hooks.temperature.clamp()

    hooks._update_targets(step)
    return tuple(step.metrics), th.stack([value.reshape(()) for value in step.metrics.values()])


class EagerStep:
    """
    Does gradient steps of an algorithm, operation by operation.

    :param hooks: the algorithm
    """

    def __init__(self, hooks: GradientStepHooks):
        self.hooks = hooks
        self.updates: Updates | None = None

    @contextmanager
    def ready(self, optimizers: Optimizers) -> Iterator["EagerStep"]:
        """
        Prepare for the steps of one call of ``train()``.

        :param optimizers: of the critics, of the actor, of the temperature; ``None`` where there is none
        :return: this object
        """
        self.updates = Updates(*[o and OptimizerUpdate(o) for o in optimizers])  # type: ignore[arg-type]
        with th.no_grad():
            yield self

    def __call__(self, batch: Batch, targets_are_due: bool) -> StepResult:
        """
        Do one gradient step.

        :param batch: transitions from the replay buffer
        :param targets_are_due: whether the target critics are updated at the end
        :return: names of the metrics, and their values in one tensor
        """
        assert self.updates is not None
        return gradient_step(self.hooks, batch, self.updates, targets_are_due)
