# make run   set up what is missing, then raw logs -> judged agent (autollm run)
# make test  set up what is missing, then the whole test suite
# make campaign  100,000 damaged inputs a file reader, 10,000 a folder reader (hours)
# make dev   Dagster UI and MLflow UI on loopback, with the history of `make run`
# make clean remove the virtual environment (var/, the state folder, stays)
SHELL := /bin/sh
VENV := .venv
READY := $(VENV)/.ready
JOBS ?= 2

.PHONY: run test dev clean setup campaign

run: $(READY)
	@AUTOLLM_DIE_WITH_PARENT=1 $(VENV)/bin/autollm run $(ARGS)

test: $(READY)
	@OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

campaign: $(READY)
	@OMP_NUM_THREADS=1 $(VENV)/bin/python -m tests.unit.logs.readers.mutations $(ARGS)

dev: $(READY)
	@$(VENV)/bin/python -m pipelines.dev $(ARGS)

setup: $(READY)

# The stamp is written last: an installation that was cut off is repeated.
$(READY): pyproject.toml constraints.txt
	@python=$$(for p in python3.11 python3.12 python3.13 python3; do \
	    command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && { echo $$p; break; }; done); \
	if [ -z "$$python" ]; then echo "make: Python 3.11 or newer is missing. Fix: apt-get install python3 python3-venv" >&2; exit 1; fi; \
	if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then \
	    echo "make: the venv module of $$python is missing. Fix: apt-get install $$(basename $$python)-venv" >&2; exit 1; fi; \
	echo "make: setting up $(VENV) with $$($$python --version), a few minutes and about 2 GB of packages" >&2; \
	[ -x $(VENV)/bin/python ] && $(VENV)/bin/python -c '' 2>/dev/null || $$python -m venv --clear $(VENV)
	@$(VENV)/bin/python -m pip install --disable-pip-version-check --progress-bar off -q -e '.[dev]' -c constraints.txt
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info dbt_project/target dbt_project/logs
