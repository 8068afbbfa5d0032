"""The files that take longest come first, so that no process is left with one of them when the others are done."""

LONGEST = (
    "test_zoo.py",
    "test_compare.py",
    "test_docs.py",
    "test_examples.py",
    "test_exact_tabular.py",
    "test_save_load.py",
    "test_sacnf.py",
)


def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))
