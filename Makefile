# make run   set up what is missing, then raw logs -> judged agent (autollm run)
# make test  set up what is missing, then the whole test suite
# make campaign  100,000 damaged inputs a file reader, 10,000 a folder reader (hours)
# make dev   Dagster UI and MLflow UI on loopback, with the history of `make run`
# make setup set up what `make run` and `make dev` need
# make docs  the site, into site/
# make wheel the package as it is published, into dist/
# make clean remove the virtual environment (var/, the state folder, stays)
SHELL := /bin/sh
VENV := .venv
TO_RUN := $(VENV)/.ready-run
TO_TEST := $(VENV)/.ready-test
JOBS ?= 2

.PHONY: run test dev clean setup wheel campaign docs

run: $(TO_RUN)
	@AUTOLLM_DIE_WITH_PARENT=1 $(VENV)/bin/autollm run $(ARGS)

test: $(TO_TEST)
	@OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

campaign: $(TO_TEST)
	@OMP_NUM_THREADS=1 $(VENV)/bin/python -m tests.unit.logs.readers.mutations $(ARGS)

dev: $(TO_RUN)
	@$(VENV)/bin/python -m pipelines.dev $(ARGS)

docs: $(TO_TEST)
	@$(VENV)/bin/python scripts/make_reference.py
	@$(VENV)/bin/zensical build --clean --strict

setup: $(TO_RUN)

wheel: $(VENV)/bin/python
	@$(VENV)/bin/python -m pip wheel --disable-pip-version-check -q --no-deps -w dist .

$(TO_RUN): EXTRAS := pipeline,train,lab
$(TO_TEST): EXTRAS := dev

# The stamp is written last: an installation that was cut off is repeated.
$(TO_RUN) $(TO_TEST): pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "make: installing autollm[$(EXTRAS)] into $(VENV), a few minutes" >&2
	@$(VENV)/bin/python -m pip --version >/dev/null 2>&1 || $(VENV)/bin/python -m ensurepip
	@$(VENV)/bin/python -m pip install --disable-pip-version-check --progress-bar off -q -e '.[$(EXTRAS)]' -c constraints.txt
	@touch $@ $(if $(filter dev,$(EXTRAS)),$(TO_RUN))

$(VENV)/bin/python:
	@python=$$(for p in python3.11 python3.12 python3.13 python3; do \
	    command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && { echo $$p; break; }; done); \
	if [ -z "$$python" ]; then echo "make: Python 3.11 or newer is missing. Fix: apt-get install python3 python3-venv" >&2; exit 1; fi; \
	if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then \
	    echo "make: the venv module of $$python is missing. Fix: apt-get install $$(basename $$python)-venv" >&2; exit 1; fi; \
	echo "make: making $(VENV) with $$($$python --version)" >&2; \
	$$python -m venv --clear $(VENV)

clean:
	rm -rf $(VENV) build dist *.egg-info dbt_project/target dbt_project/logs
