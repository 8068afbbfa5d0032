"""
A comparison's folder: the settings that all its runs share, and reading what is there.

::

    settings.json                    of the latest command, to refuse other settings and for the report
    <algo>/<env>_<seed + 1>/         a finished run as rl_zoo3 left it, with run.json and log.txt
    variants/<name>/<algo>/...       the same for an algorithm with settings of its own
    conf/                            copies of the hyperparameter files that were passed
    unfinished/                      runs that are under way or were interrupted, with their checkpoints
    others/                          copies of the results.csv of other comparisons that were passed
    failed/<name>_<env>_seed<seed>.log
    report.md, report.html, ...
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sb3_maxent.compare.results import EXPERIMENT, SHARED, Result, read_csv
from sb3_maxent.compare.runs import Run, read_evaluations, write
from sb3_maxent.reporting.versions import machine, versions
from sb3_maxent.zoo import VARIANTS

OTHERS = "others"
# What is there without a settings.json where a report was made of other comparisons' results alone
REPORT = {OTHERS, "figures", "report.md", "report.html", "results.csv"}


def read_settings(folder: Path) -> dict[str, Any] | None:
    """
    :param folder: the comparison's
    :return: what the latest command wrote, ``None`` if there was none
    :raises ValueError: if the file is not what a comparison writes, or the folder is something else's
    """
    file = folder / "settings.json"
    if not file.is_file():
        if folder.is_dir() and any(path.name not in REPORT for path in folder.iterdir()):
            raise ValueError(f"{folder} holds something, but no comparison (no settings.json): choose another folder by -f")
        return None
    try:
        settings = json.loads(file.read_text())
        if {*SHARED, "runs"} <= settings.keys():
            return settings
    except (ValueError, AttributeError):
        pass
    raise ValueError(f"{file} is not the settings file of a comparison: choose another folder by -f")


def finished_runs(folder: Path) -> list[dict[str, Any]]:
    """
    :param folder: the comparison's
    :return: what the ``run.json`` of each finished run holds
    :raises ValueError: if one can't be read
    """
    records = []
    for file in sorted([*folder.glob("*/*/run.json"), *folder.glob(f"{VARIANTS}/*/*/*/run.json")]):
        try:
            records.append(json.loads(file.read_text()))
        except ValueError as error:
            raise ValueError(f"{file} can't be read ({error}): move its folder away to have the run made again") from error
    return records


def read_others(files: Iterable[Path]) -> list[Result]:
    """
    :param files: ``results.csv`` of other comparisons
    :return: their finished runs; several files may have the same one
    :raises ValueError: if one is something else
    :raises OSError: if one can't be read
    """
    return [run for file in files for run in read_csv(file) if run.status == "finished"]


def others(folder: Path) -> list[Result]:
    """
    :param folder: the comparison's
    :return: finished runs of other comparisons that were added to it
    """
    return read_others(sorted((folder / OTHERS).glob("*.csv")))


def _elsewhere(folder: Path, records: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str, int], Result]:
    """
    :param folder: the comparison's
    :param records: of its own finished runs
    :return: the runs of other comparisons that count: not those that it has itself; of the same run in several files the
        first one whose record is known
    """
    own = set(map(_key, records))
    runs: dict[tuple[str, str, int], Result] = {}
    for run in sorted(others(folder), key=lambda run: run.record is None):
        if run.key not in own:
            runs.setdefault(run.key, run)
    return runs


def existing_settings(folder: Path) -> dict[str, Any]:
    """
    :param folder: the comparison's
    :return: what the latest command wrote; of results of other comparisons alone it has no runs
    :raises ValueError: if there is no comparison in the folder
    """
    settings = read_settings(folder)
    if settings is None and not others(folder):
        raise ValueError(f"there is no comparison in {folder}")
    return settings or {"runs": []}


def name_by_content(name: str, file: Path, suffix: str) -> str:
    """
    :param name: how the copy's name begins
    :param file: what is copied
    :param suffix: how it ends
    :return: name of a copy; each content has one of its own
    """
    return f"{name}_{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}{suffix}"


def add_others(folder: Path, files: Sequence[Path]) -> None:
    """
    Copy results of other comparisons into the folder.

    :param folder: the comparison's
    :param files: their ``results.csv``
    """
    for file in files:
        (folder / OTHERS).mkdir(parents=True, exist_ok=True)
        write(folder / OTHERS / name_by_content(file.stem, file, ".csv"), file.read_text(encoding="utf-8"))


def traces(folder: Path) -> list[list[Any]]:
    """
    :param folder: the comparison's
    :return: name of the algorithm, environment and seed of the runs of earlier commands that failed or were interrupted
    :raises ValueError: if the folder is something else's
    """
    before = read_settings(folder)
    if before is None:
        return []
    runs = [_run(folder, entry, before) for entry in before["runs"]]
    return [list(run.key) for run in runs if run.log.exists() or run.attempts()]


def _run(folder: Path, entry: Sequence[Any], settings: dict[str, Any]) -> Run:
    """
    :param folder: the comparison's
    :param entry: zoo key or name of a variant, environment id, seed
    :param settings: of the comparison
    :return: a run to ask where its files are
    """
    label, env, seed = entry
    variants = settings.get("variants", {})
    shared = {name: settings[name] for name in SHARED}
    return Run(folder, variants.get(label, label), env, seed, shared, {}, variant=label if label in variants else "")


def _label(record: Mapping[str, Any]) -> str:
    """The name of a finished run's algorithm in the report"""
    return record.get("variant") or record["algo"]


