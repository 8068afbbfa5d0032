from sb3_maxent.sacnf.policies import CnnPolicy, FlowActor, MlpPolicy, MultiInputPolicy, SACNFPolicy
from sb3_maxent.sacnf.sacnf import SACNF

__all__ = ["SACNF", "CnnPolicy", "FlowActor", "MlpPolicy", "MultiInputPolicy", "SACNFPolicy"]
