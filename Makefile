# What one types. `make` alone lists the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.ONESHELL:
.PHONY: help demo build test check fmt clippy alone docs tidy deny advisories fuzz micro bench soak tools

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
DENY_VERSION := 0.20.2
# The right version on the PATH is taken; otherwise our own is built once.
DENY := $(or $(shell cargo-deny --version 2> /dev/null | grep -qxF 'cargo-deny $(DENY_VERSION)' && command -v cargo-deny),$(TARGET)/tools/bin/cargo-deny)
FUZZ_VERSION := 0.13.2
FUZZ := $(TARGET)/tools/bin/cargo-fuzz
SECONDS_PER_TARGET := $(or $(SECONDS),30)

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: tools ## A small shop being steered on this machine; ONCE=1 checks it and exits
	$(CARGO) build --locked --release -p spurline-proxy -p spurline-control -p spurline-demo
	$(TARGET)/release/spurline-demo run $(if $(ONCE),--once)

build: tools ## Build for release: target/release/spurline-proxy and spurline-control
	$(CARGO) build --locked --release -p spurline-proxy -p spurline-control

test: tools ## Every test: units, properties, suites against the real binary
	@start=$$(date +%s) status=0
	bash tests/setup.sh
	$(CARGO) build --locked -p spurline-proxy -p spurline-control -p spurline-demo
	$(CARGO) test --locked --workspace --no-fail-fast 2>&1 | tee $(TARGET)/test.log || status=$$?
	echo
	grep -E '^test .* FAILED$$|SKIPPED' $(TARGET)/test.log || true
	env | sed -n 's/^SPURLINE_SKIP_/SKIPPED by SPURLINE_SKIP_/p'
	awk -v seconds=$$(( $$(date +%s) - start )) '
		/^test result:/ { passed += $$4; failed += $$6; ignored += $$8 }
		END { printf "make test: %d passed, %d failed, %d ignored in %d s\n", passed, failed, ignored, seconds
		      exit passed == 0 }' $(TARGET)/test.log
	exit $$status

check: fmt clippy alone docs tidy deny advisories micro ## Every gate that needs no traffic: format, lints, docs, house rules, dependencies

fmt: tools
	$(CARGO) fmt --all --check

clippy: tools
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

# Each library by itself, so that none lives on a feature that another one switched on.
alone: tools
	@for crate in route http net telemetry config api core hub serve grpc rest source xds app; do
		echo "checking spurline-$$crate alone"
		$(CARGO) check --locked --quiet -p "spurline-$$crate"
	done

docs: tools
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items

tidy: tools
	$(CARGO) test --locked -p spurline-tests --test tidy

deny: tools $(DENY)
	$(DENY) --locked check bans licenses sources

# A database that cannot be had is said and passed over; one that can be had decides.
advisories: tools $(DENY)
	@if timeout 60 $(DENY) fetch db > /dev/null 2>&1; then
		$(DENY) --locked check --disable-fetch advisories
	else
		echo "advisories: NOT CHECKED, the advisory database cannot be fetched from here"
	fi

# Instructions, not time: the same on a busy machine, and on another one.
micro: tools ## Instructions per operation beside bench/micro/baseline.json; UPDATE=1 accepts what they are now
	@if [ -n "$${SPURLINE_SKIP_MICRO:-}" ]; then
		echo "micro: SKIPPED by SPURLINE_SKIP_MICRO, no instructions are counted"
		exit 0
	fi
	bash bench/micro/setup.sh
	$(CARGO) build --locked --release -p spurline-micro
	$(TARGET)/release/spurline-micro $(if $(UPDATE),accept,compare) bench/micro/baseline.json

# The sanitizers that make fuzzing worth it exist on nightly only; nothing else is built with it.
fuzz: tools $(FUZZ) ## Fuzz every parser in turn; SECONDS=30 for each
	@export RUSTUP_TOOLCHAIN=nightly
	rustc --version > /dev/null 2>&1 || { echo "nightly Rust is missing: rustup toolchain install nightly"; exit 1; }
	for target in $$($(FUZZ) list --fuzz-dir tests/fuzz); do
		echo "fuzzing $$target for $(SECONDS_PER_TARGET) s"
		$(FUZZ) run --fuzz-dir tests/fuzz "$$target" -- -max_total_time=$(SECONDS_PER_TARGET) -print_final_stats=1
	done

bench: build ## What all costs beside HAProxy, nginx, Envoy and more: half an hour; QUICK=1 in minutes; PEERS=a,b
	bash bench/setup.sh
	$(CARGO) build --locked --release -p spurline-bench
	export PATH="$$PATH:/usr/sbin:/sbin"
	$(TARGET)/release/spurline-bench run $(if $(QUICK),--quick) $(if $(PEERS),--peers $(PEERS)) --save $(or $(SAVE),$(if $(QUICK),target/bench,bench/results))

soak: build ## One million requests through changes of the table and a drain, every one accounted for
	SPURLINE_PROXY=$(abspath $(TARGET))/release/spurline-proxy SPURLINE_LEDGER_REQUESTS=1000000 \
		$(CARGO) test --locked -p spurline-tests --test ledger_table_changes --test ledger_drain -- --nocapture --test-threads=1

tools:
	@command -v $(CARGO) > /dev/null || { echo "cargo is missing: install Rust from https://rustup.rs"; exit 1; }
	command -v cc > /dev/null || { echo "cc is missing: install a C compiler (Debian: apt-get install build-essential)"; exit 1; }

$(DENY):
	@echo "cargo-deny $(DENY_VERSION) is missing: building it into $(TARGET)/tools, once; it takes some minutes"
	$(CARGO) install cargo-deny --locked --version $(DENY_VERSION) --root $(TARGET)/tools

$(FUZZ):
	@echo "cargo-fuzz $(FUZZ_VERSION) is missing: building it into $(TARGET)/tools, once"
	$(CARGO) install cargo-fuzz --locked --version $(FUZZ_VERSION) --root $(TARGET)/tools
