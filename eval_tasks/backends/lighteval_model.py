"""The base class of backends: a lighteval model whose answers are stored as they come, so that a run can resume.

A model file for `lighteval custom` says how its backend loads a base model, and has a class that lighteval finds:

    class TransformersBackend(lighteval_model.Backend):
        OPTIONS: ClassVar = {"dtype": "auto"}
        load = staticmethod(load)      # options, folders of the adapters that will answer -> prompts.LoadedModel

    lighteval custom "model_name=BASE,adapter=ADAPTER" eval_tasks/transformers_model.py "shop|0" \\
        --custom-tasks eval_tasks/shop.py

Answers are kept in a SQLite file under a hash of all that they depend on, weights included; what is there is not asked again.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

from lighteval.models.abstract_model import LightevalModel
from lighteval.models.custom.custom_model import CustomModelConfig
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc

from common.dataset import find_folder
from common.errors import UserError, plain_errors
from common.files import sha256_of
from common.thinking import without_thoughts
from eval_tasks.backends.answer_store import AnswerStore, answer_key, score_key
from eval_tasks.backends.cache_key import folder_stamp
from eval_tasks.backends.prompts import (
    ANSWERS,
    LISTS,
    Likelihoods,
    LoadedModel,
    Prompt,
    RefusedAnswer,
    ScoredPrompt,
    bool_option,
    choice_option,
    parse_options,
    shown_name,
)
from eval_tasks.backends.scored_rows import label_priors, prompt_of, scored_rows

STORED_AT_ONCE = 16
"""Answers that are written together: so many at most are lost when a run is killed."""


SPENT_ADVICE = (
    "Give --template-option enable_thinking=false or what this model's template has for it; at an endpoint also --option "
    "reasoning_effort=low, or a larger budget with --option max_completion_tokens=4000"
)


class BackendConfig(CustomModelConfig):
    """What results keep of the model. `adapter_sha256`: of the adapter's weights, since folders may be called alike.

    `answers` says whether they were written or scored, `lists` how lists were scored.
    """

    adapter_sha256: str | None = None
    answers: str = "written"
    lists: str = "words"


class Backend(LightevalModel):
    """See the module. `OPTIONS` are those of the backend with their defaults, besides prompts.COMMON_OPTIONS."""

    OPTIONS: ClassVar[Mapping[str, str]] = {}
    load: Callable[[Mapping[str, str], Sequence[Path]], LoadedModel]
    config: CustomModelConfig

    def __init__(self, config: CustomModelConfig, loaded: LoadedModel | None = None) -> None:
        """`config.model_name` holds the options. `loaded`: the base, if it is there already."""
        with plain_errors():
            self.options = parse_options(config.model_name, self.OPTIONS)
            self.constrained = bool_option(self.options, "constrained")
            self.answering = choice_option(self.options, "answers", ANSWERS)
            self.lists = choice_option(self.options, "lists", LISTS)
            self.adapter = local_folder(self.options["adapter"], "adapter") if self.options["adapter"] else None
            self.store = AnswerStore(store_path(self.options["cache_dir"]))
            self.loaded = loaded or self.load(self.options, [self.adapter] if self.adapter else [])
        self.config = BackendConfig(
            model_name=shown_name(self.options),
            model_definition_file_path=config.model_definition_file_path,
            adapter_sha256=weights_sha256(self.adapter) if self.adapter else None,
            answers=self.answering,
            lists=self.lists,
        )
        # The pipeline registers its tasks with lighteval's own cache, which knows neither weights nor prompts.
        self._cache = SimpleNamespace(_init_registry=lambda registry: None)

    def greedy_until(self, docs: list[Doc]) -> list[ModelResponse]:
        with plain_errors():
            scored = self._scored(docs) if self.answering == "scored" else {}
            left = [doc for place, doc in enumerate(docs) if place not in scored]
            prompts = [prompt_of(doc) for doc in left]
            texts = answer_prompts(self.loaded, prompts, self.adapter, self.constrained, self.store, self.config.model_name)
        written = iter(ModelResponse(input=doc.query, text=[text]) for doc, text in zip(left, texts, strict=True))
        return [scored.get(place) or next(written) for place in range(len(docs))]

    def _scored(self, docs: Sequence[Doc]) -> dict[int, ModelResponse]:
        """Place -> response, of the documents whose answers can be scored."""
        rows = scored_rows(docs, self.lists)
        prompts = [prompt for row in rows.values() for prompt in row.prompts]
        found = iter(self._likelihoods(prompts))
        by_row = {place: [next(found) for _ in row.prompts] for place, row in rows.items()}
        priors = label_priors(rows, by_row)
        return {
            place: ModelResponse(input=row.prompts[0].prompt.plain, text=[row.answer(by_row[place], priors)])
            for place, row in rows.items()
        }

    def _likelihoods(self, prompts: Sequence[ScoredPrompt]) -> list[Likelihoods]:
        return score_prompts(self.loaded, prompts, self.adapter, self.store, self.config.model_name)

    def loglikelihood(self, docs: list[Doc]) -> list[ModelResponse]:
        """Of lighteval's own tasks: the likelihood of each document's choices behind its prompt."""
        with plain_errors():
            found = self._likelihoods([ScoredPrompt(prompt_of(doc), tuple(doc.choices)) for doc in docs])
        return [
            # Which tokens a model would write instead is not known, so no choice is called its greedy answer.
            ModelResponse(input=doc.query, logprobs=list(each), argmax_logits_eq_gold=[False] * len(each))
            for doc, each in zip(docs, found, strict=True)
        ]

    def loglikelihood_rolling(self, docs: list[Doc]) -> list[ModelResponse]:
        with plain_errors():
            raise UserError(
                "these models score given answers, and no texts as a whole; use lighteval accelerate for such a task"
            )

    @property
    def tokenizer(self) -> Any:
        return None

    @property
    def add_special_tokens(self) -> bool:
        return False

    @property
    def max_length(self) -> int:
        return sys.maxsize


def answer_prompts(
    loaded: LoadedModel, prompts: Sequence[Prompt], adapter: Path | None, constrained: bool, store: AnswerStore, title: str = ""
) -> list[str]:
    """An answer to each prompt: the one in the store, or a new one, which is stored before more are waited for."""
    identity = (*loaded.identity, adapter_identity(adapter))
    cut = loaded.cut(prompts, adapter)
    tell_cut(cut)
    keys = [answer_key(identity, prompt, constrained, tokens) for prompt, tokens in zip(prompts, cut, strict=True)]

    def ask(places: Sequence[int]) -> Iterator[tuple[int, str]]:
        return loaded.answer([prompts[place] for place in places], adapter, constrained)

    known = _stored(keys, ask, store, f"Answers of {title}" if title else "Answers")
    if refused := Counter(text.reason for key in keys if isinstance(text := known[key], RefusedAnswer)):
        reasons = ", ".join(f"{reason}: {count}" for reason, count in refused.most_common())
        print(
            f"warning: {refused.total()} of {len(prompts)} prompts were refused by the server ({reasons}); "
            "they count as unparsable",
            file=sys.stderr,
        )
    texts = [str(known[key]) for key in keys]
    if spent := sum(without_thoughts(text) is None for text in texts):
        print(
            f"warning: {spent} of {len(prompts)} answers spent all their tokens on reasoning; they score 0 and are counted as "
            f"`unfinished`. {SPENT_ADVICE}",
            file=sys.stderr,
        )
    return texts


def tell_cut(cut: Sequence[int]) -> None:
    """Warns of prompts that lose tokens."""
    if shortened := [tokens for tokens in cut if tokens]:
        print(
            f"warning: {len(shortened)} of {len(cut)} prompts are longer than the model takes; their first tokens, up to "
            f"{max(shortened)}, are left out",
            file=sys.stderr,
        )


def score_prompts(
    loaded: LoadedModel, prompts: Sequence[ScoredPrompt], adapter: Path | None, store: AnswerStore, title: str = ""
) -> list[Likelihoods]:
    """The likelihoods of each prompt's candidates: those in the store, or new ones, which are stored as answers are."""
    identity = (*loaded.identity, adapter_identity(adapter))
    cut = loaded.cut([scored.prompt for scored in prompts], adapter)
    tell_cut(cut)
    keys = [score_key(identity, scored, tokens) for scored, tokens in zip(prompts, cut, strict=True)]

    def ask(places: Sequence[int]) -> Iterator[tuple[int, str]]:
        for place, found in loaded.score([prompts[place] for place in places], adapter):
            yield place, json.dumps(found)

    known = _stored(keys, ask, store, f"Scores of {title}" if title else "Scores")
    return [tuple(json.loads(known[key])) for key in keys]


