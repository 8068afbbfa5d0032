"""How reports look: the style of their figures, and pieces of Markdown."""

import math
import re
from collections.abc import Iterable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sb3_maxent.reporting.looks import COLOURS, INK, LINE_STYLES
from sb3_maxent.reporting.statistics import Estimate

STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.15,
    "legend.frameon": False,
    "text.parse_math": False,  # a $ in an id is a $
    "legend.handlelength": 3,
    "svg.fonttype": "none",  # text stays text: small files, and it can be searched
    "svg.hashsalt": "sb3_maxent",  # the same ids each time
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color"), INK),
}
NONE = "-"


# ---------------------------------------------------------------------- figures


def look(index: int) -> dict[str, Any]:
    """Colour and line style of the algorithm at a place in the order of comparison"""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": LINE_STYLES[index % len(LINE_STYLES)]}


def shorten(name: str, length: int) -> str:
    return name if len(name) <= length else f"{name[: length // 2]}…{name[-length // 2 :]}"


def save_figure(figure: Figure, path: Path, title: str) -> None:
    """Write PATH.png and PATH.svg, the same bytes each time."""
    figure.savefig(f"{path}.png", dpi=200, metadata={"Software": None, "Title": title})
    figure.savefig(f"{path}.svg", metadata={"Date": None, "Creator": None, "Title": title})


def save(figure: Figure, path: str | Path, title: str) -> None:
    """
    Write one file. An SVG has the same bytes for the same figure. Its coordinates are cut to a hundredth of a point, which
    halves its size.

    :param figure: drawn within ``matplotlib.rc_context(STYLE)``, and saved there
    :param path: its ending is the format
    :param title: what the figure shows, as the title of an SVG
    """
    if Path(path).suffix != ".svg":
        return figure.savefig(path, dpi=100)
    text = StringIO()
    figure.savefig(text, format="svg", dpi=200, metadata={"Date": None, "Creator": None, "Title": title})
    Path(path).write_text(re.sub(r"(\d\.\d\d)\d+", r"\1", text.getvalue()))
    return None


# ---------------------------------------------------------------------- Markdown


def plain(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>#&~!|])", r"\\\1", " ".join(text.split()))


def code(value: Any) -> str:
    """As code: of the text of settings and ids nothing is taken for Markdown"""
    text = " ".join(str(value).split())
    if not text:
        return NONE
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if "`" in (text[0], text[-1]) else ""
    return f"{fence}{space}{text}{space}{fence}"


def codes(values: Iterable[Any]) -> str:
    return ", ".join(map(code, values))


def span(numbers: Iterable[int]) -> str:
    numbers = sorted(numbers)
    return f"{numbers[0]:,}" if numbers[0] == numbers[-1] else f"{numbers[0]:,} to {numbers[-1]:,}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (head, ["---"] * len(head), *rows)
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def ranges(numbers: Iterable[int]) -> str:
    """Sorted and shortened: 0-4, 7"""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def decimals(scores: Iterable[float]) -> int:
    """Decimals that resolve a few thousandths of the scores' range"""
    scores = list(scores)
    extent = max(scores) - min(scores) or max(map(abs, scores))
    return int(np.clip(2 - math.floor(math.log10(extent)), 0, 6)) if extent > 0 else 0


def interval(estimate: Estimate, decimals: int) -> str:
    text = f"{estimate.value:.{decimals}f}"
    bounds = NONE if math.isnan(estimate.low) else f"{estimate.low:.{decimals}f}, {estimate.high:.{decimals}f}"
    return f"{text} [{bounds}]"


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
