"""The tables of the documentation are what benchmarks/results.py makes of the CSV files."""

import shutil
from pathlib import Path

import pytest
import result_tables.common
import results

ROOT = Path(__file__).parent.parent


@pytest.fixture
def copies(tmp_path, monkeypatch):
    """The script on copies of two pages and of the data, which a test may change."""
    for name in ("guide/temperature.md", "guide/choosing.md"):
        (tmp_path / "docs" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "docs" / name, tmp_path / "docs" / name)
    shutil.copytree(ROOT / "benchmarks" / "data", tmp_path / "data")
    monkeypatch.setattr(results, "DOCS", tmp_path / "docs")
    monkeypatch.setattr(result_tables.common, "DATA", tmp_path / "data")
    return results


def test_pages_hold_what_was_measured(capsys):
    code = results.main(["--check"])
    assert code == 0, f"{capsys.readouterr().out}Run `make results`."


def test_every_table_is_on_a_page():
    pages = "".join(path.read_text() for path in (ROOT / "docs").rglob("*.md"))
    assert {name for name, _ in results.MARKED.findall(pages)} == set(results.TABLES)


def test_a_changed_figure_is_found(copies, tmp_path, capsys):
    page = tmp_path / "docs" / "guide" / "temperature.md"
    text = page.read_text()
    assert text.count("24320") == 1
    page.write_text(text.replace("24320", "24321"))
    assert copies.main(["--check"]) == 1
    assert capsys.readouterr().out == "docs/guide/temperature.md: temperature_target_entropy differs from its CSV file\n"
    assert "24321" in page.read_text(), "a check writes nothing"
    assert copies.main([]) == 0
    assert page.read_text() == text


def test_a_changed_measurement_is_found(copies, tmp_path, capsys):
    file = tmp_path / "data" / "target_entropy.csv"
    text = file.read_text()
    assert "24320" in text or "2.432e+04" in text
    file.write_text(text.replace("24320", "11111").replace("2.432e+04", "11111"))
    assert copies.main(["--check"]) == 1
    assert "temperature.md: temperature_target_entropy" in capsys.readouterr().out
    assert copies.main([]) == 0
    assert "11111" in (tmp_path / "docs" / "guide" / "temperature.md").read_text()


def test_an_average_of_nothing_is_refused(copies):
    with pytest.raises(ValueError, match=r"sql\.csv has no row with {'env': 'Pendulum-v2', 'algo': 'sql'}"):
        result_tables.common.final_returns("sql", "Pendulum-v2", "sql")


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            "<!-- results: speeed -->\n<!-- end -->",
            "guide/temperature.md: there is no table 'speeed'; there are bandit_course, bandit_widths, ",
        ),
        ("<!-- results: speed_learn -->\n", "guide/temperature.md: a block of results has no end"),
        ("<!-- results: speed_learn --> <!-- end -->", "guide/temperature.md: a block of results has no end, or"),
    ],
)
def test_a_wrong_mark_is_refused(copies, tmp_path, block, message):
    (tmp_path / "docs" / "guide" / "temperature.md").write_text(block)
    with pytest.raises(ValueError) as error:
        copies.main([])
    assert str(error.value).startswith(message)
