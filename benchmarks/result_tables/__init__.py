"""
The tables of the documentation, each a function of its name, which ``results.py`` writes into the pages.
"""

from result_tables import modes, returns, robustness, samplers, speed  # noqa: F401  # they register their tables
from result_tables.common import TABLES

__all__ = ["TABLES"]
