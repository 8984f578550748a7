"""The pointwise ranker as a reranking model of MTEB (https://github.com/embeddings-benchmark/mteb): ERESS, ESCI, any other.

    python -m eval_tasks.mteb_model --model BASE --adapter ADAPTER --tasks ESCIReranking --out OUT

A query and a document are asked for the relevance in words, as each product of a ranking is, and ordered by the gain that is
expected from the likelihoods of exact, substitute, complement and irrelevant (see common/words.py). mteb is in
tests/requirements.txt only: pip install "mteb>=2.26,<3".
"""

import argparse
from collections.abc import Iterable, Sequence
from math import log
from pathlib import Path
from typing import Any

from common.errors import UserError, first_line, plain_errors
from common.tasks import TASKS, WordForm
from common.words import in_words, word_prompts
from eval_tasks.backends.prompts import Likelihoods, LoadedModel, Prompt, ScoredPrompt, parse_options, shown_name
from eval_tasks.reporting.hub_dataset import public_name

RANKING = TASKS["query_product_ranking"]
LANGUAGES = ["eng-Latn"]


class PairRanker:
    """What MTEB calls a cross-encoder: `predict` scores (query, document) pairs.

    `loaded` is a base model, `adapter` the folder of a LoRA adapter of it. `wording` is one of the task's in words.
    """

    def __init__(self, loaded: LoadedModel, name: str, adapter: Path | None = None, wording: int = 0) -> None:
        self.loaded, self.adapter, self.wording = loaded, adapter, wording
        self.mteb_model_meta = model_meta(name)

    def predict(self, inputs1: Iterable[dict[str, Any]], inputs2: Iterable[dict[str, Any]], **about: Any) -> Any:
        """A score of each pair as a float64 array. `inputs1`: batches of queries as "text", `inputs2` documents."""
        import numpy as np

        pairs = zip(texts(inputs1), texts(inputs2), strict=True)
        prompts = [relevance_prompt(query, document, self.wording) for query, document in pairs]
        found: dict[int, Likelihoods] = dict(self.loaded.score(prompts, self.adapter))
        form = RANKING.words
        assert form is not None  # of the literal
        return np.array([gain_log_odds(form, found[place]) for place in range(len(prompts))])


def gain_log_odds(form: WordForm, likelihoods: Likelihoods) -> float:
    """log(g / (1 - g)) of the expected gain g, which orders alike.

    MTEB's trec_eval keeps scores in float32, where the gains of what a model is sure of are all 1 or all 0.
    """
    import numpy as np

    gains = [2**weight - 1 for weight in form.gains]
    worth, rest = (
        float(np.logaddexp.reduce([chance + log(part) for chance, part in zip(likelihoods, parts, strict=True) if part]))
        for parts in (gains, [1 - gain for gain in gains])
    )
    return worth - rest


def texts(batches: Iterable[dict[str, Any]]) -> list[str]:
    return [str(text) for batch in batches for text in batch["text"]]


def relevance_prompt(query: str, document: str, wording: int = 0) -> ScoredPrompt:
    """One pair as a row of the ranking is asked in words. Line breaks become spaces, as in the product texts of the dataset."""
    fields = {"query": " ".join(query.split()), "products": [" ".join(document.split())]}
    (text,) = word_prompts(RANKING, fields, wording)
    form = in_words(RANKING)
    prompt = Prompt((("user", text),), text, form.max_new_tokens, f"shop:{RANKING.name}", stop=("\n",))
    return ScoredPrompt(prompt, form.labels)


def model_meta(name: str) -> Any:
    """MTEB's description of the model, which names its results. `name` is org/name; another gets `local/` in front."""
    from mteb.models import ModelMeta

    known = {
        "name": name if name.count("/") == 1 else f"local/{name.replace('/', '--')}",
        "revision": "main",
        "languages": LANGUAGES,
        "framework": ["PyTorch"],
        "model_type": ["cross-encoder"],
        "use_instructions": True,
    }
    return ModelMeta.create_empty(overwrites=known)


def evaluate(ranker: PairRanker, tasks: Sequence[Any], out: Path) -> dict[str, float]:
    """Task -> its main score by MTEB, which writes its own results files below `out`."""
    import mteb

    cache = mteb.ResultCache(cache_path=out)
    results = mteb.evaluate(ranker, tasks=tasks, cache=cache, co2_tracker=False, show_progress_bar=False)
    return {found.task_name: float(found.get_score()) for found in results.task_results}


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m eval_tasks.mteb_model", description="Evaluates the pointwise ranker on reranking tasks of MTEB."
    )
    parser.add_argument("--model", required=True, metavar="BASE", help="folder or Hub id of the base model")
    parser.add_argument("--adapter", metavar="ADAPTER", help="folder, Hub id or id@revision of a LoRA adapter")
    parser.add_argument("--tasks", required=True, metavar="NAMES", help="MTEB's names, separated by commas")
    parser.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="of the backend, such as dtype=float32; repeat"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="MTEB's results")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    with plain_errors():
        try:
            import mteb
        except ImportError:
            raise UserError('the package mteb is not installed; run pip install "mteb>=2.26,<3"') from None
        from eval_tasks.backends.lighteval_model import local_adapter
        from eval_tasks.transformers_model import TransformersBackend, load

        try:
            tasks = mteb.get_tasks(tasks=[name.strip() for name in arguments.tasks.split(",")])
        except (KeyError, ValueError) as error:
            raise UserError(
                f"--tasks {arguments.tasks}: {first_line(error)}; mteb.get_tasks(task_types=['Reranking']) lists them"
            ) from None
        if others := [task.metadata.name for task in tasks if task.metadata.type != "Reranking"]:
            raise UserError(f"--tasks: {', '.join(others)} is no reranking task, and a model that scores pairs takes no other")
        tuned = [f"adapter={arguments.adapter}"] if arguments.adapter else []
        given = ",".join([f"model_name={arguments.model}", *tuned, *arguments.option])
        options = parse_options(given, TransformersBackend.OPTIONS)
        adapter = local_adapter(arguments.adapter) if arguments.adapter else None
        ranker = PairRanker(load(options), public_name(shown_name(options)), adapter)
        for name, value in evaluate(ranker, list(tasks), arguments.out).items():
            print(f"{name}\t{value:.4f}")


if __name__ == "__main__":
    main()
