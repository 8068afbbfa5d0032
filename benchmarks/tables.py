"""The raw data of the benchmarks: CSV files in ``benchmarks/data``."""

import csv
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"


def read(path: Path) -> list[dict[str, str]]:
    """Rows of the CSV, none if there is no file yet."""
    if not path.exists():
        return []
    with path.open() as file:
        return list(csv.DictReader(file))


def write(path: Path, columns: list[str], rows: list[dict[str, Any]], append: bool = False) -> None:
    """Write a CSV, or append to what it holds."""
    new = not append or not path.exists()
    with path.open("w" if new else "a", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)
