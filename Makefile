# Everything happens in .venv, made here on first use. TORCH is installed by name before the package,
# so that nothing else chooses another build of it.
PYTHON ?= python3
TORCH ?= torch==2.13.0
BIN := .venv/bin
NATIVE := $(shell find csrc -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh') $(wildcard sparse_engine/*/*.pyx sparse_engine/*/*.pxd) setup.py pyproject.toml

.PHONY: demo test test-exhaustive test-newest newest test-all sanitize lint bench bench-kernels build cuda gpu-check \
	torch-headers docs docs-links clean

demo: build
	rm -rf runs/demo
	$(BIN)/sparse-engine train mackey-glass --out runs/demo

# A worker for each processor, with one thread each where a test does not ask for more.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal

test: build .venv/dev
	$(PYTEST)

# With kernels for every instruction set, those compared that this processor runs.
test-exhaustive: build .venv/dev
	SPARSE_ENGINE_ISA_BUILD=all $(BIN)/python setup.py --quiet build_ext --inplace
	SPARSE_ENGINE_ISA_BUILD=all $(PYTEST) -m exhaustive

test-all: test test-exhaustive

# The contract on a newer torch, for which nothing is built again; skipped where none installs.
NEWEST ?= torch<2.16
test-newest: build newest
	if test -e .venv-newest/ready; then OMP_NUM_THREADS=1 .venv-newest/bin/python -m pytest --numprocesses auto --dist worksteal \
		-p no:cacheprovider tests/contract; \
	else echo "no newer torch was found: $(NEWEST)"; fi

newest:
	test -d .venv-newest || $(PYTHON) -m venv .venv-newest
	rm -f .venv-newest/ready
	! .venv-newest/bin/python -m pip install --quiet "$(NEWEST)" numpy safetensors pytest \
		pytest-xdist hypothesis allpairspy || touch .venv-newest/ready

# A build of its own, in build/sanitize. No leak is reported, as Python keeps much for good; a
# failed allocation returns null, as it does outside.
SANITIZED = LD_PRELOAD="$(shell $(CXX) -print-file-name=libasan.so) $(shell $(CXX) \
		-print-file-name=libstdc++.so.6)" PYTHONPATH=build/sanitize/lib:tests OMP_WAIT_POLICY=passive \
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:max_allocation_size_mb=4096 \
	UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
SANITIZED_TESTS = $(filter-out %/test_derivatives.py %/test_flops.py %/test_opcheck.py, \
		$(wildcard tests/kernels/test_*.py)) \
	$(addprefix tests/contract/test_, step.py resets.py) \
	$(addprefix tests/analysis/test_, triads.py null_models.py annealing.py distance.py)

sanitize: .venv/dev
	SPARSE_ENGINE_SANITIZE=1 $(BIN)/python setup.py --quiet build --build-lib build/sanitize/lib
	$(SANITIZED) $(BIN)/python tests/exhaustive/fuzz.py 1 60 >build/sanitize/fuzz.txt
	$(SANITIZED) OMP_NUM_THREADS=2 $(BIN)/python -m pytest --numprocesses auto $(SANITIZED_TESTS)

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	find csrc tests/exhaustive/cuda -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' \
		| xargs $(BIN)/clang-format --dry-run --Werror

# Single operations, rewiring and analysis; BENCH is what pytest-benchmark is to do with the times.
BENCHMARKS := $(BIN)/python -m pytest --override-ini python_files=bench_*.py benchmarks

bench: build .venv/dev
	$(BIN)/python -m benchmarks.train_step --json benchmarks/results/train_step.json
	set -e; for cell in $$($(BIN)/python -m benchmarks.cells); do $(BIN)/python -m benchmarks.train_step --cell $$cell \
		--json benchmarks/results/$$cell.json; done
	$(BIN)/python -m benchmarks.linear --json benchmarks/results/linear.json
	$(BIN)/python -m benchmarks.inference --threads 1 --json benchmarks/results/inference.json
	$(BIN)/python -m benchmarks.quantized --json benchmarks/results/quantized.json
	$(BIN)/python -m benchmarks.online --json benchmarks/results/online.json
	$(BIN)/python -m benchmarks.set_mlp --json benchmarks/results/set_mlp.json
	$(BENCHMARKS)/ops --benchmark-json benchmarks/results/kernels.json
	$(BENCHMARKS)/topology --benchmark-json benchmarks/results/rewire.json
	$(BENCHMARKS)/graph --benchmark-json benchmarks/results/analysis.json

bench-kernels: build .venv/dev
	$(BENCHMARKS) $(BENCH)

# The site, in docs/_build/html, with its tutorials executed. DOCS is what Sphinx is to do besides.
docs: build .venv/dev
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b html $(DOCS) docs docs/_build/html

# Links between pages and to files; those to other sites with SPARSE_ENGINE_DOCS_ONLINE=1.
docs-links: build .venv/dev
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b linkcheck docs docs/_build/links

build: .venv/built

# Both use the python that is there, with a CUDA build of torch, and no network.
cuda:
	SPARSE_ENGINE_CUDA=1 $(PYTHON) -m pip install --no-build-isolation --no-deps -e .

gpu-check: cuda
	$(PYTHON) -m benchmarks.gpu

.venv/ready: pyproject.toml
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet "setuptools>=77" wheel ninja "cython>=3.1" \
		numpy scipy networkx tqdm safetensors tyro pooch matplotlib
	touch $@

# Tests and checks need more than the package does: trainers, TensorBoard, scikit-learn's digits.
.venv/dev: .venv/ready
	$(BIN)/python -m pip install --quiet tensorboard scikit-learn lightning transformers accelerate \
		skorch optuna allpairspy clang-format==20.1.8 expecttest hypothesis mypy==1.18.2 pandas \
		pyarrow h5py mtkahypar \
		pytest pytest-benchmark pytest-xdist ruff==0.14.5 \
		sphinx pydata-sphinx-theme myst-nb sphinx-copybutton sphinx-design
	touch $@

# pip hides what it builds: the first command shows how far the compiler is, and pip then finds
# everything built.
# Extensions for one version of Python, which were built once, would be imported first.
.venv/built: .venv/ready $(NATIVE)
	rm -f sparse_engine/*/*.cpython-*.so
	$(BIN)/python setup.py --quiet build_ext --inplace
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps -e .
	touch $@

# The bindings compiled against the headers of other versions of torch, from their wheels.
TORCH_HEADERS := 2.10.0 2.11.0
torch-headers: .venv/dev
	for version in $(TORCH_HEADERS); do test -d build/headers/$$version || { \
		$(BIN)/python -m pip download --quiet --no-deps --dest build/wheels torch==$$version && \
		unzip -q "build/wheels/torch-$$version-*" 'torch/include/*' -d build/headers/$$version; } \
		|| exit 1; done
	$(PYTEST) -m exhaustive tests/exhaustive/cuda/test_headers.py

clean:
	rm -rf .venv .venv-newest build docs/_build docs/reference/api runs sparse_engine/_C*.so sparse_engine/*/*.so sparse_engine/c_library/*.h *.egg-info
