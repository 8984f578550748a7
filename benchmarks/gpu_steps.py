"""The steps of benchmarks/gpu.py, each in a process of its own, so that one that fails or runs out of memory ends alone.

    python -m benchmarks.gpu_steps train|answers|model '{"key": "value"}'

The last line of what a step prints is JSON.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.generation_speed import by_engine, row_prompts
from benchmarks.measure import Measured, flop_per_token, matrix_flops, peak_bytes, timed
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
    return {
        "tokens_per_second": round((tokens[-1] - tokens[skipped]) / (times[-1] - times[skipped]), 1),
        "tokens_per_step": round(tokens[-1] / len(tokens), 1),
        "first_step_seconds": round(times[0] - started, 2),
        "losses": [round(log["loss"], 5) for log in trainer.state.log_history if "loss" in log],
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
        "host_memory_bytes": peak_bytes(),
        "attention": plan.attn_implementation,
        "flop_per_token": flop_per_token(trainer.model),
    }


def peak() -> dict[str, Any]:
    """The device's throughput of matrix products in bfloat16, as measured: FLOP/s."""
    import torch

    return {"flops": matrix_flops("cuda", 8192) if torch.cuda.is_available() else matrix_flops("cpu", 512)}


def answers(engine: str, model: str, adapter: str | None, data: str, rows: int) -> dict[str, Any]:
    """Greedy answers to test rows by one engine, their mean score and speed, without loading."""
    from common.answers import decode_answer
    from common.dataset import read_split
    from common.scoring import score_completion
    from common.tasks import TASKS

    found = [row for table in read_split(data, "test").values() for row in table.to_pylist()][:rows]
    tasks = [TASKS[row["task"]] for row in found]
    folder = Path(adapter) if adapter else None
    way = by_vllm(model, folder, found) if engine == "vllm" else by_engine(model, "bfloat16", row_prompts(found), folder)
    truths = [decode_answer(row) for row in found]
    scores = [score_completion(*answer) for answer in zip(tasks, way.result, truths, strict=True)]
    return {
        "rows": len(found),
        "rows_per_second": round(len(found) / way.seconds, 2),
        "score": round(sum(scores) / len(scores), 4),
        "answers": way.result,
        "tasks": [task.name for task in tasks],
    }


def by_vllm(model: str, adapter: Path | None, rows: Sequence[dict[str, Any]]) -> Measured:
    """vLLM's answers, and what they cost."""
    from common.tasks import TASKS
    from training.sampling import Sampling, load_vllm

    answer = load_vllm(model, adapter, Sampling(1, temperature=0))
    prompts, limits = [row["prompt"] for row in rows], [TASKS[row["task"]].max_new_tokens for row in rows]
    list(answer(prompts[:1], limits[:1]))
    return timed(lambda: [said for _, (said, *_) in sorted(answer(prompts, limits))])


STEPS: dict[str, Callable[..., dict[str, Any]]] = {"model": model, "train": train, "peak": peak, "answers": answers}


def main() -> None:
    name, settings = sys.argv[1], json.loads(sys.argv[2])
    print(json.dumps(STEPS[name](**settings)), flush=True)


if __name__ == "__main__":
    with plain_errors():
        main()
