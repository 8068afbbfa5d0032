# Each target works on a fresh machine with Python >= 3.10 and make, and again when .venv is there.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-slow check format doc results clean

demo: .venv/installed
	$(BIN)/python examples/demo.py

test: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test-slow: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m slow

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/black --check .
	$(BIN)/mypy

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/black .

doc: .venv/installed
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

# The tables of the documentation, from the CSV files of benchmarks/data
results: .venv/installed
	$(BIN)/python benchmarks/results.py

.venv/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 10), "Python >= 3.10 is needed: make PYTHON=python3.x"'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[zoo,compare,flows,box2d,mujoco,minatar,atari,docs,test]'
	touch $@

clean:
	rm -rf .venv build dist demo docs/_build *.egg-info
