# The two commands: make reproduce, make test. Each makes .venv when there is none.
PYTHON ?= python3
BIN := .venv/bin
JOBS ?= $(shell $(PYTHON) -c "import os; print(min(8, len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()))")

.PHONY: help .venv reproduce test lab control notebooks bands lint benchmark clean

help:
	@echo "make reproduce  run every notebook (smoke profile, generated data) and print the verdict table"
	@echo "make test       run the tests"
	@echo "make lab        open JupyterLab on notebooks/ (in a container as root: LAB_OPTIONS=--allow-root)"
	@echo "make .venv      install only"
	@echo "make control    the run that must fail: shuffled labels have to miss their bands"
	@echo "make notebooks  run the notebooks and store their outputs in notebooks/"
	@echo "make bands      measure the metric bands again, over five seeds"
	@echo "make lint       ruff"
	@echo "make benchmark  timings beside other libraries"

.venv: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(0 if sys.version_info >= (3, 11) else 'emlib needs Python 3.11 or newer; this is ' + sys.version.split()[0] + '. Try: make PYTHON=python3.11 $(MAKECMDGOALS)')"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[all]"
	@touch .venv/installed

reproduce: .venv
	$(BIN)/emlib reproduce --profile smoke --fresh

control: .venv
	$(BIN)/emlib reproduce 1_mitochondria_contours 3_neurons_affinities 4_nuclei_maskrcnn 5_cells_flows --profile smoke --fresh --control --out runs/control

test: .venv
	$(BIN)/python -m pytest -n $(JOBS)

lab: .venv
	$(BIN)/jupyter lab --notebook-dir=notebooks $(LAB_OPTIONS)

notebooks: .venv
	$(BIN)/emlib reproduce --profile smoke --fresh --update-notebooks

bands: .venv
	$(BIN)/emlib bands --profile smoke --seeds 0,1,2,3,4

lint: .venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

benchmark: .venv
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf runs .pytest_cache .ruff_cache
