"""Files that ``save()`` wrote: whose they are, and what of them is left out on loading."""

import importlib
import io
import pathlib
import zipfile
from collections.abc import Iterable

import torch as th
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.save_util import open_path

File = str | pathlib.Path | io.BufferedIOBase
VARIABLES = "pytorch_variables.pth"


def algorithm_of(policy_class: type[BasePolicy]) -> str:
    """
    :param policy_class: class of a policy
    :return: name of the algorithm that has it among its policies, else the name of the policy itself
    """
    room = policy_class.__module__.rpartition(".")[0]
    for name, value in vars(importlib.import_module(room or policy_class.__module__)).items():
        if policy_class in getattr(value, "policy_aliases", {}).values():
            return name
    return f"the algorithm of {policy_class.__module__}.{policy_class.__qualname__}"


def fits(policy_class: type[BasePolicy], own: type[BasePolicy]) -> bool:
    """
    :param policy_class: class of a policy
    :param own: a policy class of an algorithm
    :return: whether the policy may be one of the algorithm's: it is made from the algorithm's own, or the other way round
    """

    def name(each: type) -> tuple[str, str]:  # a class that was saved by value is loaded as a copy
        return each.__module__, each.__qualname__

    if policy_class.__module__ == "__main__":  # of a script, which may be imported under another name now
        return True
    return name(own) in map(name, policy_class.__mro__) or name(policy_class) in map(name, own.__mro__)


def without(path: File, variables: Iterable[str], optimizer: str | None) -> File:
    """
    A saved model without some of what is saved.

    :param path: path of the file, or a file object
    :param variables: names of tensors that are saved by themselves
    :param optimizer: name of an optimizer, ``None`` for none
    :return: a copy of the file in memory without them; what was given where the file has no such tensor
    """
    file = open_path(path, "r", suffix="zip")
    start = file.tell()
    with zipfile.ZipFile(file) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    if file is path:
        file.seek(start)
    else:
        file.close()
    saved = th.load(io.BytesIO(entries[VARIABLES]), map_location="cpu", weights_only=True) if VARIABLES in entries else {}
    kept = {name: value for name, value in saved.items() if name not in variables}
    if kept.keys() == saved.keys():
        return path
    entries.pop(f"{optimizer}.pth", None)
    tensors, copy = io.BytesIO(), io.BytesIO()
    th.save(kept, tensors)
    entries[VARIABLES] = tensors.getvalue()
    with zipfile.ZipFile(copy, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    copy.seek(0)
    return copy
