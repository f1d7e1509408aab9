# What people type. Each target calls cmake, ctest or one script of scripts/; each says in its script what it does.
# JOBS: how many compilers at once. DAVIT_CACHE: where the engines' images and trees are kept (build/cache). BENCH: options of
# bench/run.py, for example --quick.
JOBS ?= $(shell nproc)

.PHONY: build test soak tsan demo plugin install uninstall install-podman uninstall-podman bench format clean

build:
	@scripts/packages.sh build
	@scripts/build.sh release $(JOBS)

test:
	@scripts/test.sh $(JOBS)

soak:
	@DAVIT_SOAK=1 scripts/test.sh $(JOBS)

tsan:
	@scripts/packages.sh build test
	@scripts/build.sh tsan $(JOBS)
	@ctest --test-dir build/tsan --output-on-failure -j 2

demo: build
	@scripts/packages.sh test
	@scripts/demo.sh

plugin: build
	@scripts/plugin.sh create

install: build
	@scripts/install.sh

uninstall:
	@scripts/uninstall.sh

install-podman: build
	@scripts/install-podman.sh

uninstall-podman:
	@scripts/install-podman.sh uninstall

bench: build
	@scripts/packages.sh test
	@python3 -B bench/run.py $(BENCH)

format:
	@scripts/packages.sh format
	@git ls-files '*.h' '*.cc' | xargs clang-format -i

clean:
	@rm -rf build/asan build/tsan build/debug build/release build/fuzz build/plugin build/test
