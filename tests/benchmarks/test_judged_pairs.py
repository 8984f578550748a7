"""Judged pairs: probabilities of label words, and what they are compared with."""

from pathlib import Path

import pytest

from benchmarks import judged_pairs as module
from benchmarks.judged_pairs import LABELS, JudgedPair, aucs, judged_pairs, label_probabilities, similarity_aucs
from common.errors import UserError
from eval_tasks.baselines.template_rows import template_row
from tests.benchmarks.test_calibration import pair_row
from tests.training.random_adapters import random_adapter
from training.merge import merge

PAIRS = [JudgedPair(f"blue lamp {label}", "blue lamp" if label == "exact" else "garden hose", label) for label in LABELS]


def test_pairs_are_those_of_the_rows_with_the_label_that_the_right_statement_stands_for() -> None:
    rows = [template_row(pair_row(number, label)) for number, label in enumerate(LABELS)]
    assert [pair.label for pair in judged_pairs(rows)] == list(LABELS)
    assert judged_pairs(rows)[0] == JudgedPair("blue lamp 0", "blue lamp 0", "exact")


def test_aucs_are_those_of_exact_pairs_and_of_pairs_that_are_not_irrelevant() -> None:
    assert aucs([0.9, 0.5, 0.4, 0.1], PAIRS) == {"auc_exact": 1.0, "auc_not_irrelevant": 1.0}
    assert aucs([0.1, 0.5, 0.4, 0.9], PAIRS) == {"auc_exact": 0.0, "auc_not_irrelevant": 0.0}
    assert aucs([0.9, 0.5, 0.4, 0.1], PAIRS, irrelevance=[0.5] * 4) == {"auc_exact": 1.0, "auc_not_irrelevant": 0.5}


def test_similarities_are_those_of_query_and_title(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RANKERS", ("tfidf", "bm25"))
    found = similarity_aucs(PAIRS)
    assert found.keys() == {"overlap", "tfidf", "bm25"}
    assert all(each["auc_exact"] == 1.0 for each in found.values())


def test_probabilities_are_those_of_the_word_as_the_chats_answer(tiny_llama: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    (found,) = label_probabilities(str(tiny_llama), [None], PAIRS, tmp_path)
    assert [sum(each) for each in found] == pytest.approx([1.0] * 4)
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32).eval()
    logs = []
    for label in LABELS:
        asked = tokenizer.apply_chat_template(
            [{"role": "user", "content": PAIRS[0].prompt()}], add_generation_prompt=True, return_dict=False
        )
        answer = tokenizer(label, add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            said = torch.log_softmax(model(torch.tensor([[*asked, *answer]])).logits[0], -1)
        logs.append(sum(float(said[len(asked) - 1 + place, token]) for place, token in enumerate(answer)))
    torch.testing.assert_close(
        torch.log(torch.tensor(found[0])), torch.log_softmax(torch.tensor(logs), 0), rtol=1e-3, atol=1e-3
    )


def test_an_adapter_is_asked_as_its_merged_model_is_with_its_own_template(tiny_llama: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    adapter = random_adapter(tiny_llama, tmp_path / "adapter", seed=3)
    ((with_the_template_of_the_base, *_),) = label_probabilities(str(tiny_llama), [str(adapter)], PAIRS, tmp_path / "before")
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }} {% endfor %}It is: "
    tokenizer.save_pretrained(adapter)
    merge(str(adapter), tmp_path / "merged", str(tiny_llama))
    ((found, *_),) = label_probabilities(str(tiny_llama), [str(adapter)], PAIRS, tmp_path / "adapted")
    ((merged, *_),) = label_probabilities(str(tmp_path / "merged"), [None], PAIRS, tmp_path / "of_merged")
    assert found == pytest.approx(merged, rel=1e-3)
    assert found != pytest.approx(with_the_template_of_the_base, rel=1e-2)


def test_a_model_or_an_adapter_that_is_not_there_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no file or folder here"):
        label_probabilities(str(tmp_path / "none"), [None], PAIRS, tmp_path)
    with pytest.raises(UserError, match=r"--adapter .* is no file or folder here"):
        label_probabilities(str(tiny_llama), [str(tmp_path / "adapter")], PAIRS, tmp_path)
