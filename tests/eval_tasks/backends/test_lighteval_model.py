"""What every backend has in common: prompts as lighteval's own models get them, and answers that are kept as they come."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from lighteval.models.custom.custom_model import CustomModelConfig
from lighteval.tasks.prompt_manager import PromptManager
from lighteval.tasks.requests import Doc

from common.errors import UserError
from eval_tasks.backends import lighteval_model
from eval_tasks.backends.answer_store import AnswerStore
from eval_tasks.backends.chat_format import rendered
from eval_tasks.backends.lighteval_model import answer_prompts, local_folder
from eval_tasks.backends.prompts import LoadedModel, Prompt
from eval_tasks.backends.scored_rows import prompt_of


class Echo:
    """A backend that answers with the prompt's last word and remembers what it was asked; it may break down on its way."""

    def __init__(self, breaks_after: int | None = None) -> None:
        self.asked: list[str] = []
        self.breaks_after = breaks_after

    def __call__(self, prompts: Sequence[Prompt], adapter: Path | None, constrained: bool) -> Iterator[tuple[int, str]]:
        for place in reversed(range(len(prompts))):
            if self.breaks_after is not None and len(self.asked) >= self.breaks_after:
                raise RuntimeError("the power went")
            self.asked.append(prompts[place].plain)
            yield place, prompts[place].plain.split()[-1]


def prompts(*texts: str) -> list[Prompt]:
    return [Prompt((("user", text),), text, 8) for text in texts]


@pytest.fixture
def store(tmp_path: Path) -> AnswerStore:
    return AnswerStore(tmp_path / "answers.sqlite")


def test_answers_stand_where_their_prompts_do_and_equal_prompts_are_asked_once(store: AnswerStore) -> None:
    echo = Echo()
    assert answer_prompts(LoadedModel(("echo",), echo), prompts("a b", "c d", "a b"), None, False, store) == ["b", "d", "b"]
    assert sorted(echo.asked) == ["a b", "c d"]


def test_what_is_kept_is_not_asked_again_and_other_weights_are(store: AnswerStore) -> None:
    answer_prompts(LoadedModel(("echo", "weights 1"), Echo()), prompts("a b", "c d"), None, False, store)
    again, other = Echo(), Echo()
    assert answer_prompts(LoadedModel(("echo", "weights 1"), again), prompts("a b", "e f"), None, False, store) == ["b", "f"]
    assert again.asked == ["e f"]
    answer_prompts(LoadedModel(("echo", "weights 2"), other), prompts("a b"), None, False, store)
    assert other.asked == ["a b"]


def test_an_adapter_that_was_trained_again_is_asked_again(store: AnswerStore, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"weights 1")
    first, second, third = Echo(), Echo(), Echo()
    answer_prompts(LoadedModel(("echo",), first), prompts("a b"), adapter, False, store)
    answer_prompts(LoadedModel(("echo",), second), prompts("a b"), adapter, False, store)
    (adapter / "adapter_model.safetensors").write_bytes(b"weights 22")
    answer_prompts(LoadedModel(("echo",), third), prompts("a b"), adapter, False, store)
    assert (len(first.asked), len(second.asked), len(third.asked)) == (1, 0, 1)


def test_a_backend_that_breaks_down_loses_nothing_of_what_it_said(store: AnswerStore) -> None:
    texts = [f"word {number}" for number in range(50)]
    with pytest.raises(RuntimeError, match="the power went"):
        answer_prompts(LoadedModel(("echo",), Echo(breaks_after=33)), prompts(*texts), None, False, store)
    rest = Echo()
    assert answer_prompts(LoadedModel(("echo",), rest), prompts(*texts), None, False, store) == [
        str(number) for number in range(50)
    ]
    assert len(rest.asked) == 17


def test_a_backend_that_leaves_prompts_out_is_told(store: AnswerStore) -> None:
    with pytest.raises(UserError, match="2 of 2 prompts were not answered"):
        answer_prompts(LoadedModel(("silent",), lambda *_: iter(())), prompts("a", "b"), None, False, store)


def doc(**fields: object) -> Doc:
    return Doc(query="Is it in the box?\nAnswer: ", choices=["yes"], gold_index=0, task_name="shop:answerability|0", **fields)


def test_a_prompt_is_what_lightevals_own_models_are_given(tiny_llama: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    shots = [Doc(query="Is it red?\nAnswer: ", choices=["no"], gold_index=0)]
    for asked in (doc(), doc(instruction="Answer yes or no.\n"), doc(fewshot_samples=shots)):
        prompt = prompt_of(asked)
        assert rendered(tokenizer, prompt) == PromptManager(use_chat_template=True, tokenizer=tokenizer).prepare_prompt(asked)
        assert prompt.plain == PromptManager().prepare_prompt(asked)


def test_a_prompt_has_the_limits_of_its_document() -> None:
    prompt = prompt_of(doc(generation_size=8, stop_sequences=["\n"], specific={"pattern": "yes|no"}))
    assert (prompt.max_new_tokens, prompt.stop, prompt.pattern, prompt.task) == (8, ("\n",), "yes|no", "shop:answerability")
    assert prompt_of(doc()).pattern == ""


def test_several_answers_to_one_row_are_refused() -> None:
    with pytest.raises(UserError, match="asks for 4 answers"):
        prompt_of(doc(num_samples=4))


def test_likelihoods_are_refused_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = CustomModelConfig(model_name=f"model_name=echo,cache_dir={tmp_path}", model_definition_file_path="echo.py")
    model = lighteval_model.Backend(config, LoadedModel(("echo",), Echo()))
    with pytest.raises(SystemExit):
        model.loglikelihood([doc()])
    assert "this backend gives no likelihoods" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SystemExit):
        model.loglikelihood_rolling([doc()])
    assert "use lighteval accelerate for such a task" in " ".join(capsys.readouterr().err.split())


def test_results_name_the_model_and_not_its_options(tmp_path: Path) -> None:
    config = CustomModelConfig(model_name=f"model_name=org/echo,cache_dir={tmp_path}", model_definition_file_path="echo.py")
    assert lighteval_model.Backend(config, LoadedModel(("echo",), Echo())).config.model_name == "org/echo"


def test_results_tell_which_weights_an_adapter_had(tmp_path: Path) -> None:
    def kept(*options: str) -> object:
        text = ",".join((f"model_name=org/echo,cache_dir={tmp_path}", *options))
        config = CustomModelConfig(model_name=text, model_definition_file_path="echo.py")
        return lighteval_model.Backend(config, LoadedModel(("echo",), Echo())).config.model_dump()["adapter_sha256"]

    adapter = tmp_path / "adapter"
    adapter.mkdir()
    assert kept() is kept(f"adapter={adapter}") is None
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    assert kept(f"adapter={adapter}") == hashlib.sha256(b"weights").hexdigest()


def test_a_folder_is_taken_as_it_is_and_what_is_neither_folder_nor_on_the_hub_is_told(tmp_path: Path) -> None:
    assert local_folder(str(tmp_path)) == tmp_path
    with pytest.raises(UserError, match="model_name=no/such/model is no file or folder here, and no Hub id"):
        local_folder("no/such/model")