def _key(record: Mapping[str, Any]) -> tuple[str, str, int]:
    """What tells a finished run from the others"""
    return _label(record), record["env"], record["seed"]


def differences(folder: Path, runs: Sequence[Run]) -> list[str]:
    """
    How settings differ from those of what is in the folder already. Hyperparameters may be added, for other algorithms
    and environments, but not changed.

    :param folder: the comparison's
    :param runs: that are to be made, all with the same shared settings
    :return: a line for each
    :raises ValueError: if the folder is something else's
    """
    before, finished = read_settings(folder), finished_runs(folder)
    if before is None or not (finished or any(folder.glob("unfinished/*"))):
        return []  # nothing was trained, so that a mistake in the first command can be mended
    # Of the runs as well: they may have been copied from another folder
    lines = _changed([before], runs[0].settings, SHARED) + _changed(finished, runs[0].settings, SHARED)
    return list(dict.fromkeys([*lines, *_changed_hyperparams(finished, _hyperparams(runs))]))


def differences_of_others(folder: Path, files: Iterable[Path], runs: Sequence[Run]) -> list[str]:
    """
    How settings differ from those of runs of other comparisons, as far as these are known, and between these.

    :param folder: the comparison's
    :param files: ``results.csv`` of other comparisons, beside those that were added to it
    :param runs: that are to be made, all with the same shared settings
    :return: a line for each
    """
    finished = finished_runs(folder)
    own = set(map(_key, finished))
    theirs = [run for run in [*others(folder), *read_others(files)] if run.key not in own]
    records = [run.record or {"n_timesteps": run.n_timesteps} for run in theirs]
    made = [record for record in records if "hyperparams" in record]
    of_own = {(_label(record), record["env"]): (record["algo"], record["hyperparams"]) for record in finished}
    hyperparams = of_own | _hyperparams(runs)
    for record in made:
        hyperparams.setdefault((_label(record), record["env"]), (record["algo"], record["hyperparams"]))
    return list(dict.fromkeys([*_changed(records, runs[0].settings, EXPERIMENT), *_changed_hyperparams(made, hyperparams)]))


def _hyperparams(runs: Iterable[Run]) -> dict[tuple[str, str], tuple[str, dict[str, Any]]]:
    """
    :param runs: that are to be made
    :return: zoo key and hyperparameters by the algorithm's name in the report and the environment
    """
    return {(run.label, run.env): (run.algo, run.hyperparams) for run in runs}


