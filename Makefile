# Two commands: `make demo` and `make test`. Each does its own set-up.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/ready

.PHONY: setup demo test check unit wheel clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade --constraint constraints.txt pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable . --group dev
	$(BIN)/python -m asr.decode
	touch $(READY)

demo: $(READY)
	$(BIN)/python egs/mini/local/demo.py

test: $(READY) check unit wheel

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/shellcheck $$(git ls-files '*.sh' .ci/run)

unit: $(READY)
	$(BIN)/pytest

# The editable install hides a file that the wheel lacks; a clean environment does not.
wheel: $(READY)
	PYTHON=$(BIN)/python ./tests/wheel.sh

clean:
	rm -rf $(VENV) build dist
