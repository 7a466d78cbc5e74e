# `make` lists the targets. Variables: PY (the Python to build with), VENV (where to), JOBS (runs at a time), ARGS (more for jupyter or pytest).
PY ?= python3
VENV ?= .venv
OLDEST ?= .venv-oldest
JOBS ?= 2
SEED ?= 0
DATA ?= glyphs-lt
SIZE ?= full
METHODS = supervised "supervised(augment=strong)" fixmatch usadtm fixmatch+la fixmatch+daso fixmatch+debiaspl
# Whole files of every area that train little and start few processes; docs/testing.md has the rule.
FAST = tests/test_methods.py tests/test_compositions.py tests/schemes tests/learners tests/nets tests/test_metrics.py tests/test_numbers.py \
	tests/runs/test_recorder.py tests/runs/test_run.py tests/interop/test_exchange.py tests/data/test_dataset.py tests/data/test_longtail.py \
	tests/data/test_files.py tests/data/test_sources.py tests/analysis/test_whatif.py tests/training/test_train.py tests/test_cli.py
DEMO = notebooks/01_scrub_through_training.py
PAGE = site/01_scrub_through_training.html

BIN = $(VENV)/bin
READY = $(VENV)/.ready
HALF = $(VENV)/.half-made
LAB_SETTINGS = $(VENV)/share/jupyter/lab/settings/overrides.json

.DEFAULT_GOAL := help
.PHONY: help setup demo gallery lab test fast fast-list coverage test-oldest soak guard lint site bench constraints clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | while IFS='|' read -r name text; do printf '%-18s%s\n' "$$name" "$$text"; done

setup: $(READY) ## create .venv with everything in it (uv is used if it is on PATH; nothing happens if nothing changed)

# An environment is half-made until its first installation has ended; an interrupted one is made anew.
$(READY): pyproject.toml constraints.txt
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11, 5))' || { \
		echo "pldebias needs Python >= 3.11.5, but '$(PY)' is: $$($(PY) --version 2>&1 || true)" >&2; \
		echo "Name a newer one, e.g.: make setup PY=python3.12" >&2; exit 1; }
	@if [ -e $(HALF) ]; then echo "The last setup was interrupted; $(VENV) is made anew."; rm -rf $(VENV); fi
	@if [ -e $(BIN)/python ]; then echo "Updating $(VENV) ..."; \
	else echo "Setting up $(VENV): about 6 GB on Linux, most of it PyTorch with CUDA; minutes with pip ..."; mkdir -p $(VENV) && touch $(HALF); fi; \
	if command -v uv >/dev/null 2>&1; then \
		{ [ -e $(BIN)/python ] || uv venv -q --allow-existing --python $(PY) $(VENV); } && \
		uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[dev]'; \
	else \
		{ [ -e $(BIN)/pip ] || $(PY) -m venv $(VENV); } && \
		$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'; \
	fi
	@rm -f $(HALF) && touch $@

demo: $(READY) ## train seven methods on a small long-tailed set (minutes on a CPU), then write the explorer as a page
	$(BIN)/pldebias train $(METHODS) --data $(DATA) --seed $(SEED) --jobs $(JOBS)
	$(BIN)/pldebias runs
	$(BIN)/python -m pldebias.widgets.static $(DEMO) -o $(PAGE)
	@echo
	@echo "Runs:     runs/$(DATA)/  (Zarr groups: pldebias.open_run, or xarray.open_zarr)"
	@echo "Page:     $(PAGE)  (open it in a browser; it needs no network and no Python)"
	@echo "Notebook: make lab, then notebooks/01_scrub_through_training"

gallery: $(READY) ## train the papers' CIFAR-10-LT rows on a GPU (hours; resumable), SIZE=small on a CPU; table and runs go to data/gallery
	$(BIN)/python -m benchmarks.gallery --size $(SIZE) $(ARGS)

lab: $(READY) $(LAB_SETTINGS) ## open the notebooks in JupyterLab (this machine only, with a token)
	$(BIN)/jupyter lab --ip=127.0.0.1 --ServerApp.root_dir=$(CURDIR) --LabApp.default_url=/lab/tree/notebooks $(ARGS)

$(LAB_SETTINGS): $(READY)
	@mkdir -p $(@D)
	@echo '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}' > $@

test: $(READY) ## run the tests (minutes); those that open a browser are skipped without Chromium
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

fast: $(READY) ## run the part of the tests that covers every area in a minute or two
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(FAST) $(ARGS)

fast-list:
	@echo $(FAST)

coverage: $(READY) ## run `make fast` and print which share of the package's lines it runs
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --cov --cov-report=term:skip-covered $(FAST) $(ARGS)

test-oldest: ## run the tests on the oldest versions that pyproject.toml allows (Python 3.11 or 3.12; another 6 GB)
	@[ -e $(OLDEST)/bin/python ] || $(PY) -m venv $(OLDEST)
	@uv=$$(command -v uv) || { $(OLDEST)/bin/python -m pip install -q uv && uv=$(OLDEST)/bin/uv; }; \
	$$uv pip install -q --python $(OLDEST)/bin/python --resolution lowest-direct --upgrade -r pyproject.toml --extra test && \
	$$uv pip install -q --python $(OLDEST)/bin/python --no-deps -e .
	$(OLDEST)/bin/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

soak: $(READY) ## kills, fuzzing, load and metrics at full size, with cases never tried before (hours)
	PLDEBIAS_SOAK=1 $(BIN)/python -m pytest -s tests/fuzz tests/runs/test_load.py tests/test_metric_references.py tests/training/test_real_data.py $(ARGS)

guard: $(READY) ## fail if a step, the data pipeline or the EMA is not as many times faster than the usual loop as promised (minutes)
	$(BIN)/python -m benchmarks.speed --at-least "step=2" "data pipeline=10" "EMA update=5" $(ARGS)

lint: $(READY) ## check style, layout and types, those of the JavaScript where Node.js is
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/basedpyright --pythonpath $(BIN)/python --project .ci/strict.json
	@if command -v npm >/dev/null; then cd tests/js && npm install --silent && npm run --silent check; \
	else echo "The types of the views' JavaScript are not checked: npm is not on PATH (Debian: nodejs, npm)." >&2; [ -z "$$CI" ]; fi

site: $(READY) ## build the documentation with its live pages into site/ (a minute; site/index.html)
	$(BIN)/python -m sphinx -W --keep-going -q -j $(JOBS) -b html -c docs . site

bench: $(READY) ## measure speed (minutes; prints tables)
	$(BIN)/python -m benchmarks

constraints: ## resolve all versions anew (maintainers; needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11.5 --no-header --no-annotate --no-emit-package pldebias \
		--no-emit-index-url --no-emit-find-links --upgrade -q -o constraints.txt

clean: ## remove builds, caches and pages; runs, data and .venv stay
	rm -rf .coverage* build dist site *.egg-info .pytest_cache .ruff_cache .hypothesis
	find pldebias tests benchmarks notebooks -name __pycache__ -type d -prune -exec rm -rf {} +
