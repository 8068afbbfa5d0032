from sb3_maxent.soft_q_learning.composition import compose, fine_tune
from sb3_maxent.soft_q_learning.policies import CnnPolicy, MlpPolicy, MultiInputPolicy, SoftQPolicy
from sb3_maxent.soft_q_learning.soft_q_learning import SoftQLearning

__all__ = ["CnnPolicy", "MlpPolicy", "MultiInputPolicy", "SoftQLearning", "SoftQPolicy", "compose", "fine_tune"]
