"""The steps of benchmarks/gpu.py, each in a process of its own, so that one that fails or runs out of memory ends alone.

    python -m benchmarks.gpu_steps train|answers|model '{"key": "value"}'

The last line of what a step prints is JSON.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from common.errors import plain_errors

WARM_UP = 5
"""Steps that are left out of a speed: compiling, caches, plans of kernels."""

QUIET = {
    "report_to": "none",
    "save_strategy": "no",
    "eval_strategy": "no",
    "load_best_model_at_end": "false",
    "validation_samples": 0,
    "logging_steps": 1,
    "disable_tqdm": "true",
    "dataset_num_proc": 1,
}
"""Options of a training that is only measured."""


def words(options: dict[str, Any]) -> list[str]:
    return [str(word) for name, value in options.items() for word in (f"--{name}", value)]


def host_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def model(folder: str, shape: str, rows: int, test: int, data: str) -> dict[str, Any]:
    """Writes model and rows."""
    from benchmarks.gpu_models import write_model, write_rows

    write_rows(Path(data), rows, test)
    started = time.perf_counter()
    write_model(Path(folder), shape)
    return {"seconds": round(time.perf_counter() - started, 1)}


def train(recipe: str, model: str, data: str, steps: int, out: str, cudnn: bool, options: dict[str, Any]) -> dict[str, Any]:
    """A training of some steps as training/sft.py makes it, with the time, tokens and loss of each step."""
    import torch
    from transformers import TrainerCallback
    from transformers.trainer_utils import set_seed

    from training.arguments import parse_arguments
    from training.mixture import choose_rows
    from training.plan import plan_run
    from training.tokenizer import load_tokenizer
    from training.trainer import make_trainer

    given = {"model_name_or_path": model, "dataset_name": data, "output_dir": out, "max_steps": steps, **QUIET, **options}
    script, args, base, chosen = parse_arguments(["--config", recipe, *words(given)])
    set_seed(args.seed)
    rows, validation, _ = choose_rows(script, chosen, args.seed)
    tokenizer = load_tokenizer(base, args)
    loaded, chosen, plan = plan_run(args, base, chosen, tokenizer, rows)
    trainer: Any = make_trainer(args, base, loaded, tokenizer, rows, validation, chosen, plan)
    torch.backends.cuda.enable_cudnn_sdp(cudnn)  # which training/attention.py has switched off
    times: list[float] = []
    tokens: list[int] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times.append(time.perf_counter())
            tokens.append(trainer.tokens_seen)

    trainer.add_callback(Clock())
    started = time.perf_counter()
    trainer.train()
    skipped = min(WARM_UP, len(times) - 2)
    frozen = sum(weight.numel() for weight in trainer.model.parameters() if not weight.requires_grad)
    trained = sum(weight.numel() for weight in trainer.model.parameters() if weight.requires_grad)
    return {
        "tokens_per_second": round((tokens[-1] - tokens[skipped]) / (times[-1] - times[skipped]), 1),
        "tokens_per_step": round(tokens[-1] / len(tokens), 1),
        "first_step_seconds": round(times[0] - started, 2),
        "losses": [round(log["loss"], 5) for log in trainer.state.log_history if "loss" in log],
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
        "host_memory_bytes": host_bytes(),
        "attention": plan.attn_implementation,
        # At least: a frozen weight is used forward and backward, an adapter's once more. The embedding is looked up.
        "flop_per_token": 4 * (frozen - trainer.model.get_input_embeddings().weight.numel()) + 6 * trained,
    }


def peak() -> dict[str, Any]:
    """The device's throughput of matrix products in bfloat16, as measured: FLOP/s."""
    import torch

    cuda = torch.cuda.is_available()
    size = 8192 if cuda else 512
    left, right = (torch.randn(size, size, dtype=torch.bfloat16, device="cuda" if cuda else "cpu") for _ in range(2))
    best = float("inf")
    for _ in range(10):
        started = time.perf_counter()
        left @ right
        if cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return {"flops": 2 * size**3 / best}


def answers(engine: str, model: str, adapter: str | None, data: str, rows: int) -> dict[str, Any]:
    """Greedy answers to test rows by one engine, their mean score and speed, without loading."""
    from common.answers import decode_answer
    from common.dataset import read_split
    from common.scoring import score_completion
    from common.tasks import TASKS

    found = [row for table in read_split(data, "test").values() for row in table.to_pylist()][:rows]
    tasks = [TASKS[row["task"]] for row in found]
    said, seconds = (by_vllm if engine == "vllm" else by_transformers)(model, adapter, found)
    scores = [score_completion(task, text, decode_answer(row)) for task, text, row in zip(tasks, said, found, strict=True)]
    return {
        "rows": len(found),
        "rows_per_second": round(len(found) / seconds, 2),
        "score": round(sum(scores) / len(scores), 4),
        "answers": said,
        "tasks": [task.name for task in tasks],
    }


def by_transformers(model: str, adapter: str | None, rows: Sequence[dict[str, Any]]) -> tuple[list[str], float]:
    """The answers of the evaluation's transformers backend."""
    from common.tasks import TASKS
    from eval_tasks.backends.prompts import Prompt, parse_options
    from eval_tasks.transformers_model import TransformersBackend, load

    texts = [row["prompt"][0]["content"] for row in rows]
    prompts = [
        Prompt((("user", text),), text, TASKS[row["task"]].max_new_tokens, f"shop:{row['task']}")
        for text, row in zip(texts, rows, strict=True)
    ]
    folder = Path(adapter) if adapter else None
    options = parse_options(f"model_name={model},dtype=bfloat16", TransformersBackend.OPTIONS)
    loaded = load(options, [folder] if folder else [])
    list(loaded.answer(prompts[:1], folder, False))
    started = time.perf_counter()
    found = dict(loaded.answer(prompts, folder, False))
    return [found[place] for place in range(len(prompts))], time.perf_counter() - started


def by_vllm(model: str, adapter: str | None, rows: Sequence[dict[str, Any]]) -> tuple[list[str], float]:
    """vLLM's answers."""
    from common.tasks import TASKS
    from training.sampling import Sampling, load_vllm

    answer = load_vllm(model, Path(adapter) if adapter else None, Sampling(1, temperature=0))
    prompts, limits = [row["prompt"] for row in rows], [TASKS[row["task"]].max_new_tokens for row in rows]
    list(answer(prompts[:1], limits[:1]))
    started = time.perf_counter()
    found = dict(answer(prompts, limits))
    return [found[place][0] for place in range(len(rows))], time.perf_counter() - started


STEPS: dict[str, Callable[..., dict[str, Any]]] = {"model": model, "train": train, "peak": peak, "answers": answers}


def main() -> None:
    name, settings = sys.argv[1], json.loads(sys.argv[2])
    print(json.dumps(STEPS[name](**settings)), flush=True)


if __name__ == "__main__":
    with plain_errors():
        main()
