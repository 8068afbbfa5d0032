"""The look of the figures in ``docs/figures``."""

import re
from io import StringIO
from pathlib import Path
from xml.sax.saxutils import escape

from matplotlib.figure import Figure

from sb3_maxent.reporting import formatting

STYLE = formatting.STYLE


def save(figure: Figure, path: Path, words: str) -> None:
    """
    Write an SVG file: the same bytes for the same figure, and coordinates to a hundredth of a point, which halves its size.

    :param figure: drawn within ``matplotlib.rc_context(STYLE)``, and saved there
    :param path: ending with ``.svg``
    :param words: what the figure shows, as its title
    """
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Title": escape(words)})
    path.write_text(re.sub(r"(\d\.\d\d)\d+", r"\1", text.getvalue()))
    print(f"Saved {path}")
