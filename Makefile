# Voce Guida: `make run` and dial; `make test` before every change. `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export PATH := $(PATH):$(HOME)/.cargo/bin

# Arguments for the demo: make run ARGS="--at 2026-10-12T18:30:00+02:00"
ARGS ?=
BINARY := target/release/voceguida
# Seconds for each fuzz target: make fuzz SECONDS=600
SECONDS ?= 60
FUZZ_TARGETS := sip sdp rtp dtmf dialplan csv

step = @printf '\033[1m==> %s\033[0m\n' "$(1)"

.PHONY: help run build test lint audit bench fuzz prompts screenshots clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

run: build ## build, then run the demo: an invented school on sip:800123456@127.0.0.1
	@exec $(BINARY) demo $(ARGS)

build: ## the release binary
	@tests/install.sh build
	$(call step,building (the first time takes some minutes))
	@cargo build --release --locked --quiet

test: ## everything that must be green: format, lints, all tests
	$(call step,installing what is missing)
	@tests/install.sh
	$(call step,format)
	@cargo fmt --check
	$(call step,lints)
	@cargo clippy --locked --all-targets --quiet -- -D warnings
	$(call step,building the tests)
	@cargo test --locked --quiet --no-run
	$(call step,tests)
	@tests/postgres.sh run cargo test --locked --quiet
	$(call step,all green)

lint: ## format and lints only
	@cargo fmt --check
	@cargo clippy --locked --all-targets -- -D warnings

audit: ## licences, advisories and sources of the dependencies (cargo-deny)
	@command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	@cargo deny --all-features check

bench: ## the benchmarks
	@tests/install.sh
	@cargo bench --locked

# The compiler need not be a nightly one; libFuzzer itself wants a C++ compiler. What is found anew stays in target/fuzz; what makes a target fall, in tests/fuzz/artifacts.
fuzz: ## every parser against broken input, SECONDS each (cargo-fuzz)
	@command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	@for target in $(FUZZ_TARGETS); do \
		printf '\033[1m==> %s\033[0m\n' "$$target"; \
		mkdir -p target/fuzz/found/$$target; \
		RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz --target-dir target/fuzz --sanitizer none $$target \
			target/fuzz/found/$$target tests/fuzz/corpus/$$target -- \
			-max_total_time=$(SECONDS) -timeout=60 -rss_limit_mb=2048 -print_final_stats=1 $$(test $$target != sip || echo -dict=tests/fuzz/sip.dict); \
	done

prompts: ## speak the Italian prompts again
	@tests/install.sh prompts
	@prompts/speak

screenshots: ## take the office's pictures in docs/images/ufficio again
	@tests/install.sh
	@for test in $$(basename -s .rs tests/office_browser*.rs); do VOCEGUIDA_SCREENSHOTS=1 cargo test --locked --test $$test || exit 1; done

clean: ## remove what was built and the demo's data
	@cargo clean
	@rm -rf demo-data
