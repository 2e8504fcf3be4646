# Everything a contributor runs. Each target makes and fills the virtual environment by itself.

VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check
UV := uv==0.13.8
RLLTE := rllte-core==1.0.1
RLLTE_STAMP := .venv-rllte/.installed
SB3_STAMP := .venv-sb3/.installed
RLAX_STAMP := .venv-rlax/.installed
MUTATION_STAMP := .venv-mutation/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install owner demo test test-slow test-ci test-sb3 test-rlax mutation lint format types \
  layers check docs site bench bench-bonuses bench-control bench-partial lock clean

help:  ## list the targets
	@echo "explorax: make <target>"
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  \1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
	  awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

# The first interpreter that is new enough, not too new, can make environments, and runs at all:
# a shim of pyenv may stand in the PATH for a version that is not installed. 3.12 and 3.11 come first,
# since dm_control has no wheels for newer ones.
PYTHONS := $(or $(PYTHON),python3.12 python3.11 python3.13 python3.14 python3 python)
SUITABLE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 15))
define FIND_PYTHON
found=; \
for python in $(PYTHONS); do \
  if "$$python" -c '$(SUITABLE)' >/dev/null 2>&1; then found="$$python"; break; fi; \
done; \
if [ -z "$$found" ]; then \
  echo "explorax needs Python 3.11, 3.12, 3.13 or 3.14 with the venv module, and none of these is" \
    "one that runs: $(PYTHONS). Install one (on Debian also python3-venv)," \
    "or name it: make PYTHON=/path/to/python3.13 ..." >&2; \
  exit 1; \
fi
endef

# An environment holds an editable install of one checkout. VENV may name another checkout's, whose
# commands would then run this source without a word.
define CHECK_OWNER
import importlib.metadata, json, os, sys, urllib.parse
try:
    text = importlib.metadata.distribution("explorax").read_text("direct_url.json") or "{}"
except importlib.metadata.PackageNotFoundError:
    sys.exit()
owner = urllib.parse.unquote(urllib.parse.urlsplit(json.loads(text).get("url", "")).path)
if owner and os.path.realpath(owner) != os.path.realpath("."):
    sys.exit(
        f"make: VENV=$(VENV) has explorax installed from {owner}, another checkout, and is left as it "
        "is. Give another VENV, or delete that environment."
    )
endef
export CHECK_OWNER

owner:
	@if $(BIN)/python -c '' >/dev/null 2>&1; then $(BIN)/python -c "$$CHECK_OWNER"; fi

$(STAMP): requirements-dev.txt pyproject.toml src/explorax/_version.py | owner
	@if ! $(BIN)/python -c '$(SUITABLE)' >/dev/null 2>&1 || \
	    ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  $(FIND_PYTHON); \
	  echo "Making $(VENV) with $$("$$found" --version)."; \
	  "$$found" -m venv --clear $(VENV) || exit 1; \
	fi
	@echo "Installing requirements-dev.txt into $(VENV), one to three minutes ..."
	@$(PIP) --only-binary :all: --require-hashes --requirement requirements-dev.txt
	@$(PIP) --no-build-isolation --no-deps --no-index --editable .
	@touch $@
	@echo "Installed."

install: $(STAMP)  ## make .venv from the hash-locked requirements

demo: $(STAMP)  ## compare agents with and without VIME on mountain car, and name the report
	@start=$$(date +%s); \
	$(BIN)/explorax compare --preset demo $(DEMO_ARGS) && \
	echo "make demo took $$(( $$(date +%s) - start )) s after the install."

test: $(STAMP)  ## run the tests but for the slow ones
	$(BIN)/python -m pytest -n $(WORKERS) $(TEST_ARGS)

test-slow: $(STAMP)  ## run the learning tests, minutes each
	$(BIN)/python -m pytest -n $(WORKERS) -m slow $(TEST_ARGS)

test-ci: $(STAMP)  ## the few of them that .ci/run runs
	$(BIN)/python -m pytest -n $(WORKERS) -m "slow and ci" $(TEST_ARGS)

lint: $(STAMP)  ## ruff: rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)  ## basedpyright, standard mode
	$(BIN)/basedpyright --pythonpath $(BIN)/python

layers: $(STAMP)  ## import-linter: who may import whom
	$(BIN)/lint-imports

check: lint types layers test  ## all four of the above, before a change is handed in

docs: $(STAMP)  ## write the tables of settings on the pages of docs/ from the source
	$(BIN)/python docs/settings_tables.py

