# make setup   install everything into .venv (does nothing when it is up to date); with LOCKED=1 what requirements.lock
#              says, checked by its hashes, torch aside; with LOCKED=torch torch and its CUDA packages, too
# make lock    resolve the pins anew: requirements*.lock, docs/licences.md
# make doctor  look at everything that the scripts will need; DATASET=NAME for another than RAVDESS
# make demo    speak one sentence in every emotion with the weights that ship: under a minute after installation
# make pipeline  from recordings to speech on a small generated corpus; CORPUS=/path/to/RAVDESS takes real ones
# make test    lint, types, tests; sets up what it needs
# make test-slow  the tests that take minutes
# make bench   what everything costs, one table in output/bench/; BENCH="--only step" takes options of benchmark.py

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORPUS ?=
BENCH ?=
DATASET ?= RAVDESS
LOCKED ?=
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# --no-deps: the lock names all of them
HASHED := $(INSTALL) --require-hashes --no-deps -r requirements.lock $(if $(filter torch,$(LOCKED)),-r requirements-torch.lock)

.PHONY: setup setup-dev lock doctor demo pipeline bench test test-slow lint format clean

setup: $(VENV)/.runtime
setup-dev: $(VENV)/.dev

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' || \
		{ echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1); Python 3.10, 3.11 or 3.12 is needed: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "error: $(PYTHON) cannot make a virtual environment (Debian, Ubuntu: apt install python3-venv)" >&2; exit 2; }

$(VENV)/.runtime: requirements.txt | $(BIN)/python
	$(if $(LOCKED),$(HASHED))
	$(INSTALL) -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements.txt requirements-cluster.txt requirements-eval.txt requirements-eval-weights.txt requirements-dev.txt | $(BIN)/python
	$(if $(LOCKED),$(HASHED) -r requirements-dev.lock)
	$(INSTALL) -r requirements-dev.txt
	$(INSTALL) --no-deps -r requirements-eval-weights.txt
	@touch $(VENV)/.runtime $@

lock: setup-dev
	$(INSTALL) -r requirements-lock.txt
	$(BIN)/python -m preflight.locking
	$(BIN)/python -m preflight.licences

doctor:
	@$$(test -x $(BIN)/python && echo $(BIN)/python || echo $(PYTHON)) doctor.py --dataset $(DATASET)

demo: setup
	@test -z "$(CORPUS)" || { echo "error: CORPUS belongs to make pipeline; make demo speaks with the weights that ship" >&2; exit 2; }
	$(BIN)/python demo.py

pipeline: setup
	$(BIN)/python pipeline.py $(if $(CORPUS),--corpus "$(CORPUS)")

bench: setup
	$(BIN)/python benchmark.py $(BENCH)

test: setup-dev lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --durations=40 --durations-min=5

test-slow: setup-dev
	$(BIN)/python -m pytest -m slow

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
