"""Tensors of a file that ``save()`` wrote, read without executing anything of the file."""

import io
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import torch as th
from stable_baselines3.common.save_util import open_path

# How many names of tensors an error message lists
N_LISTED = 3


def read_tensors(
    path: str | pathlib.Path | io.BufferedIOBase, names: Sequence[str], device: th.device
) -> dict[str, dict[str, th.Tensor]]:
    """
    Read entries of a saved model by torch's ``weights_only``. Other entries are not opened, so no pickle is executed.

    :param path: path of the file, or a file object
    :param names: names of the entries, without ``.pth``
    :param device: where the tensors will be
    :return: tensors by their names, for each entry
    :raises ValueError: if the file is no zip file, lacks an entry, or if an entry holds anything but named tensors
    """
    file = open_path(path, "r", suffix="zip")
    try:
        with zipfile.ZipFile(file) as archive:
            if missing := [f"{name}.pth" for name in names if f"{name}.pth" not in archive.namelist()]:
                raise ValueError(f"{path} has no {', '.join(missing)}, only {', '.join(archive.namelist())}")
            return {name: _read_entry(archive, f"{name}.pth", path, device) for name in names}
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is no zip file, as `save()` writes them: {error}") from error
    finally:
        if isinstance(path, str | pathlib.Path):
            file.close()


def _read_entry(archive: zipfile.ZipFile, entry: str, path: Any, device: th.device) -> dict[str, th.Tensor]:
    try:
        with archive.open(entry) as file:
            tensors = th.load(file, map_location=device, weights_only=True)
    except Exception as error:  # a file that someone made up can lead to any
        reason = str(error).strip().splitlines()[:1]
        raise ValueError(f"{entry} of {path} can't be read as tensors: {type(error).__name__} {''.join(reason)}") from error
    if not isinstance(tensors, Mapping) or not all(isinstance(value, th.Tensor) for value in tensors.values()):
        raise ValueError(f"{entry} of {path} must hold tensors by their names, and holds something else")
    return dict(tensors)


def check_tensors(what: str, tensors: Mapping[str, th.Tensor], own: Mapping[str, th.Tensor]) -> None:
    """
    Check that tensors can take the place of others.

    :param what: what the tensors are, for the message
    :param tensors: the new ones, by their names
    :param own: those that are there
    :raises ValueError: if names, shapes or types differ, or if one is not finite where the other is
    """

    def shown(names: Sequence[str]) -> str:
        return ", ".join(names[:N_LISTED]) + (f" and {len(names) - N_LISTED} others" if len(names) > N_LISTED else "")

    made_alike = "Make the model with the arguments of the saved one: spaces, `policy_kwargs`, the algorithm's own"
    if missing := [name for name in own if name not in tensors]:
        raise ValueError(f"{what} lacks {shown(missing)}. {made_alike}")
    if unknown := [name for name in tensors if name not in own]:
        raise ValueError(f"{what} has {shown(unknown)}, which this model lacks. {made_alike}")
    kinds = {name: [f"{tuple(each[name].shape)} {each[name].dtype}" for each in (tensors, own)] for name in own}
    if other := [f"{name} is {new}, not {kind}" for name, (new, kind) in kinds.items() if new != kind]:
        raise ValueError(f"{what} has tensors of other shapes or types: {shown(other)}. {made_alike}")
    # An infinity that is there from the start, such as a mask's, is meant
    if bad := [name for name in own if own[name].isfinite().all() and not tensors[name].isfinite().all()]:
        raise ValueError(f"{what} has NaN or infinite values in {shown(bad)}")
