# The chores, one line each; `make` lists them.
PYTHON ?= python3
BIN := .venv/bin
USE := .venv/.use
WORK := .venv/.work
FAST := tests/test_trace.py tests/test_layers.py tests/test_optimizers.py tests/test_init.py

.DEFAULT_GOAL := help
.PHONY: help install demo test test-fast lint docs wheel clean

help:      ## list the chores
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

install: $(WORK)  ## create .venv with pinned versions of all that use, extras and tests need

$(USE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; found = sys.version.split()[0]; \
	    sys.exit(sys.version_info < (3, 11) and "rnnbench needs Python 3.11 or newer, found " \
	    + found + "; make PYTHON=python3.12 names another")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing pinned versions into .venv (the first time takes a minute and downloads PyTorch)"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(WORK): $(USE)
	@echo "installing what its extras and its tests need (120 MB more)"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(USE)  ## train a GRU on copy memory, show the result and its learning curve
	$(BIN)/rnnbench train cell=gru task=copy model.hidden=128 optim.lr=0.01 \
	    train.steps=3000 train.stop_at_target=true study=demo
	$(BIN)/rnnbench curves results/runs/demo
	@echo "TensorBoard: $(BIN)/tensorboard --logdir results/runs/demo/tensorboard"

test: $(WORK)  ## everything that must hold
	$(BIN)/python -m pytest -n auto --dist worksteal

fuzz: $(WORK)  ## ten thousand lines, records, settings and checkpoints, a thousand damages a file
	RNNBENCH_FUZZ=10000 RNNBENCH_DAMAGE=1000 $(BIN)/python -m pytest -n auto \
	    tests/test_fuzz.py tests/test_refusals.py tests/test_damage.py

test-fast: $(WORK)  ## what a change breaks most often, in under a minute
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow" $(FAST)

lint: $(WORK)  ## style and types, of Python, C++ and YAML
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run --Werror rnnbench/engine/native/*.hpp
	$(BIN)/yamllint --strict .

docs: $(WORK)  ## the documentation as a site, in build/site/html: no network, no broken link
	$(BIN)/python scripts/site.py

wheel: $(USE)  ## build a wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:     ## remove what was built; results stay
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
