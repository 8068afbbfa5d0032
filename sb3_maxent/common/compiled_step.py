"""The gradient step as one compiled graph (``compile=True``), costly acting as another, and what happens without them."""

import functools
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import torch as th
from stable_baselines3.common.type_aliases import PyTorchObs

from sb3_maxent.common.gradient_step import (
    Batch,
    EagerStep,
    GradientStepHooks,
    Optimizers,
    OptimizerUpdate,
    StepResult,
    Update,
    Updates,
    gradient_step,
)

# Graphs of one process: models of other shapes or settings, with and without an update of the targets
MAX_GRAPHS = 256
# Graphs of one model; one that needs more has a constant that changes all the time, and compiling it would never end
MAX_GRAPHS_OF_A_MODEL = 16
# Settings of an optimizer that are constants in a graph
CONSTANTS = ("betas", "eps", "weight_decay", "amsgrad", "maximize", "decoupled_weight_decay")
ONE_GRAPH, SEVERAL_GRAPHS, EAGER = "one graph", "several graphs", "eager"
TOO_MANY_GRAPHS = (
    f"`compile=True`: the gradient step was compiled {MAX_GRAPHS_OF_A_MODEL} times, so training goes on without it. A number "
    "on the algorithm is a constant of the graph. Keep one that changes in a tensor, and change that in place."
)
HOW_TO_INSTALL = (
    "Compiling needs a C++ compiler: install g++ (Debian and Ubuntu: apt install g++, conda: conda install cxx-compiler), or "
    "let the environment variable CXX name one."
)


# Torch imports its compiler when these are called first: it takes seconds, which `import sb3_maxent` need not wait for


def untraceable() -> tuple[type[Exception], ...]:
    """Errors of a hook that does what a graph can't hold; what stands before and after it can still be compiled."""
    return th._dynamo.exc.Unsupported, th._dynamo.exc.UserError


def compiler_errors() -> tuple[type[Exception], ...]:
    """Errors of compiling, before anything ran."""
    return th._dynamo.exc.TorchDynamoException, th._dynamo.exc.FailOnRecompileLimitHit


