"""The parts of ``entropy.py``: targets, samplers, estimates, the experiment, its tables and its figure."""
