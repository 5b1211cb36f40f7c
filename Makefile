# Two commands: `make run` and `make test`. Everything is kept in .venv and .cache, and `make clean` removes both.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find awfproxy twisted -name '*.py' -o -name py.typed) setup.py setup.cfg pyproject.toml
KEYS := (OPENAI|ANTHROPIC|GEMINI|GOOGLE|COPILOT_PROVIDER)_API_KEY|COPILOT_GITHUB_TOKEN
KEYS := $(KEYS)|AWFPROXY_([A-Z]+_)?KEY_FILE|AWFPROXY_CONFIG|AWFPROXY_PROFILE
ARGS ?=
# Nothing: all of them. tests/run-all has the list.
TESTS ?=
PYTEST_ARGS ?=
SECONDS ?= 60

# The tests of the installed awfproxy, whose data path is compiled; `pytest` alone tests the tree's, plain Python.
INSTALLED := $(BIN)/python -P -m pytest -o pythonpath=

.DEFAULT_GOAL := help
.PHONY: help run test test-latest check fuzz bench bench-quick soak lock audit sbom clean tools

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
ifeq ($(origin TESTS),file)
	@$(BIN)/python tests/run-all $(PYTEST_ARGS)
else
	@$(if $(filter tests/deploy%,$(TESTS)),(tests/build-image > /dev/null 2>&1 &)) # meanwhile; its tests wait for it
	@$(INSTALLED) $(PYTEST_ARGS) $(TESTS)
endif

test-latest: $(VENV)/.installed-test tools ## the tests of the real clients with their newest versions (not part of CI)
	@tests/install-tools latest
	@AWFPROXY_TEST_CLIENTS=.cache/clients-latest AWFPROXY_TEST_SDKS=.cache/sdks-latest \
	    $(INSTALLED) $(PYTEST_ARGS) tests/e2e/test_codex.py tests/e2e/clients

check: $(VENV)/.installed-test ## lint, types, unit and in-memory tests
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q $(PYTEST_ARGS) tests/unit tests/memory

# The tree's plain Python: atheris sees bytecode, and nothing of compiled modules.
fuzz: $(VENV)/.installed-test ## fuzz all that reads a peer's bytes, SECONDS=60 each; `make test` has a short run
	@for target in $$($(BIN)/python -m fuzz); do \
	    mkdir -p .cache/fuzz/$$target && echo "$$target" >&2 && \
	    $(BIN)/python -m fuzz $$target -max_total_time=$(SECONDS) -timeout=10 -max_len=4096 -verbosity=0 \
	        -artifact_prefix=.cache/fuzz/ .cache/fuzz/$$target fuzz/corpus/$$target || exit 1; \
	done

bench: ## compare with Envoy and LiteLLM, some minutes (not part of the tests); ARGS="--cases sse" for a part
	@$(PYTHON) -m bench $(ARGS)

bench-quick: ## the same in a minute, one round of each case
	@$(PYTHON) -m bench --quick $(ARGS)

soak: $(VENV)/.installed-test tools ## a million requests and 100,000 streams that break off, about ten minutes (not part of the tests)
	@$(BIN)/python -P tests/soak/__main__.py $(ARGS)

# What the image installs, with all that it leads to, each file by its hash; for the oldest Python that is supported.
LOCK := $(BIN)/pip-compile -q --upgrade --generate-hashes --strip-extras --allow-unsafe --no-header \
    --annotation-style=line --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options

lock: $(VENV)/.installed-test ## write deploy/*.lock anew, with the newest versions
	@$(LOCK) -o deploy/runtime.lock setup.cfg
	@$(LOCK) --build-deps-for=wheel --only-build-deps -o deploy/build.lock pyproject.toml

audit: $(VENV)/.installed-test ## look up known vulnerabilities of what the image has; one not looked up is a failure
	@$(BIN)/pip-audit -r deploy/runtime.lock --no-deps --disable-pip --require-hashes --progress-spinner off -f json | \
	    $(PYTHON) deploy/audit.py deploy/runtime.lock

sbom: $(VENV)/.installed-test ## write dist/awfproxy.cdx.json, which lists what the image has (CycloneDX)
	@mkdir -p dist
	@$(BIN)/cyclonedx-py requirements --validate --output-reproducible --of JSON deploy/runtime.lock -o dist/awfproxy.cdx.json

tools:
	@tests/install-tools

clean: ## remove what the other commands made
	rm -rf $(VENV) .cache build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find awfproxy fuzz tests twisted \( -name __pycache__ -o -name dropin.cache \) -prune -exec rm -rf {} +

# Not an editable install: Twisted looks for plugins in the folders of sys.path only, and would not find ours.
# One wheel for both, since compiling takes its time. A build/ left over from before would put modules into it
# that are gone from the sources.
PIP := $(BIN)/pip --disable-pip-version-check -qq

$(VENV)/.installed: $(SOURCES)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'installing awfproxy into $(VENV): half a minute where its data path can be compiled' >&2
	@rm -rf build *.egg-info .cache/wheel
	@$(PIP) wheel --no-deps -w .cache/wheel .
	@rm -rf build *.egg-info
	@$(PIP) install --force-reinstall --no-deps .cache/wheel/*.whl
	@$(PIP) install .cache/wheel/*.whl
	@$(BIN)/twistd --help > /dev/null
	@ls $(VENV)/lib/python*/site-packages/awfproxy/wire/parser.*.so > /dev/null 2>&1 || \
	    echo 'awfproxy is plain Python here, and slower: its data path could not be compiled (apt install gcc)' >&2
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo 'installing what the tests import' >&2
	@$(PIP) install "$$(echo .cache/wheel/*.whl)[test]"
	@touch $@
