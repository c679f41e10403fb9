# The commands of this project. `make` alone lists them.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

PORT ?= 5000
export PORT

# make PYTHON=/path/to/python3.12 … chooses another interpreter for new environments.
PYTHON ?=
# make test PYTEST_ARGS="-k login"
PYTEST_ARGS ?=
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
# -qq: one progress line per step says enough; errors are still shown.
PIP_INSTALL := -m pip install -qq --disable-pip-version-check --no-input
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)
STEP = @printf '\n=> %s\n'

.PHONY: help
help: ## list these commands
	@awk 'BEGIN {FS = ":.*## "} \
	  /^## / {printf "\n%s\n", substr($$0, 4)} \
	  /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

## Try it

.PHONY: demo
demo: $(VENV)/.installed ## create a demo instance and serve it (PORT=5000)
	$(STEP) 'starting the demo'
	@# Ctrl-C is how a demo ends, no failure; the trap keeps the shell alive to say so.
	@trap ':' INT; $(BIN)/python -m app.demo || test $$? -eq 130

.PHONY: totp
totp: $(VENV)/.installed ## print the current one-time codes of the demo accounts
	@$(BIN)/python -m app.demo totp

## Test it

.PHONY: test
test: $(VENV)/.installed-test ## the whole suite, on SQLite and then on a real MySQL
	$(STEP) 'a real Chromium'
	@$(BIN)/python -m tests.support.chromium ensure
	$(STEP) 'a real OpenID provider'
	@$(BIN)/python -m tests.support.oidc_peer ensure
	$(STEP) 'the suite on SQLite'
	@IAM_TEST_DATABASE=sqlite $(PYTEST)
	$(STEP) 'the suite on MySQL'
	@IAM_TEST_DATABASE=mysql $(BIN)/python -m tests.support.mysql_server run -- $(PYTEST)

.PHONY: test-fast
test-fast: $(VENV)/.installed-test ## SQLite only, neither browser nor slow tests
	$(STEP) 'the fast suite on SQLite'
	@IAM_TEST_DATABASE=sqlite $(PYTEST) -m 'not browser and not slow'

.PHONY: lint
lint: $(VENV)/.installed-test ## ruff and djlint; changes nothing
	$(STEP) 'ruff'
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	$(STEP) 'djlint'
	@$(BIN)/djlint app --lint --quiet

.PHONY: types
types: $(VENV)/.installed-test ## mypy, strict
	$(STEP) 'mypy'
	@$(BIN)/mypy

.PHONY: audit-deps
audit-deps: $(VENV)/.installed-test ## known vulnerabilities of the pinned dependencies
	$(STEP) 'pip-audit'
	@# --strict: a dependency that nobody could look up is not a dependency without faults.
	@$(BIN)/pip-audit --strict --requirement requirements.txt --no-deps --disable-pip --progress-spinner off

.PHONY: bench
bench: .venv-bench/.installed ## speed, as ratios against the raw primitives and a peer
	$(STEP) 'benchmarks'
	@.venv-bench/bin/python -m tests.bench

## Change it

.PHONY: format
format: $(VENV)/.installed-test ## rewrite the code in the project's format
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

.PHONY: generate
generate: $(VENV)/.installed ## rewrite the files generated from the code
	$(STEP) 'generated files'
	@env IAM_ENV=development FLASK_SECRET_KEY=generate $(BIN)/python -m flask --app wsgi iam generate

.PHONY: translations
translations: $(VENV)/.installed ## take new texts into the catalogues, and compile them
	$(STEP) 'catalogues'
	@mkdir -p build
	@$(BIN)/pybabel -q extract -F babel.cfg $(MARKED_BY) --no-location -o build/iam.pot .
	@# A changed text is a new one: no guesses. What is gone from the code goes from here, too.
	@$(BIN)/pybabel -q update -i build/iam.pot -d $(CATALOGUES) -D iam \
	  --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date --no-wrap
	@$(BIN)/pybabel compile -d $(CATALOGUES) -D iam --statistics
	@$(BIN)/python -m tests.support.catalogues

