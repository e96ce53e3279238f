# Thin: each target does its own set-up and calls the real tool. `make help` lists them.
BUILD ?= build/release
JOBS  ?= $(shell nproc)
# `make run` needs no test packages.
TESTS ?= OFF
test bench fuzz interop load-test docs check-docs: TESTS = ON

EVENTS ?= 2000000
KILLS  ?= 20
SEED   ?= 1
BURST  ?= 120

# The build with crash points compiled in, for tests/fault only.
FAULTS = build/faults

.PHONY: help run build test asan bench fuzz kill-test soak capacity faults-build crash-matrix fault-sweep chaos power-cut interop load-test web test-web fmt docs check-docs clean setup-run setup-test setup-web

help:            ## this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## ?/\1\t/' | expand -t 14

setup-run:
	@tools/setup.sh run
setup-test:
	@tools/setup.sh test
setup-web:
	@tools/setup.sh web

build: setup-run web ## compile build/release/bluelake, the page in it
	@cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release -DBL_TESTS=$(TESTS) >/dev/null
	@cmake --build $(BUILD) -j $(JOBS) -- --quiet

web: setup-run   ## build the page (web/dist)
	@tools/web.sh

run: build       ## collect: everything set up, built and started; Ctrl-C stops
	@$(BUILD)/bluelake up --data data

test: setup-test ## every test but the long ones
	@tools/test.sh

asan: setup-test
	@cmake -S . -B build/asan -G Ninja -DCMAKE_BUILD_TYPE=Debug -DBL_SANITIZE=address,undefined >/dev/null
	@cmake --build build/asan -j $(JOBS) -- --quiet

faults-build: setup-test
	@cmake -S . -B $(FAULTS) -G Ninja -DCMAKE_BUILD_TYPE=Release -DBL_FAULTS=ON >/dev/null
	@cmake --build $(FAULTS) -j $(JOBS) --target bluelake fault_shim fault_shim_files -- --quiet

crash-matrix: faults-build ## kill the roles at every commit step, many times each
	@python3 tests/fault/matrix.py --full

fault-sweep: faults-build ## every call and allocation of small runs fails once; of compaction our own and 1,000 of all (hours)
	@python3 tests/fault/sweep.py --full

chaos: faults-build ## everything goes wrong at random, then the lake is compared (SEED=1 MINUTES=30 LOOK_BACK=)
	@python3 tests/fault/chaos.py --seed $(SEED) --minutes $(or $(MINUTES),30) $(if $(LOOK_BACK),--look-back)

power-cut: faults-build ## the disk forgets what was not fsynced, again and again (ROUNDS=4 SEED=1; root, ext4 on a loop device)
	@python3 tests/fault/powercut.py --rounds $(or $(ROUNDS),4) --seed $(SEED)

bench: setup-test build ## measure: rates and ratios against named peers
	@bench/run.sh

fuzz: setup-test ## the long fuzzing runs (MINUTES=10 each)
	@tools/fuzz.sh $(or $(MINUTES),10)

kill-test: setup-test build ## every role and Redis killed at random (EVENTS=2000000 KILLS=20 SEED=1)
	@python3 tests/fault/kill.py --events $(EVENTS) --kills $(KILLS) --seed $(SEED)
	@python3 tests/fault/kill.py --events $(EVENTS) --kills $(KILLS) --seed $(SEED) --forget

soak: setup-test build ## an hour at 100,000 events a minute, then a burst (MINUTES=60 BURST=120)
	@python3 tests/fault/soak.py --minutes $(or $(MINUTES),60) --burst-seconds $(BURST)

capacity: setup-test build ## eight hours of events in the buffer; Redis killed; drained and compared
	@python3 tests/fault/capacity.py

test-web: setup-web build ## drive the page in Chromium, over the real binary
	@BL_WEB_STRICT=1 tests/web/run.sh

load-test: setup-test build ## many readers while events come in (USERS=100 MINUTES=5)
	@tests/interop/run.sh load --users $(or $(USERS),100) --seconds $$(( $(or $(MINUTES),5) * 60 ))

interop: setup-test build ## pyarrow, Polars and DuckDB's own packages read the lake
	@tests/interop/run.sh

fmt:             ## format the C code
	@git ls-files -co --exclude-standard 'src/*.[ch]' 'tests/*.[ch]' 'bench/*.[ch]' | xargs clang-format-14 -i

docs: setup-test build ## regenerate the references in docs/
	@tools/docs.sh

check-docs: setup-test build
	@tools/docs.sh --check

clean:           ## remove build/ (not data/)
	@rm -rf build
