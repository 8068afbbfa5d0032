"""
A gradient step of S2AC's authors, for the comparison of speeds in ``speed.py``.

Their code, https://github.com/SafaMessaoud/S2AC-Energy-Based-RL-with-Stein-Soft-Actor-Critic, has no licence, so that
nothing of it is here: :func:`build` imports it from a checkout that the caller has. Every network, loss, optimizer, target
update and replay buffer is theirs, unchanged. Replaced, around them:

- the module ``render_browser``, which ``core.py`` imports for a decorator that is commented out: an empty module;
- the environment, of which their class reads only the two spaces: gymnasium's spaces in place of those of ``gym`` 0.21;
- the TensorBoard writer: one that drops what it is given;
- ``main.py``, which needs ``gym`` and ``mujoco_py``: :func:`build` passes what its arguments would have, and
  :meth:`Published.train` does what the training loop, ``MaxEntrRL.forward``, does between two steps of the environment.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces

N_OBSERVATIONS, N_ACTIONS = 17, 6
NET_ARCH = [256, 256]
MODULES = ("core", "actorcritic", "actors", "buffer", "debugging", "networks", "utils")  # theirs: too general to keep


def import_core(checkout: Path) -> ModuleType:
    """Import the module of their algorithm, and leave the import system as it was."""
    kept_path, kept_modules = list(sys.path), dict(sys.modules)
    for name in [name for name in sys.modules if name.split(".")[0] in MODULES]:
        del sys.modules[name]
    stub: Any = ModuleType("render_browser")
    stub.render_browser = None
    sys.modules["render_browser"] = stub
    sys.path.insert(0, str(checkout.resolve() / "STAC"))
    try:
        return importlib.import_module("core")
    finally:
        sys.path[:] = kept_path
        for name in [name for name in sys.modules if name.split(".")[0] in (*MODULES, "render_browser")]:
            del sys.modules[name]
        sys.modules.update(kept_modules)


class Published:
    """
    Their model, with the method for training that SB3's have.

    :param model: their ``MaxEntrRL``
    """

    def __init__(self, model: Any):
        self.model = model
        model.ac_targ.requires_grad_(False)  # as ``MaxEntrRL.forward`` begins

    def fill(self, steps: int = 1000, seed: int = 0) -> None:
        """Put random transitions in the replay buffer."""
        rng = np.random.default_rng(seed)
        for _ in range(steps):
            obs, next_obs = rng.uniform(-1, 1, (2, N_OBSERVATIONS))
            self.model.replay_buffer.store(obs, rng.uniform(-1, 1, N_ACTIONS), rng.normal(), next_obs, False)

    def train(self, gradient_steps: int, batch_size: int) -> None:
        """Their update of critics, policy and target networks, on batches from their replay buffer."""
        for step in range(gradient_steps):
            self.model.update(data=self.model.replay_buffer.sample_batch(batch_size), itr=step)


def build(checkout: Path, n_particles: int = 10, n_steps: int = 3, batch_size: int = 256) -> Published:
    """
    S2AC with a learned initial distribution (their ``svgd_p0_pram``), on the CPU, with a filled replay buffer.

    :param checkout: a clone of their repository
    """
    core = import_core(checkout)
    settings, device = core.AttrDict, th.device("cpu")
    env = SimpleNamespace(observation_space=spaces.Box(-1, 1, (N_OBSERVATIONS,)), action_space=spaces.Box(-1, 1, (N_ACTIONS,)))
    networks = {"hidden_sizes": NET_ARCH, "activation": th.nn.ReLU}
    actor = settings(num_svgd_particles=n_particles, num_svgd_steps=n_steps, svgd_lr=0.1, svgd_sigma_p0=0.5, **networks)
    actor.update(test_action_selection="random", batch_size=batch_size, device=device, kernel_sigma=None, adaptive_sig=4)
    rl = settings(gamma=0.99, alpha_c=0.2, alpha_a=0.2, replay_size=10_000, load_replay=False, replay_path="")
    rl.update(update_after=1000, max_steps=1000, test_time=False, evaluation_data_path="", model_path="")
    published = Published(
        core.MaxEntrRL(
            env,
            env,
            env="HalfCheetah-v2",
            actor="svgd_p0_pram",
            device=device,
            critic_kwargs=settings(critic_cnn=False, gpu_id=0, **networks),
            actor_kwargs=actor,
            RL_kwargs=rl,
            optim_kwargs=settings(polyak=0.995, lr_critic=1e-3, lr_actor=1e-3, batch_size=batch_size),
            tb_logger=SimpleNamespace(add_scalars=lambda *args: None),
        )
    )
    published.fill()
    return published
