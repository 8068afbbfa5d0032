"""
Write the tables of measured numbers in docs/ from the CSV files of benchmarks/data, in place::

    python benchmarks/results.py
    python benchmarks/results.py --check

A page marks where a table belongs, and the text between the marks is replaced::

    <!-- results: NAME -->
    <!-- end -->

NAME is a function in ``result_tables``. With ``--check`` nothing is written: pages that differ from their CSV files are named,
and the exit code is 1.
"""

import argparse
import re
import sys
from pathlib import Path

from result_tables import TABLES

DOCS = Path(__file__).resolve().parents[1] / "docs"
MARKED = re.compile(r"^<!-- results: (\w+) -->\n(.*?)^<!-- end -->", re.DOTALL | re.MULTILINE)


def regenerate(text: str) -> tuple[str, list[str]]:
    """
    A page with its tables as the CSV files have them.

    :param text: of the page
    :return: the page, and the names of the tables that have changed
    :raises ValueError: if the page names a table that is not here, or a block has no end
    """
    changed = []

    def replace(match: re.Match[str]) -> str:
        if match[1] not in TABLES:
            raise ValueError(f"there is no table {match[1]!r}; there are {', '.join(sorted(TABLES))}")
        content = f"\n{TABLES[match[1]]()}\n\n"
        if content != match[2]:
            changed.append(match[1])
        return f"<!-- results: {match[1]} -->\n{content}<!-- end -->"

    new, blocks = MARKED.subn(replace, text)
    if blocks != len(re.findall("^<!-- results:", text, re.MULTILINE)):
        raise ValueError("a block of results has no end, or its first line is not '<!-- results: NAME -->'")
    return new, changed


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, name the tables that differ")
    check = parser.parse_args(arguments).check
    stale = False
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text()
        try:
            new, changed = regenerate(text)
        except ValueError as error:
            raise ValueError(f"{page.relative_to(DOCS)}: {error}") from error
        for name in changed:
            print(f"{page.relative_to(DOCS.parent)}: {name} {'differs from its CSV file' if check else 'written'}")
        stale |= bool(changed)
        if not check and changed:
            page.write_text(new)
    return int(check and stale)


if __name__ == "__main__":
    sys.exit(main())
