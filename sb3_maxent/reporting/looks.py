"""What all figures have in common: colours, lines, and how panels are laid out. Needs no package, so figures.py can use it."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

# Near Okabe and Ito's colours, which colour-blind readers can tell apart: without yellow and black, with a purple. All can
# be seen on white and on dark. With the line styles 28 algorithms look different.
COLOURS = BLUE, VERMILLION, GREEN, PINK, ORANGE, SKY, PURPLE = (
    "#0a7fc4",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#8a63d2",
)
LINE_STYLES = ("-", (0, (5, 1.5)), (0, (6, 1.5, 1.2, 1.5)), (0, (1.3, 1.3)))
INK, PAPER = "#1f2328", "#ffffff"  # on the page of a report: the reader's colours
PANELS_A_ROW = 3


def rows_and_columns(n_panels: int) -> tuple[int, int]:
    """
    :param n_panels: number of panels of a figure, at least 1
    :return: rows and columns for them: as few rows as three panels a row allow, and these as full as can be
    """
    n_rows = math.ceil(n_panels / PANELS_A_ROW)
    return n_rows, math.ceil(n_panels / n_rows)


def legend_of_panels(figure: "Figure") -> dict[str, "Artist"]:
    """
    :param figure: with all its panels drawn
    :return: what they show by label, each once, for one legend of the whole figure
    """
    found = (axes.get_legend_handles_labels() for axes in figure.axes)
    return {label: handle for handles, labels in found for handle, label in zip(handles, labels, strict=True)}
