"""
How trained agents do in a world that is not quite the one they were trained in: ``python -m sb3_maxent.robustness``.

Agents and their environments are loaded as the RL Zoo's ``enjoy`` loads them, the perturbations are those of
``sb3_maxent.envs.PerturbationWrapper``, and Stable-Baselines3's ``evaluate_policy`` evaluates.
"""
