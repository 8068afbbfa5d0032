from sb3_maxent.mixture_sac.mixture_sac import MixtureSAC
from sb3_maxent.mixture_sac.policies import CnnPolicy, MixtureActor, MixtureSACPolicy, MlpPolicy, MultiInputPolicy

__all__ = ["CnnPolicy", "MixtureActor", "MixtureSAC", "MixtureSACPolicy", "MlpPolicy", "MultiInputPolicy"]
