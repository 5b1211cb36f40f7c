# Two commands: `make run` and `make test`. Everything is kept in .venv and .cache, and `make clean` removes both.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find awfproxy twisted -name '*.py' -o -name py.typed) setup.cfg pyproject.toml
KEYS := (OPENAI|ANTHROPIC|GEMINI|GOOGLE|COPILOT_PROVIDER)_API_KEY|COPILOT_GITHUB_TOKEN
KEYS := $(KEYS)|AWFPROXY_([A-Z]+_)?KEY_FILE|AWFPROXY_CONFIG|AWFPROXY_PROFILE
ARGS ?=
TESTS ?= tests/unit tests/memory tests/guard tests/e2e
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test test-latest check bench clean tools

help: ## this text
	@sed -n 's/^\([a-z-]*\):.*## /make \1	/p' $(MAKEFILE_LIST) | expand -t 18
	@echo
	@echo 'make run ARGS="--port 10000 --egress-proxy http://127.0.0.1:3128"'
	@echo 'make test TESTS=tests/e2e/test_squid.py PYTEST_ARGS="-x -k denied"'

run: $(VENV)/.installed ## start awfproxy in the foreground; with no key source set at all, its demo
	@set -- $(ARGS); \
	if ! env | grep -qE '^($(KEYS))=' && ! ls "$${CREDENTIALS_DIRECTORY:-/nonexistent}" 2>/dev/null | \
	    grep -qE '_api_key$$|_token$$' \
	    && case " $$* " in *key-file*|*" --config"*|*" --profile"*) false;; esac; \
	then exec $(BIN)/awfproxy demo "$$@"; \
	else exec $(BIN)/twistd -n --pidfile= awfproxy "$$@"; fi
# The exit code: make itself ends with 2 whenever a recipe fails. The code of awfproxy (78, 77, …) is in make's
# own last line, "Error 78", right below the line in which awfproxy names the cause and the fix.

test: $(VENV)/.installed-test tools ## install what the tests need, then run them all
	@$(BIN)/python -m pytest $(PYTEST_ARGS) $(TESTS)

test-latest: $(VENV)/.installed-test tools ## the tests of the real clients with their newest versions (not part of CI)
	@tests/install-tools latest
	@AWFPROXY_TEST_CLIENTS=.cache/clients-latest AWFPROXY_TEST_SDKS=.cache/sdks-latest \
	    $(BIN)/python -m pytest $(PYTEST_ARGS) tests/e2e/test_codex.py tests/e2e/clients

check: $(VENV)/.installed-test ## lint, types, unit and in-memory tests
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q $(PYTEST_ARGS) tests/unit tests/memory

bench: ## compare with Envoy, about three minutes (not part of the tests); ARGS=--quick for a look
	@$(PYTHON) -m bench $(ARGS)

tools:
	@tests/install-tools

clean: ## remove what the other commands made
	rm -rf $(VENV) .cache build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find awfproxy tests twisted \( -name __pycache__ -o -name dropin.cache \) -prune -exec rm -rf {} +

# Not an editable install: Twisted looks for plugins in the folders of sys.path only, and would not find ours.
# A build/ left over from before would put modules into the wheel that are gone from the sources.
$(VENV)/.installed: $(SOURCES)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'installing awfproxy into $(VENV)' >&2
	@rm -rf build *.egg-info
	@$(BIN)/pip install -qq --disable-pip-version-check .
	@rm -rf build *.egg-info
	@$(BIN)/twistd --help > /dev/null
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo 'installing what the tests import' >&2
	@rm -rf build *.egg-info
	@$(BIN)/pip install -qq --disable-pip-version-check '.[test]'
	@rm -rf build *.egg-info
	@touch $@
