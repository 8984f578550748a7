"""Baselines for the twelve tasks: random, majority, BM25, TF-IDF or sentence embeddings under a linear model, cross-encoders.

Every baseline learns from the train rows that the model sees and answers as it does, with a text that the task's own parser
reads. What a prompt says in words, such as which number stands for which statement, a baseline is given as a field.
"""

import random
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

from common.scoring import score_completion
from eval_tasks.baselines.encoders import Encoder, Ranker, by_weight, dense, encoder, ranker, similarity, words_of
from eval_tasks.baselines.template_rows import TemplateRow

BASELINES = ("random", "majority", "tfidf", "bm25", "minilm")

OF_MODELS = ("embedder", "cross-encoder")
"""Baselines that name a model behind `=`: of sentence embeddings in place of minilm's, and a reranker in place of BM25."""

RANKING_ONLY = ("bm25", "cross-encoder")
"""Baselines that order texts for another text, and answer nothing else."""

STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0)
"""C of the logistic regression; cross-validation on the rows to train on chooses."""

COPIED_WORDS = (2, 3, 4, 5, 6, 8, 12, 100)
"""How many words of a text may be copied; the train rows choose."""

FOLDS = 4
LEAST_FOR_FOLDS = 40
"""Rows below which there is no cross-validation, and C is the middle one."""


def baseline_answers(name: str, train: Sequence[TemplateRow], rows: Sequence[TemplateRow], seed: int = 0) -> list[str] | None:
    """A baseline's answers to rows of one task, or None where it has none. `train`: rows of the same task."""
    family = rows[0].task.family
    if name == "random":
        return random_answers(train, rows, seed)
    if name == "majority":
        return majority_answers(train, rows)
    kind = name.partition("=")[0]
    if (not train and kind != "cross-encoder") or (kind in RANKING_ONLY and family not in ("ranking", "retrieval")):
        return None
    texts = texts_of(train)
    if kind in RANKING_ONLY:
        return rank(rows, ranker(name, texts))
    return fitted_answers(train, rows, encoder(name, texts))


def is_baseline(name: str) -> bool:
    kind, _, model = name.partition("=")
    return name in BASELINES or (kind in OF_MODELS and bool(model))


def shown_baseline(name: str) -> str:
    """A baseline's name in results: of a model in a folder that folder's own name."""
    kind, equals, model = name.partition("=")
    return f"{kind}{equals}{Path(model).resolve().name if Path(model).is_dir() else model}" if equals else name


def texts_of(rows: Sequence[TemplateRow]) -> list[str]:
    """Every text of the rows, repeated ones too: what is in many rows weighs little."""
    return [text for row in rows for text in (*row.texts(), *row.candidates())]


# --- Without reading ---


def random_answers(train: Sequence[TemplateRow], rows: Sequence[TemplateRow], seed: int) -> list[str] | None:
    """A label or an order, each as likely as any other, or the text of a train row; None where there is none to take.

    A row's guess depends on the seed and its prompt only, so that it is the same whichever other rows are row.
    """
    if not train and rows[0].task.family == "generation":
        return None
    return [_random_answer(train, row, random.Random(f"{seed} {row.prompt}")) for row in rows]


def _random_answer(train: Sequence[TemplateRow], row: TemplateRow, rng: random.Random) -> str:
    if row.task.family == "generation":
        return rng.choice(train).completion
    count = len(row.candidates())
    if row.task.family == "multiple_choice":
        return row.task.labels[rng.randrange(count)]
    return row.render(rng.sample(range(1, count + 1), count))


def majority_answers(train: Sequence[TemplateRow], rows: Sequence[TemplateRow]) -> list[str] | None:
    """The answer that most train rows have: a label or the statement that it stands for, the texts that were right most
    often, or a text. None for a ranking, of which no order is commoner than another."""
    family = rows[0].task.family
    if family == "ranking" or not train:
        return None
    if family == "generation":
        return [Counter(one.completion for one in train).most_common(1)[0][0]] * len(rows)
    if family == "multiple_choice":
        counts = Counter(one.meaning() for one in train)
        return [_label(row, [counts[meaning] for meaning in row.candidates()]) for row in rows]
    counts = Counter(one.candidates()[number - 1] for one in train for number in one.answer if number <= len(one.candidates()))
    return [row.render(by_weight([counts[text] for text in row.candidates()])) for row in rows]


def _label(row: TemplateRow, weights: Sequence[float]) -> str:
    return max(zip(row.task.labels, weights, strict=False), key=lambda pair: pair[1])[0]


# --- With reading ---


def fitted_answers(train: Sequence[TemplateRow], rows: Sequence[TemplateRow], encode: Encoder) -> list[str]:
    """An answer to each question of one task, learnt from the train rows of that task (at least one)."""
    family = rows[0].task.family
    if family == "multiple_choice":
        return classify(train, rows, encode)
    if family == "generation":
        return generate(train, rows, encode)
    return rank(rows, partial(similarity, encode=encode))


