"""
Which algorithm is better on a task, over seeds, with intervals: ``python -m sb3_maxent.compare``.

Each run is the RL Zoo's own training in a process of its own; only orchestration and the reading of what the zoo's
evaluations left behind stand here.
"""
