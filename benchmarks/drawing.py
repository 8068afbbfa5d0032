"""The look of the figures in ``docs/figures``."""

from pathlib import Path

from matplotlib.figure import Figure

from sb3_maxent.reporting import formatting

STYLE = formatting.STYLE


def save(figure: Figure, path: Path, words: str) -> None:
    """
    Write an SVG file, and say where.

    :param figure: drawn within ``matplotlib.rc_context(STYLE)``, and saved there
    :param path: ending with ``.svg``
    :param words: what the figure shows, as its title
    """
    formatting.save(figure, path, words)
    print(f"Saved {path}")