def classify(train: Sequence[TemplateRow], rows: Sequence[TemplateRow], encode: Encoder) -> list[str]:
    """Logistic regression from a question's texts to what its label stands for, then the likeliest of what it lists."""
    import numpy as np
    from sklearn.preprocessing import StandardScaler

    meanings = np.array([row.meaning() for row in train])
    if len(set(meanings)) < 2:
        return majority_answers(train, rows) or []
    scaler = StandardScaler().fit(overlaps(train, encode))
    model = _fitted(features(train, encode, scaler), meanings, [row.group for row in train])
    place = {meaning: number for number, meaning in enumerate(model.classes_)}
    chances = model.predict_proba(features(rows, encode, scaler))
    return [
        _label(row, [each[place[meaning]] if meaning in place else 0.0 for meaning in row.candidates()])
        for row, each in zip(rows, chances, strict=True)
    ]


def _fitted(matrix: Any, meanings: Any, groups: Sequence[str]) -> Any:
    """The regression of that C which is right most often on groups that it has not seen."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, GroupKFold

    model = LogisticRegression(C=STRENGTHS[len(STRENGTHS) // 2], max_iter=200, tol=1e-3)
    if len(meanings) < LEAST_FOR_FOLDS or len(set(groups)) < FOLDS:
        return model.fit(matrix, meanings)
    return GridSearchCV(model, {"C": STRENGTHS}, cv=GroupKFold(FOLDS)).fit(matrix, meanings, groups=groups).best_estimator_


def features(rows: Sequence[TemplateRow], encode: Encoder, scaler: Any) -> Any:
    """float (rows, n): the vectors of a row's texts; of a pair also their product, and how far they overlap, scaled."""
    import numpy as np
    from scipy import sparse

    parts = [encode(texts) for texts in zip(*(row.texts() for row in rows), strict=True)]
    if len(parts) == 2:
        overlap = scaler.transform(overlaps(rows, encode))
        parts += [parts[0] * parts[1], sparse.csr_array(overlap) if sparse.issparse(parts[0]) else overlap]
    return sparse.hstack(parts).tocsr() if sparse.issparse(parts[0]) else np.hstack(parts)


def overlaps(rows: Sequence[TemplateRow], encode: Encoder) -> Any:
    """float (rows, 6) of rows with two texts: cosine, the share of each one's words in the other, whether all of the
    first's are, and how many words each has. Zeros where there are not two."""
    import numpy as np

    pairs = [row.texts() for row in rows]
    if any(len(pair) != 2 for pair in pairs):
        return np.zeros((len(rows), 6))
    found = []
    for one, other in pairs:
        first, second = (set(words_of(text)) for text in (one, other))
        shared = len(first & second)
        found.append([shared / max(len(first), 1), shared / max(len(second), 1), first <= second, len(first), len(second)])
    cosines = (encode([one for one, _ in pairs]) * encode([other for _, other in pairs])).sum(axis=1)
    return np.column_stack([np.asarray(cosines).ravel(), np.array(found, float)])


def rank(rows: Sequence[TemplateRow], weigh: Ranker) -> list[str]:
    """All numbers of the list, the text that fits the question best first."""
    return [row.render(by_weight(weigh("\n".join(row.texts()), row.candidates()))) for row in rows]


def generate(train: Sequence[TemplateRow], rows: Sequence[TemplateRow], encode: Encoder) -> list[str]:
    """What is right more often on the train rows: the answer of the row that is most alike, or the first words of a text in
    the prompt."""
    known = nearest_completions(train, train, encode, other_groups=True)
    ways = {0: mean(scores_of(train, known))} | {
        words: mean(scores_of(train, copied_words(train, encode, words))) for words in COPIED_WORDS
    }
    best = max(ways, key=lambda words: ways[words])
    return copied_words(rows, encode, best) if best else nearest_completions(train, rows, encode)


def nearest_completions(
    train: Sequence[TemplateRow], rows: Sequence[TemplateRow], encode: Encoder, other_groups: bool = False
) -> list[str]:
    """The answer of the train row whose prompt says most nearly the same; nothing where there is none of another group."""
    import numpy as np

    known, vectors = (encode(["\n".join(one.texts()) for one in each]) for each in (train, rows))
    alike = dense(vectors @ known.T)
    if other_groups:
        alike = np.where([[row.group == other.group for other in train] for row in rows], -1, alike)
    nearest = np.argmax(alike, axis=1)
    return [train[place].completion if each[place] >= 0 else "" for place, each in zip(nearest, alike, strict=True)]


def copied_words(rows: Sequence[TemplateRow], encode: Encoder, words: int) -> list[str]:
    """So many words of the line in the prompt's last text that is most like the question, or else like the other lines."""
    found = []
    for row in rows:
        *before, text = row.texts()
        lines = text.split("\n")
        weights = similarity("\n".join(before) or text, lines, encode)
        found.append(" ".join(lines[by_weight(weights)[0] - 1].split()[:words]))
    return found


def scores_of(rows: Sequence[TemplateRow], texts: Sequence[str]) -> list[float]:
    return [score_completion(row.task, text, row.answer) for row, text in zip(rows, texts, strict=True)]
