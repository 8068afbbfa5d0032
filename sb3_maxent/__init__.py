"""Maximum-entropy reinforcement learning for Stable-Baselines3."""

from pathlib import Path

from sb3_maxent import envs
from sb3_maxent.discrete_sac import DiscreteSAC
from sb3_maxent.mixture_sac import MixtureSAC
from sb3_maxent.s2ac import S2AC
from sb3_maxent.sacnf import SACNF
from sb3_maxent.soft_q_learning import SoftQLearning

__version__ = Path(__file__).with_name("version.txt").read_text().strip()

__all__ = ["S2AC", "SACNF", "DiscreteSAC", "MixtureSAC", "SoftQLearning", "__version__", "envs"]