CATALOGUES := app/auth/translations
# Beside _() and N_(): calls that declare a text which pages show through _() later.
MARKED_BY := -k _l -k lazy -k N_ -k _declare:3 -k Permission:2 -k SystemRole:2 -k Purpose:2

.PHONY: lock
lock: .venv-lock/.installed ## pin pyproject.toml in requirements*.txt (UPGRADE=1 takes newer ones)
	$(STEP) 'requirements.txt'
	@$(COMPILE) --output-file requirements.txt pyproject.toml
	$(STEP) 'requirements-test.txt'
	@$(COMPILE) --extra test --extra redis --constraint requirements.txt \
	  --output-file requirements-test.txt pyproject.toml
	$(STEP) 'requirements-bench.txt'
	@$(COMPILE) --extra bench --constraint requirements.txt \
	  --output-file requirements-bench.txt pyproject.toml

# No index and no find-links lines: they would name the machine the lock was made on.
COMPILE = CUSTOM_COMPILE_COMMAND='make lock' .venv-lock/bin/pip-compile --quiet \
  --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
  $(if $(UPGRADE),--upgrade)

.PHONY: wheel
wheel: $(VENV)/.installed-test ## build dist/*.whl, which installs the package as `iam`
	$(STEP) 'wheel'
	@$(BIN)/python -m build --wheel --no-isolation --outdir dist . > /dev/null
	@ls dist/*.whl

.PHONY: clean
clean: ## remove environments, caches and built files; keeps instance/
	rm -rf $(VENV) .venv-bench .venv-lock dist build
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find app db tests -name __pycache__ -type d -prune -exec rm -rf {} + 2> /dev/null || true

# ---------------------------------------------------------------- environments
# Each stamp is newer than the pins it was installed from; it is touched last, so that an
# interrupted installation runs again.

$(VENV)/.installed: requirements.txt
	$(STEP) 'installing the pinned requirements (once)'
	@$(call create_venv,$(VENV))
	@$(BIN)/python $(PIP_INSTALL) -r requirements.txt
	@touch $@

$(VENV)/.installed-test: requirements.txt requirements-test.txt
	$(STEP) 'installing the pinned test requirements (once)'
	@$(call create_venv,$(VENV))
	@$(BIN)/python $(PIP_INSTALL) -r requirements.txt -r requirements-test.txt
	@touch $(VENV)/.installed $@

.venv-bench/.installed: requirements.txt requirements-bench.txt
	$(STEP) 'installing the pinned benchmark requirements (once)'
	@$(call create_venv,.venv-bench)
	@.venv-bench/bin/python $(PIP_INSTALL) -r requirements.txt -r requirements-bench.txt
	@touch $@

.venv-lock/.installed:
	$(STEP) 'installing pip-tools (once)'
	@$(call create_venv,.venv-lock)
	@.venv-lock/bin/python $(PIP_INSTALL) 'pip-tools>=7.5'
	@touch $@

# The first interpreter that runs, is new enough and can create environments. Debian packs
# that last part separately, which deserves a better message than a traceback.
define create_venv
test -x $(1)/bin/python || { \
  found=''; bare=''; \
  for candidate in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
    "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || continue; \
    "$$candidate" -c 'import venv, ensurepip' 2> /dev/null || { bare="$$candidate"; continue; }; \
    found="$$candidate"; break; \
  done; \
  if test -z "$$found"; then \
    if test -n "$$bare"; then \
      echo "$$bare cannot create virtual environments; on Debian: apt-get install python3-venv" >&2; \
    else \
      echo 'Python 3.11 or newer is needed; name it with: make PYTHON=/path/to/python3 ...' >&2; \
    fi; \
    exit 1; \
  fi; \
  "$$found" -m venv $(1); \
}
endef