def _changed(records: Iterable[Mapping[str, Any]], now: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """
    :param records: of runs, or the settings of a comparison
    :param now: the settings of the command
    :param names: what must not differ
    :return: a line for each setting that does
    """
    there = {name: dict.fromkeys(record[name] for record in records if name in record) for name in names}
    return [f"{name} is {old} there and {now[name]} now" for name in names for old in there[name] if old != now[name]]


def _changed_hyperparams(
    records: Iterable[Mapping[str, Any]], now: Mapping[tuple[str, str], tuple[str, Mapping[str, Any]]]
) -> list[str]:
    """
    :param records: of finished runs
    :param now: zoo key and hyperparameters by the algorithm's name in the report and the environment
    :return: a line for each hyperparameter that differs between them
    """
    lines = []
    for record in records:
        label, env, old = _label(record), record["env"], record["hyperparams"]
        algo, new = now.get((label, env), (record["algo"], old))
        if algo != record["algo"]:
            lines.append(f"{label} is a variant of {record['algo']} there and of {algo} now")
            continue
        values = {name: (old.get(name, "not set"), new.get(name, "not set")) for name in sorted(old.keys() | new.keys())}
        where = f"of {label} on {env}"
        lines += [f"{name} {where} is {there} there and {here} now" for name, (there, here) in values.items() if there != here]
    return lines


def read_results(folder: Path) -> list[Result]:
    """
    :param folder: the comparison's
    :return: the runs of the latest command, and all others that are finished, also those of other comparisons
    :raises ValueError: if there is no comparison in the folder
    """
    settings, finished = existing_settings(folder), finished_runs(folder)
    asked = {tuple(entry): _run(folder, entry, settings) for entry in settings["runs"]}
    records = {}
    for record in finished:
        key = _key(record)
        variants = {record["variant"]: record["algo"]} if record.get("variant") else {}
        asked[key] = _run(folder, key, {**record, "variants": variants})  # in its place
        records[key] = record
    results = {key: _result(run, records.get(key)) for key, run in asked.items()}
    return list({**results, **_elsewhere(folder, finished)}.values())


def _result(run: Run, record: dict[str, Any] | None) -> Result:
    """
    :param run: which
    :param record: its ``run.json``, if it is finished
    :return: what it left behind
    """
    common = (*run.key, run.settings["n_timesteps"])
    if record is not None:
        took = record["seconds"], record["num_timesteps"]
        return Result(*common, "finished", *read_evaluations(run.final_folder), *took, record)
    attempts = run.attempts()
    evaluations = read_evaluations(run.training_folder(attempts[-1]) if attempts else run.folder / "no attempt")
    status = "failed" if run.log.exists() else "unfinished" if attempts else "missing"
    return Result(*common, status, *evaluations)  # type: ignore[arg-type]


def report_settings(folder: Path) -> dict[str, Any]:
    """
    What the report prints of how the results were made.

    :param folder: the comparison's
    :return: printable by name; what differs between runs (versions, machines) with all its values
    """
    written, own = read_settings(folder) or {}, finished_runs(folder)
    settings = {name: value for name, value in written.items() if name != "runs" and value != {}}
    elsewhere = list(_elsewhere(folder, own).values())
    finished = [*own, *(run.record for run in elsewhere if run.record)]
    unknown = len(own) + len(elsewhere) - len(finished)
    note = f"{len(elsewhere)}" + (f"; of {unknown} the settings and versions are not known here" if unknown else "")
    counted = {"runs of other comparisons": note} if elsewhere else {}
    if elsewhere and not finished:
        return {**settings, **counted}
    used = [run["versions"] for run in finished] or [versions()]
    hyperparams: dict[str, dict[str, list[str]]] = {}
    for run in finished:
        text = ", ".join(f"{name}: {value}" for name, value in run["hyperparams"].items())
        hyperparams.setdefault(_label(run), {}).setdefault(run["env"], []).append(text)
    # Runs that were copied from another folder may have others
    used_settings = {name: {run[name]: None for run in finished} for name in SHARED if finished}
    return {
        **settings,
        **counted,
        **{name: next(iter(each)) if len(each) == 1 else _distinct(map(str, each)) for name, each in used_settings.items()},
        "machine": _distinct([run["machine"] for run in finished] or [machine()]),
        "versions": {name: _distinct([of_run.get(name, "?") for of_run in used]) for name in _names(used)},
        "hyperparams": {label: {env: _distinct(of_env) for env, of_env in of.items()} for label, of in hyperparams.items()},
    }


def _names(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for each in mappings for name in each))


def _distinct(values: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(values))
