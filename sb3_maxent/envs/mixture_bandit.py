"""A one-step problem whose optimal stochastic policy is known: a mixture of Gaussians."""

import math
from collections import deque
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike

from sb3_maxent.envs._checks import POSITIVE, check_array, check_distribution, check_each
from sb3_maxent.envs._draw import RenderMode, SceneEnv

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


class MixtureBanditEnv(SceneEnv[np.ndarray, np.ndarray]):
    """
    One action a in [-1, 1]^d, one reward ``ent_coef * log p(a)``, where p is a mixture of isotropic Gaussians.
    The policy that maximises ``reward + ent_coef * entropy`` is p itself, and the maximum is 0: a policy q gets
    ``-ent_coef * KL(q || p)``, so the soft return says exactly how far a policy is from the optimum.
    ``ent_coef`` here and the algorithm's must be the same number for that; the optimum at another temperature t is
    p^(ent_coef / t), normalised.

    Each component is truncated to the box and normalised there by itself. So the density is an exact one on the box, and
    ``weights`` are exactly the shares of the components, however much of a Gaussian the box cuts off.
    Rewards are finite in all of the box, also far from every mode; an action outside is clipped to it.

    The observation is always ``[0.]``. ``info["mode"]`` is the index of the component that is most responsible for the
    action, ``info["goal"]`` its name, ``"mode 0"``. The problem and its default numbers are chosen here; no paper has them.

    :param weights: (K,), shares of the components, in (0, 1] with sum 1; ``None``: equal
    :param means: (K, d), modes of the components, in [-1, 1]
    :param widths: standard deviations of the Gaussians before truncation, in [0.001, 1000]: a number, or (K,)
    :param ent_coef: the temperature at which p is the optimal policy, in (0, inf)
    :param render_mode: ``"rgb_array"`` or ``None``. With d > 2 the marginal of the first two dimensions is drawn.
    :raises ValueError: naming the argument, for one out of range
    """

    def __init__(
        self,
        weights: ArrayLike | None = None,
        means: ArrayLike = ((0.5, 0.5), (0.5, -0.5), (-0.5, 0.5), (-0.5, -0.5)),
        widths: ArrayLike = 0.15,
        ent_coef: float = 1.0,
        render_mode: RenderMode | None = None,
    ):
        super().__init__(render_mode)
        self.means = check_array("means", means, (None, None), -1, 1)
        n_modes, n_dims = self.means.shape
        self.weights = check_distribution("weights", np.full(n_modes, 1 / n_modes) if weights is None else weights, (n_modes,))
        if not self.weights.all():
            raise ValueError(f"`weights` must be in (0, 1], not {weights!r}: leave out components without a share")
        self.widths = check_each("widths", widths, n_modes, 1e-3, 1e3)
        self.ent_coef = float(check_array("ent_coef", ent_coef, (), POSITIVE))
        # Distribution function of each component's Gaussians at the ends of the box, (K, d)
        self._cdf_low, cdf_high = (self._normal_cdf(end) for end in (-1.0, 1.0))
        self._mass = cdf_high - self._cdf_low
        self.observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (n_dims,), np.float32)
        self._actions: deque[np.ndarray] = deque(maxlen=500)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(1, dtype=np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        action = np.clip(np.asarray(action, dtype=np.float64), -1, 1)
        self._actions.append(action)
        mode = int(self.mode_of(action))
        reward = self.ent_coef * float(self.log_prob(action))
        return np.zeros(1, dtype=np.float32), reward, True, False, {"mode": mode, "goal": f"mode {mode}"}

    def log_prob(self, actions: ArrayLike) -> np.ndarray:
        """
        Logarithm of the optimal policy's density.

        :param actions: (..., d)
        :return: (...), nats; minus infinity outside of the box
        """
        actions = check_array("actions", actions, (*np.shape(actions)[:-1], len(self.means.T)))
        inside = (np.abs(actions) <= 1).all(axis=-1)
        return np.where(inside, np.logaddexp.reduce(self._joint_log_prob(actions), axis=-1), -np.inf)

    def mode_of(self, actions: ArrayLike) -> np.ndarray:
        """
        :param actions: (..., d)
        :return: (...), the index of the component that most probably produced the action
        """
        return self._joint_log_prob(np.asarray(actions, dtype=np.float64)).argmax(axis=-1)

    def mode_probabilities(self) -> np.ndarray:
        """
        :return: (K,), share of each component in the optimal policy. :meth:`mode_of` finds these shares up to the overlap
            of the components.
        """
        return self.weights.copy()

    def sample(self, n: int, rng: np.random.Generator | None = None) -> np.ndarray:
        """
        Independent samples of the optimal policy.

        :param n: how many
        :param rng: source of randomness; ``None``: the environment's own
        :return: (n, d)
        """
        rng = self.np_random if rng is None else rng
        mode = rng.choice(len(self.weights), size=n, p=self.weights)  # (n,)
        quantiles = self._cdf_low[mode] + self._mass[mode] * rng.random((n, self.means.shape[1]))
        quantiles = quantiles.clip(np.finfo(np.float64).tiny, 1 - np.finfo(np.float64).epsneg)  # inv_cdf wants (0, 1)
        inverse = np.vectorize(NormalDist().inv_cdf, otypes=[np.float64])
        return np.clip(self.means[mode] + self.widths[mode, None] * inverse(quantiles), -1, 1)

    def _normal_cdf(self, x: float) -> np.ndarray:
        return np.vectorize(math.erfc)((self.means - x) / (math.sqrt(2) * self.widths[:, None])) / 2

    def _joint_log_prob(self, actions: np.ndarray) -> np.ndarray:
        """log(weight * density) of each component, (..., K); for actions (..., m) with m < d those of the marginal."""
        m = actions.shape[-1]
        squared = (((actions[..., None, :] - self.means[:, :m]) / self.widths[:, None]) ** 2).sum(axis=-1)  # (..., K)
        log_normalizer = np.log(self.widths[:, None] * math.sqrt(2 * math.pi) * self._mass[:, :m]).sum(axis=-1)  # (K,)
        return np.log(self.weights) - squared / 2 - log_normalizer

    def _marginal(self, actions: np.ndarray) -> np.ndarray:
        return np.exp(np.logaddexp.reduce(self._joint_log_prob(actions), axis=-1))

    def _draw_background(self, axes: "Axes") -> None:
        axis = np.linspace(-1, 1, 101)
        if len(self.means.T) == 1:
            axes.plot(axis, self._marginal(axis[:, None]), color="tab:gray")
            axes.set(xlim=(-1, 1), ylim=(0, None))
        else:
            axes.contour(axis, axis, self._marginal(np.stack(np.meshgrid(axis, axis), axis=-1)), levels=12, linewidths=0.7)
            axes.set(xlim=(-1, 1), ylim=(-1, 1))

    def _draw_episode(self, axes: "Axes") -> "list[Artist]":
        """Every action since the environment was made (the last 500), the newest in red."""
        if not self._actions:
            return []
        points = np.stack(self._actions)[:, :2]
        if points.shape[1] == 1:
            points = np.column_stack([points, self._marginal(points)])
        earlier, newest = axes.plot(*points[:-1].T, ".", color="tab:blue"), axes.plot(*points[-1], "o", color="tab:red")
        return [*earlier, *newest]
