"""What the environments share to draw themselves."""

from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

RenderMode = Literal["rgb_array"]
ObsType = TypeVar("ObsType")
ActType = TypeVar("ActType")


class SceneEnv(gym.Env[ObsType, ActType]):
    """
    An environment that draws a square scene: what never changes once, the rest on top of it in every frame.
    Needs matplotlib at the first frame, without pyplot and its global state.

    :param render_mode: ``"rgb_array"``: :meth:`render` returns a uint8 array (400, 400, 3); ``None``: it returns nothing
    """

    # Typed so by gym.Env
    metadata: dict[str, Any] = {"render_modes": list(get_args(RenderMode)), "render_fps": 10}  # noqa: RUF012

    def __init__(self, render_mode: RenderMode | None = None):
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"`render_mode` must be None or 'rgb_array', not {render_mode!r}")
        self.render_mode = render_mode
        self._axes: Axes | None = None
        self._background: Any = None
        self._has_reset = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self._has_reset = True

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """
        :return: the scene with the current episode so far: uint8 (400, 400, 3), or ``None`` without a ``render_mode``
        :raises ResetNeeded: before the first :meth:`reset`
        :raises ImportError: without matplotlib
        """
        if self.render_mode is None:
            gym.logger.warn("render() does nothing without render_mode='rgb_array', an argument of gymnasium.make")
            return None
        if not self._has_reset:
            raise ResetNeeded("Call reset() before render()")
        if self._axes is None:
            try:
                from matplotlib.backends.backend_agg import FigureCanvasAgg
                from matplotlib.figure import Figure
            except ImportError as error:
                raise ImportError(f'render() needs matplotlib: pip install "sb3_maxent[figures]" ({error})') from error

            canvas = FigureCanvasAgg(Figure(figsize=(4, 4), dpi=100))
            self._axes = canvas.figure.add_axes((0.13, 0.07, 0.83, 0.9))
            self._draw_background(self._axes)
            self._axes.set_autoscale_on(False)
            canvas.draw()
            self._background = canvas.copy_from_bbox(canvas.figure.bbox)
        canvas = self._axes.figure.canvas  # type: ignore[assignment]
        canvas.restore_region(self._background)
        for artist in self._draw_episode(self._axes):
            self._axes.draw_artist(artist)
            artist.remove()
        return np.array(canvas.buffer_rgba())[..., :3]

    def _draw_background(self, axes: "Axes") -> None:
        """Draw what stays the same."""
        raise NotImplementedError

    def _draw_episode(self, axes: "Axes") -> "list[Artist]":
        """Add to ``axes``, and return, what changes from frame to frame."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        # A canvas' pixels can be neither pickled nor copied; the copy draws its own
        return {**self.__dict__, "_axes": None, "_background": None}