class AdamUpdate:
    """
    A step of torch's Adam or AdamW as a function of tensors, which a graph can hold. It works in place on the optimizer's own
    state, so that whatever saves, loads or reads that state sees no difference.

    :param optimizer: the optimizer
    """

    def __init__(self, optimizer: th.optim.Adam):
        self.optimizer = optimizer
        self.parameters: list[th.Tensor] = []
        # For each group: parameters, state, learning rate as a tensor (a number would be a constant of the graph), settings
        self.groups: list[tuple[list[th.Tensor], dict[str, list[th.Tensor]], th.Tensor, dict[str, Any]]] = []
        for group in optimizer.param_groups:
            parameters = [p for p in group["params"] if p.requires_grad]
            names = ["exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if group["amsgrad"] else [])]
            for parameter in parameters:
                state = optimizer.state[parameter]
                if not state:
                    state["step"] = th.zeros((), device=parameter.device)
                    state.update({name: th.zeros_like(parameter, memory_format=th.preserve_format) for name in names})
                state["step"] = state["step"].to(parameter.device)
            states = {name: [optimizer.state[p][name] for p in parameters] for name in ["step", *names]}
            settings = {
                "beta1": float(group["betas"][0]),
                "beta2": float(group["betas"][1]),
                "eps": group["eps"],
                "weight_decay": group["weight_decay"],
                "maximize": group["maximize"],
                "amsgrad": group["amsgrad"],
                "decoupled_weight_decay": group.get("decoupled_weight_decay", isinstance(optimizer, th.optim.AdamW)),
            }
            rate = th.zeros((), device=parameters[0].device if parameters else None)
            self.parameters += parameters
            self.groups.append((parameters, states, rate, settings))
        self.learning_rates: list[float | th.Tensor | None] = [None] * len(self.groups)

    @staticmethod
    def can_take(optimizer: th.optim.Optimizer) -> bool:
        """
        :param optimizer: an optimizer
        :return: whether its step is that of this class
        """
        return type(optimizer) in (th.optim.Adam, th.optim.AdamW) and not optimizer.defaults["differentiable"]

    def take_learning_rates(self) -> None:
        """Bring the optimizer's learning rates, which a schedule may have changed, into the graph's tensors."""
        for index, group in enumerate(self.optimizer.param_groups):
            if self.learning_rates[index] != group["lr"]:
                self.learning_rates[index] = group["lr"]
                self.groups[index][2].fill_(float(group["lr"]))

    def apply(self, gradients: Sequence[th.Tensor | None]) -> None:
        """
        Take the step.

        :param gradients: one for each of the parameters, ``None`` where the loss does not depend on it
        """
        first = 0
        for parameters, states, rate, settings in self.groups:
            for index, parameter in enumerate(parameters):
                gradient = gradients[first + index]
                if gradient is not None:
                    adam_step(parameter, gradient, {name: of[index] for name, of in states.items()}, rate, **settings)
            first += len(parameters)


def adam_step(
    parameter: th.Tensor,
    gradient: th.Tensor,
    state: dict[str, th.Tensor],
    learning_rate: th.Tensor,
    *,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    maximize: bool,
    amsgrad: bool,
    decoupled_weight_decay: bool,
) -> None:
    """
    A step of Adam (https://arxiv.org/abs/1412.6980) or AdamW (https://arxiv.org/abs/1711.05101) for one parameter, in place,
    with the results of torch's. In a graph of torch's own function the bias corrections, two powers, are computed anew for
    every few entries of the parameter.

    :param parameter: the parameter
    :param gradient: its gradient, of the same shape
    :param state: what the optimizer keeps for it: ``step``, ``exp_avg``, ``exp_avg_sq``, and ``max_exp_avg_sq`` for AMSGrad
    :param learning_rate: one entry

    The other parameters are those of :class:`torch.optim.Adam`.
    """
    if maximize:
        gradient = -gradient
    if weight_decay != 0 and decoupled_weight_decay:
        parameter.mul_(1 - learning_rate * weight_decay)
    elif weight_decay != 0:
        gradient = gradient + weight_decay * parameter
    step, exp_avg, exp_avg_sq = state["step"], state["exp_avg"], state["exp_avg_sq"]
    step += 1
    exp_avg.lerp_(gradient, 1 - beta1)
    exp_avg_sq.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    if amsgrad:
        exp_avg_sq = state["max_exp_avg_sq"].copy_(th.maximum(state["max_exp_avg_sq"], exp_avg_sq))
    step_size = _computed_once(learning_rate / _bias_correction(beta1, step))
    root = _computed_once(_bias_correction(beta2, step).sqrt())
    parameter.sub_(step_size * exp_avg / (exp_avg_sq.sqrt() / root + eps))


def _bias_correction(beta: float, step: th.Tensor) -> th.Tensor:
    """``1 - beta^step`` without the cancellation that float32 has at the first steps."""
    return -th.expm1(step * (math.log(beta) if beta > 0 else -math.inf))


def _computed_once(number: th.Tensor) -> th.Tensor:
    """The same number, which a CPU's graph stores instead of computing it wherever it is read: what is strided has a place."""
    return number.as_strided((), ()) if number.device.type == "cpu" else number


class UntracedUpdate(OptimizerUpdate):
    """The step of any other optimizer: it stands between two graphs."""

    def __init__(self, optimizer: th.optim.Optimizer):
        super().__init__(optimizer)
        self.apply = th.compiler.disable(super().apply)  # type: ignore[method-assign]


@functools.cache
def _compiled(mode: str, device_type: str) -> Callable[..., StepResult]:
    """The compiled step of all models: torch keeps a graph for each that differs, and shares it between those that don't."""
    # Torch keeps graphs by code object. With one of its own, several graphs never serve a step that is to be one.
    code = gradient_step.__code__.replace(co_name=f"{gradient_step.__name__} as {mode}")
    step = FunctionType(code, gradient_step.__globals__)
    return th.compile(step, fullgraph=mode == ONE_GRAPH, dynamic=False, options=_options(device_type))


@functools.cache
def _compiled_acting(device_type: str) -> Callable[..., th.Tensor]:
    """Compiled acting of all policies."""
    return th.compile(_act, fullgraph=True, dynamic=False, options=_options(device_type))


def _act(policy: Any, observation: PyTorchObs, deterministic: bool) -> th.Tensor:
    return policy.act(observation, deterministic)


def act_compiled(policy: Any, observation: PyTorchObs, deterministic: bool) -> th.Tensor:
    """
    Act by a compiled graph, and eagerly from the first time on that this can't be done.

    :param policy: with ``act(observation, deterministic)``; its ``acting_compiles`` becomes False where that fails
    :param observation: batch of observations
    :param deterministic: as in ``predict()``
    :return: actions
    """
    settings = _dynamo_settings(trace_autograd_ops=True, recompile_limit=MAX_GRAPHS)
    try:
        with settings, _quiet(logging.getLogger("torch._inductor.ir")):
            return _compiled_acting(policy.device.type)(policy, observation, deterministic)
    except compiler_errors():
        policy.acting_compiles = False
        return policy.act(observation, deterministic)


def _options(device_type: str) -> dict[str, Any]:
    options: dict[str, Any] = {"fallback_random": True}  # eager's random numbers
    if device_type == "cpu":
        options["cpp_wrapper"] = True  # the kernels are called from C++
    return options


def _graphs_of_the_process() -> int:
    return th._dynamo.utils.counters["stats"]["unique_graphs"]


@functools.cache
def _why_nothing_compiles(device_type: str) -> str:
    """Why not even a sum can be compiled on this machine; empty where it can."""
    try:
        th.compile(lambda x: x + 1, options=_options(device_type))(th.zeros(2, device=device_type))
    except Exception as error:
        return f"{_first_line(error)}. {HOW_TO_INSTALL}"
    return ""


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}".rstrip(".: ")


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Without warnings, here of operations (a median, say) that the C++ code calls by a detour."""
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _dynamo_settings(**values: Any) -> Iterator[None]:
    """Settings of torch's tracer, where this version of torch has them; the user's own come back afterwards."""
    config = th._dynamo.config
    before = {name: getattr(config, name) for name in values if hasattr(config, name)}
    try:
        for name in before:
            setattr(config, name, values[name])
        yield
    finally:
        for name, value in before.items():
            setattr(config, name, value)


class CompiledStep(EagerStep):
    """
    Does gradient steps as compiled graphs: as one graph where torch can trace all of it, else as few as it takes, and eagerly
    where nothing can be compiled. It warns once where it is not one graph, and says why.

    :param hooks: the algorithm
    """

    def __init__(self, hooks: GradientStepHooks):
        super().__init__(hooks)
        self.mode = ONE_GRAPH
        self.n_graphs = 0
        self.compile_seconds = 0.0
        self._signature: list[Any] = []
        self._parts: list[Any] = []

    @contextmanager
    def ready(self, optimizers: Optimizers) -> Iterator["CompiledStep"]:
        """
        Prepare for the steps of one call of ``train()``.

        :param optimizers: of the critics, of the actor, of the temperature; ``None`` where there is none
        :return: this object
        """
        if self.mode == EAGER:
            with super().ready(optimizers):
                yield self
            return
        # Loading an optimizer replaces its state and its groups; the old ones are kept, so that no new one has their id
        parts = [part for o in optimizers if o is not None for part in (o, o.state, o.param_groups)]
        signature = [id(part) for part in parts] + [self._settings_of(o) for o in optimizers if o is not None]
        if self.updates is None or signature != self._signature:
            self._parts, self._signature = parts, signature
            self.updates = Updates(*map(self._update_of, optimizers))  # type: ignore[arg-type]
        for update in self.updates:
            if isinstance(update, AdamUpdate):
                update.take_learning_rates()
        # suppress_errors: of several graphs, one that can't be compiled runs eagerly
        with (
            th.no_grad(),
            _dynamo_settings(trace_autograd_ops=True, recompile_limit=MAX_GRAPHS, suppress_errors=self.mode == SEVERAL_GRAPHS),
        ):
            yield self

    @staticmethod
    def _settings_of(optimizer: th.optim.Optimizer) -> list[Any]:
        """What is a constant in a graph."""
        return [
            (*(group.get(name) for name in CONSTANTS), [p.requires_grad for p in group["params"]])
            for group in optimizer.param_groups
        ]

    @staticmethod
    def _update_of(optimizer: th.optim.Optimizer | None) -> Update | None:
        if optimizer is None:
            return None
        return AdamUpdate(optimizer) if AdamUpdate.can_take(optimizer) else UntracedUpdate(optimizer)  # type: ignore[arg-type,return-value]

    def __call__(self, batch: Batch, targets_are_due: bool) -> StepResult:
        if self.mode == EAGER:
            return super().__call__(batch, targets_are_due)
        before, start = _graphs_of_the_process(), time.perf_counter()
        try:
            result = self._run(batch, targets_are_due)
        except compiler_errors() as error:
            return self._run_otherwise(batch, targets_are_due, error)
        if _graphs_of_the_process() > before:
            self.n_graphs += 1
            self.compile_seconds += time.perf_counter() - start
            if self.n_graphs == MAX_GRAPHS_OF_A_MODEL and self.mode == ONE_GRAPH:
                self._run_eagerly_from_now_on()
                warnings.warn(TOO_MANY_GRAPHS, UserWarning, stacklevel=4)
        return result

    def _run(self, batch: Batch, targets_are_due: bool) -> StepResult:
        step = _compiled(self.mode, batch.rewards.device.type)
        if self.n_graphs > 0:
            return step(self.hooks, batch, self.updates, targets_are_due)
        with _quiet(logging.getLogger("torch._inductor.ir")):
            return step(self.hooks, batch, self.updates, targets_are_due)

    def _run_eagerly_from_now_on(self) -> None:
        assert self.updates is not None
        self.mode = EAGER
        self.updates = Updates(*[u and OptimizerUpdate(u.optimizer) for u in self.updates])  # type: ignore[arg-type]

    def _run_otherwise(self, batch: Batch, targets_are_due: bool, error: Exception) -> StepResult:
        """Do the step that could not be compiled as one graph, and from now on in the same way; warn once it is done."""
        why = _why_nothing_compiles(batch.rewards.device.type)
        if why or not isinstance(error, untraceable()):
            self._run_eagerly_from_now_on()
            message = f"`compile=True` has no effect, training goes on without it. {why or _first_line(error)}"
        else:
            self.mode = SEVERAL_GRAPHS
            message = f"`compile=True`: the gradient step is compiled as several graphs, not as one. {_first_line(error)}"
        with _dynamo_settings(suppress_errors=True):
            result = self(batch, targets_are_due)
        warnings.warn(message, UserWarning, stacklevel=5)
        return result
