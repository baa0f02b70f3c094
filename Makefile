# Two commands: `make demo` and `make test`. Each does its own set-up.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
FAIRSEQ2 ?= .venv-fairseq2
READY = $(VENV)/ready

.PHONY: setup demo test check unit wheel test-fairseq2 clean

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
	$(BIN)/shellcheck egs/*.sh egs/*/*.sh tests/*.sh .ci/run

# Tests run side by side, each on one thread: on two cores 7 minutes instead of 12.
unit: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --maxprocesses 4

# The editable install hides a file that the wheel lacks; a clean environment does not.
wheel: $(READY)
	PYTHON=$(BIN)/python ./tests/wheel.sh

# fairseq2 pins a torch of its own (7 GB with CUDA), so its classes run in an environment of their own.
test-fairseq2: $(READY) $(FAIRSEQ2)/ready
	FAIRSEQ2_PYTHON=$(FAIRSEQ2)/bin/python $(BIN)/pytest tests/fairseq2

$(FAIRSEQ2)/ready:
	$(PYTHON) -m venv $(FAIRSEQ2)
	$(FAIRSEQ2)/bin/pip install --quiet fairseq2==0.8.1 soundfile
	touch $@

clean:
	rm -rf $(VENV) $(FAIRSEQ2) build dist