def _stored(
    keys: Sequence[str], ask: Callable[[Sequence[int]], Iterator[tuple[int, str]]], store: AnswerStore, description: str
) -> dict[str, str]:
    """Key -> text, of the store or asked for: `ask` takes places among the keys, and yields places among those and texts."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    known = store.find(keys)
    new = {key: place for place, key in enumerate(keys) if key not in known}
    names = list(new)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    waiting: dict[str, str] = {}
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task(description, total=len(keys), completed=len(keys) - len(names))
        try:
            for place, text in ask(list(new.values())) if names else ():
                waiting[names[place]] = text
                known[names[place]] = text
                if len(waiting) >= STORED_AT_ONCE:
                    store.keep(waiting)
                    waiting = {}
                progress.advance(bar)
        finally:
            store.keep(waiting)
    if missing := [key for key in names if key not in known]:
        raise UserError(f"{len(missing)} of {len(keys)} prompts were not answered; run the same command again to ask for them")
    return known


def store_path(cache_dir: str) -> Path:
    from huggingface_hub import constants

    return Path(cache_dir or Path(constants.HF_HOME) / "shop_answers") / "answers.sqlite"


def local_folder(name: str, option: str = "model_name", revision: str | None = None) -> Path:
    """The folder of a model or adapter: itself, or where its files of the Hub are kept. `name@revision` names a revision.

    Raises UserError.
    """
    return find_folder(name, ["*"], revision, "model", option, ignore=["checkpoint-*", "*.pt", "*.bin"])


def local_adapter(name: str) -> Path:
    """The folder of the adapter that --adapter names. Raises UserError for one without an adapter in it."""
    from training.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS

    folder = local_folder(name, "--adapter")
    for part, files in ((ADAPTER_CONFIG, (ADAPTER_CONFIG,)), (ADAPTER_WEIGHTS, (ADAPTER_WEIGHTS, "adapter_model.bin"))):
        if not any((folder / file).is_file() for file in files):
            raise UserError(f"--adapter {name} holds no {part}; give the output folder of a LoRA training")
    return folder


def weights_sha256(adapter: Path) -> str | None:
    """None for an adapter whose weights are no safetensors."""
    weights = adapter / "adapter_model.safetensors"
    return sha256_of(weights) if weights.is_file() else None


def adapter_identity(adapter: Path | None) -> str:
    return folder_stamp(adapter) if adapter else ""
