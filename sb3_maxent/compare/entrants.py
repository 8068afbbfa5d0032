"""What is compared, as the command line says it: algorithms, variants of them, and single values for some or for all."""

import ast
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sb3_maxent import zoo

ITEM = re.compile(r"(?:(?P<owner>[^:=]+)=)?(?P<key>[^:=]+):(?P<value>.+)", re.DOTALL)
VARIANT = re.compile(r"(?P<name>[^=]*)=(?P<algo>[^,]*)(?:,(?P<items>.*))?", re.DOTALL)
# No underscore: it separates the name from the environment in the names of files
VARIANT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,39}")
Items = list[re.Match[str]]


class Entrant(NamedTuple):
    """
    What is compared: an algorithm with the settings that it has by itself, or a variant of one.

    :param algo: zoo key
    :param variant: name of the variant, empty for the algorithm itself
    :param items: the variant's hyperparameters
    """

    algo: str
    variant: str = ""
    items: tuple[re.Match[str], ...] = ()

    @property
    def label(self) -> str:
        """What the report calls it"""
        return self.variant or self.algo


def read_entrants(algos: Sequence[str], variants: Sequence[str]) -> tuple[list[Entrant], list[str]]:
    """
    :param algos: zoo keys
    :param variants: ``NAME=ALGO,KEY:VALUE,...``
    :return: the algorithms, then the variants; what is wrong with these
    """
    found, problems = [Entrant(algo) for algo in algos], []
    taken = {name.lower() for name in zoo.algorithms()}
    for text in variants:
        match = VARIANT.fullmatch(text)
        if match is None:
            problems.append(f"--variant {text}: NAME=ALGO,KEY:VALUE,... is needed")
            continue
        name, texts = match["name"], _split(match["items"] or "")
        if VARIANT_NAME.fullmatch(name) is None:
            problems.append(f"--variant {text}: a name has 1 to 40 letters, digits, dots and hyphens, which {name!r} has not")
        elif name.lower() in taken:
            problems.append(f"--variant {text}: there is an algorithm or another variant of the name {name!r}")
        taken.add(name.lower())
        items, wrong = read_items(f"--variant {name}:", texts, "", [], [])
        problems += wrong
        found.append(Entrant(match["algo"], name, tuple(items[""])))
    return found, problems


def _split(text: str) -> list[str]:
    """
    :param text: ``KEY:VALUE,KEY:VALUE,...``
    :return: the items; a comma within a value's brackets or quotes separates none
    """
    items: list[str] = []
    for piece in text.split(",") if text else []:
        if items and not _is_expression(items[-1].partition(":")[2]):
            items[-1] += f",{piece}"
        else:
            items.append(piece)
    return items


def _is_expression(text: str) -> bool:
    try:
        compile(text, "value", "eval")  # rl_zoo3 evaluates it
    except SyntaxError:
        return False
    return True


def read_items(
    option: str, given: Iterable[str], kind: str, owners: Sequence[str], known: Sequence[str]
) -> tuple[dict[str, Items], list[str]]:
    """
    :param option: of the command line
    :param given: ``[OWNER=]KEY:VALUE``
    :param kind: what an owner is, empty where there is none
    :param owners: algorithms or environments of the comparison
    :param known: all of them
    :return: the items of each owner, those for all first, as a later one counts (those for all alone by the name ``""``);
        what is wrong
    """
    items: dict[str, Items] = {owner: [] for owner in ("", *owners)}
    problems = []
    for item in given:
        match = ITEM.fullmatch(item)
        if match is None or (match["owner"] and not kind):
            problems.append(f"{option} {item}: KEY:VALUE{f' or {kind}=KEY:VALUE' if kind else ''} is needed")
            continue
        if not _is_expression(match["value"]):
            problems.append(f"{option} {item}: {match['value']!r} is not a Python expression")
        owner = match["owner"] or ""
        if owner in items:
            items[owner].append(match)
        else:
            problems.append(f"{option} {item}: {not_compared(owner, owners, known, kind)}")
    return {owner: [*items[""], *own] if owner else own for owner, own in items.items()}, problems


def values_of(items: Iterable[re.Match[str]]) -> dict[str, Any]:
    """
    :param items: of the command line
    :return: their values, those that are no literal as text
    """
    # Evaluated, so that a number equals the same one of a file
    return {item["key"]: ast.literal_eval(item["value"]) if is_literal(item["value"]) else item["value"] for item in items}


def is_literal(text: str) -> bool:
    """
    :param text: of a value
    :return: whether it is a Python literal, such as a number, or a list of some
    """
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return False
    return True


def not_compared(name: str, compared: Sequence[str], known: Sequence[str], kind: str = "ALGO") -> str:
    noun, option = ("algorithm", "--algos") if kind == "ALGO" else ("environment", "--envs")
    what = f"is not among {option}" if name in known else f"is no {noun}"
    return f"{name!r} {what}{zoo.did_you_mean(name, compared)}"