site: $(STAMP)  ## build the site of docs/ into site/, warnings as errors
	$(BIN)/python -m sphinx --builder html --quiet --fail-on-warning --keep-going -c docs . site
	$(BIN)/python docs/api_pages.py site/objects.inv

bench: $(STAMP)  ## measure speed; the tables are under benchmarks/
	@set -e; for script in gain training startup; do echo "== $$script"; $(BIN)/python benchmarks/$$script.py; done

$(RLLTE_STAMP): benchmarks/requirements-rllte.txt | $(STAMP)
	@echo "Installing $(RLLTE) and PyTorch into .venv-rllte, minutes ..."
	@$(BIN)/python -m venv --clear .venv-rllte
	@.venv-rllte/bin/python -m pip install --quiet --requirement benchmarks/requirements-rllte.txt
	@.venv-rllte/bin/python -m pip install --quiet --no-deps $(RLLTE)
	@touch $@

bench-bonuses: $(RLLTE_STAMP)  ## measure what each bonus costs, beside rllte-core, which this installs
	$(BIN)/python benchmarks/bonus_cost.py

SB3_PIP := .venv-sb3/bin/python -m pip install --quiet --disable-pip-version-check
$(SB3_STAMP): benchmarks/requirements-sb3.txt requirements.txt pyproject.toml | $(STAMP)
	@echo "Installing Stable-Baselines3, PyTorch and explorax into .venv-sb3, minutes ..."
	@$(BIN)/python -m venv --clear .venv-sb3
	@$(SB3_PIP) --only-binary :all: --require-hashes --requirement requirements.txt
	@$(SB3_PIP) --requirement benchmarks/requirements-sb3.txt
	@$(SB3_PIP) --no-build-isolation --no-deps --no-index --editable .
	@touch $@

test-sb3: $(SB3_STAMP)  ## the adapters in trainers of others, which this installs, and the examples of it
	.venv-sb3/bin/python -m pytest tests_sb3 $(TEST_ARGS)

RLAX_PIP := .venv-rlax/bin/python -m pip install --quiet --disable-pip-version-check
$(RLAX_STAMP): benchmarks/requirements-rlax.txt requirements.txt pyproject.toml | $(STAMP)
	@echo "Installing rlax and explorax into .venv-rlax, a minute ..."
	@$(BIN)/python -m venv --clear .venv-rlax
	@$(RLAX_PIP) --only-binary :all: --require-hashes --requirement requirements.txt
	@$(RLAX_PIP) --requirement benchmarks/requirements-rlax.txt
	@$(RLAX_PIP) --no-build-isolation --no-deps --no-index --editable .
	@touch $@

test-rlax: $(RLAX_STAMP)  ## returns, Retrace and MPO against those of rlax, which this installs
	.venv-rlax/bin/python -m pytest tests_rlax $(TEST_ARGS)

$(MUTATION_STAMP): benchmarks/requirements-mutation.txt | $(STAMP)
	@$(BIN)/python -m venv --clear .venv-mutation
	@.venv-mutation/bin/python -m pip install --quiet --requirement benchmarks/requirements-mutation.txt
	@touch $@

mutation: $(MUTATION_STAMP)  ## mutants of what trains: which do the tests notice? An hour or two
	.venv-mutation/bin/python benchmarks/mutation.py --python $(BIN)/python $(MUTATION_ARGS)

bench-partial: $(SB3_STAMP)  ## measure env steps/s with a memory and of PPO, beside Stable-Baselines3, which this installs
	$(BIN)/python benchmarks/partial_speed.py

bench-control: $(SB3_STAMP)  ## measure env steps/s of control, beside SAC of Stable-Baselines3, which this installs
	$(BIN)/python benchmarks/control_speed.py

lock:  ## compile the requirements anew; newer versions: make lock UPGRADE=--upgrade
	@$(FIND_PYTHON); \
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	"$$found" -m venv "$$folder" && "$$folder/bin/python" -m pip install --quiet $(UV) && \
	compile="$$folder/bin/uv pip compile pyproject.toml --quiet --universal --generate-hashes \
	  --no-header --no-annotate $(UPGRADE)" && \
	$$compile --group dev --output-file requirements-dev.txt && \
	$$compile --group build --constraint requirements-dev.txt --output-file requirements.txt

clean:  ## remove the environments and every cache
	rm -rf .venv .venv-* .pytest_cache .ruff_cache .import_linter_cache dist site docs/api
	find src tests tests_sb3 tests_rlax benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
