from sb3_maxent.s2ac.policies import CnnPolicy, MlpPolicy, MultiInputPolicy, S2ACPolicy
from sb3_maxent.s2ac.s2ac import S2AC
from sb3_maxent.s2ac.sampler import Particles, Path, SteinSampler, Target

__all__ = ["S2AC", "CnnPolicy", "MlpPolicy", "MultiInputPolicy", "Particles", "Path", "S2ACPolicy", "SteinSampler", "Target"]
