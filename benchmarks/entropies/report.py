"""Markdown tables of what is in the CSV."""

from entropies.samplers import SAMPLERS


def cell(row: dict[str, str] | None, column: str = "entropy") -> str:
    """A number with two digits, with its standard error where it is an entropy; empty if there is none."""
    if row is None or not row[column]:
        return ""
    value = f"{float(row[column]):.2f}"
    return f"{value} ± {float(row['standard_error']):.2f}" if column == "entropy" else value


def names(rows: list[dict[str, str]], *columns: str) -> list[tuple[str, ...]]:
    """Different values of these columns, in order of appearance."""
    return list(dict.fromkeys(tuple(row[column] for column in columns) for row in rows))


def print_table(header: list[str], lines: list[list[str]]) -> None:
    """Print Markdown."""
    for line in [header, ["---"] * len(header), *lines]:
        print(f"| {' | '.join(line)} |")
    print()


def report_gaussian(rows: list[dict[str, str]]) -> None:
    """Every estimate, its error to the target's entropy and to that of the sampler's own particles."""
    print(f"Gaussian, entropy {rows[0]['truth']}\n")
    columns = ("sampler", "estimator")
    lines = [
        [*(row[name] for name in columns), *(cell(row, name) for name in ("entropy", "error", "error_to_own"))] for row in rows
    ]
    print_table([*columns, "entropy", "error to the target's", "error to its own particles'"], lines)


def report_mixtures(rows: list[dict[str, str]]) -> None:
    """Errors of every estimate for all dimensions."""
    print("Mixtures: errors to the target's entropy, and in the last lines what SVGD's maps do\n")
    dimensions = [dim for (dim,) in names(rows, "dim")]
    by_key = {(row["dim"], row["sampler"], row["steps"], row["estimator"]): row for row in rows}
    truths = {row["dim"]: f"{float(row['truth']):.3f} ± {float(row['truth_error']):.3f}" for row in rows}
    lines = [["target", "", "entropy", *(truths[dim] for dim in dimensions)]]
    for sampler, steps, estimator in names(rows, "sampler", "steps", "estimator"):
        cells = [cell(by_key.get((dim, sampler, steps, estimator)), "error") for dim in dimensions]
        lines.append([sampler, steps, estimator, *cells])
    for column in ("share_not_invertible", "largest_step_ratio"):
        for (steps,) in names([row for row in rows if row["sampler"] == "SVGD"], "steps"):
            cells = [cell(by_key[dim, "SVGD", steps, "closed form"], column) for dim in dimensions]
            lines.append(["SVGD", steps, column.replace("_", " "), *cells])
    print_table(["sampler", "steps", "estimate", *(f"d = {dim}" for dim in dimensions)], lines)


def report_settings(rows: list[dict[str, str]], columns: tuple[str, ...], samplers: tuple[str, ...]) -> None:
    """One line for each setting, one column for each estimate."""
    for sampler in samplers:
        chosen = [row for row in rows if row["sampler"] == sampler]
        estimators = [name for (name,) in names(chosen, "estimator")]
        by_key = {(*(row[column] for column in columns), row["estimator"]): row for row in chosen}
        lines = []
        for setting in names(chosen, *columns):
            first = by_key[(*setting, estimators[0])]
            extras = [cell(first, column) for column in ("share_not_invertible", "largest_step_ratio")]
            lines.append([*setting, *(cell(by_key.get((*setting, name))) for name in estimators), *extras])
        print(f"{rows[0]['part']}: {sampler}\n")
        print_table([*columns, *estimators, "share not invertible", "largest step ratio"], lines)


def parts_of(rows: list[dict[str, str]]) -> dict[str, list[dict[str, str]]]:
    """Rows by the first column."""
    return {part: [row for row in rows if row["part"] == part] for (part,) in names(rows, "part")}


def report(rows: list[dict[str, str]]) -> None:
    """Print Markdown tables of what is in the CSV."""
    parts = parts_of(rows)
    report_gaussian(parts["gaussian"])
    report_settings(parts["by step"], ("steps",), tuple(list(SAMPLERS)[:-1]))
    report_mixtures(parts["mixture"])
    if "sensitivity" in parts:
        columns = ("bandwidth", "step_size", "particles", "steps", "start_mean", "start_variance")
        report_settings(parts["sensitivity"], columns, ("SVGD",))
