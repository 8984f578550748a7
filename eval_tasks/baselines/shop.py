"""What a language model has to beat: guessing, the commonest answer, word overlap, and TF-IDF or sentence embeddings under a
linear model.

Every baseline sees the rows to train on that the model sees and answers as it does, with a text that the task's own parser
reads. What a prompt says in words, such as which number stands for which statement, a baseline is told as a fact.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import mean
from typing import Any

from common.scoring import expected_ndcg, score_completion
from eval_tasks.baselines.encoders import Encoder, Ranker, bm25, dense, encoder, heaviest_first, likeness, words_of
from eval_tasks.baselines.template_rows import Question

BASELINES = ("random", "majority", "tfidf", "bm25", "minilm")


STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0)
"""C of the logistic regression; cross-validation on the rows to train on chooses."""

COPIED_WORDS = (2, 3, 4, 5, 6, 8, 12, 100)
"""How many words of a text may be copied; the train rows choose."""

FOLDS = 4
LEAST_FOR_FOLDS = 40
"""Rows below which there is no cross-validation, and C is the middle one."""


def answers(name: str, train: Sequence[Question], questions: Sequence[Question], seed: int = 0) -> list[str] | None:
    """What a baseline says to questions of one task, or None where it has no answer. `train`: rows of the same task."""
    family = questions[0].task.family
    if name == "random":
        return guesses(train, questions, seed)
    if name == "majority":
        return commonest(train, questions)
    if not train or (name == "bm25" and family not in ("ranking", "retrieval")):
        return None
    texts = texts_of(train)
    if name == "bm25":
        return rank(questions, bm25(texts))
    return learnt(train, questions, encoder(name, texts))


def texts_of(rows: Sequence[Question]) -> list[str]:
    """Every text of the rows, repeated ones too: what is in many rows tells little."""
    return [text for row in rows for text in (*row.about(), *row.listed())]


# --- Without reading ---


def guesses(train: Sequence[Question], questions: Sequence[Question], seed: int) -> list[str] | None:
    """A label or an order, each as likely as any other, or the text of a train row; None where there is none to take.

    A row's guess depends on the seed and its prompt only, so that it is the same whichever other rows are asked.
    """
    if not train and questions[0].task.family == "generation":
        return None
    return [_guess(train, asked, random.Random(f"{seed} {asked.prompt}")) for asked in questions]


def _guess(train: Sequence[Question], asked: Question, rng: random.Random) -> str:
    if asked.task.family == "generation":
        return rng.choice(train).completion
    count = len(asked.listed())
    if asked.task.family == "multiple_choice":
        return asked.task.labels[rng.randrange(count)]
    return asked.text(rng.sample(range(1, count + 1), count))


def guess_scores(train: Sequence[Question], questions: Sequence[Question], seed: int) -> list[float]:
    """What `guesses` scores: the expected value over all seeds; of generation, that of this seed."""
    scores = []
    for asked in questions:
        match asked.task.family:
            case "multiple_choice":
                score = 1 / len(asked.listed())
            case "ranking":
                score = expected_ndcg(asked.answer)
            case "retrieval":
                score = len(asked.answer) / max(len(asked.listed()), 1)
            case "generation":
                said = guesses(train, [asked], seed)
                score = score_completion(asked.task, said[0], asked.answer) if said else 0.0
        scores.append(score)
    return scores


def commonest(train: Sequence[Question], questions: Sequence[Question]) -> list[str] | None:
    """The answer that most train rows have: a label or the statement that it stands for, the texts that were right most
    often, or a text. None for a ranking, of which no order is commoner than another."""
    family = questions[0].task.family
    if family == "ranking" or not train:
        return None
    if family == "generation":
        return [Counter(row.completion for row in train).most_common(1)[0][0]] * len(questions)
    if family == "multiple_choice":
        counts = Counter(row.meant() for row in train)
        return [_label(asked, [counts[meaning] for meaning in asked.listed()]) for asked in questions]
    counts = Counter(row.listed()[number - 1] for row in train for number in row.answer if number <= len(row.listed()))
    return [asked.text(heaviest_first([counts[text] for text in asked.listed()])) for asked in questions]


def _label(asked: Question, weights: Sequence[float]) -> str:
    return max(zip(asked.task.labels, weights, strict=False), key=lambda pair: pair[1])[0]


# --- With reading ---


def learnt(train: Sequence[Question], questions: Sequence[Question], encode: Encoder) -> list[str]:
    """An answer to each question of one task, learnt from the train rows of that task (at least one)."""
    family = questions[0].task.family
    if family == "multiple_choice":
        return classify(train, questions, encode)
    if family == "generation":
        return write(train, questions, encode)
    return rank(questions, partial(likeness, encode=encode))


def classify(train: Sequence[Question], questions: Sequence[Question], encode: Encoder) -> list[str]:
    """Logistic regression from a question's texts to what its label stands for, then the likeliest of what it lists."""
    import numpy as np

    meanings = np.array([row.meant() for row in train])
    if len(set(meanings)) < 2:
        return commonest(train, questions) or []
    shape = _Scale.of(overlaps(train, encode))
    model = _fitted(features(train, encode, shape), meanings, [row.group for row in train])
    place = {meaning: number for number, meaning in enumerate(model.classes_)}
    chances = model.predict_proba(features(questions, encode, shape))
    return [
        _label(asked, [row[place[meaning]] if meaning in place else 0.0 for meaning in asked.listed()])
        for asked, row in zip(questions, chances, strict=True)
    ]


def _fitted(matrix: Any, meanings: Any, groups: Sequence[str]) -> Any:
    """The regression of that C which is right most often on groups that it has not seen."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, GroupKFold

    model = LogisticRegression(C=STRENGTHS[len(STRENGTHS) // 2], max_iter=200, tol=1e-3)
    if len(meanings) < LEAST_FOR_FOLDS or len(set(groups)) < FOLDS:
        return model.fit(matrix, meanings)
    return GridSearchCV(model, {"C": STRENGTHS}, cv=GroupKFold(FOLDS)).fit(matrix, meanings, groups=groups).best_estimator_


@dataclass(frozen=True)
class _Scale:
    """Means and deviations of the train rows' overlaps."""

    means: Any
    deviations: Any

    @classmethod
    def of(cls, numbers: Any) -> "_Scale":
        deviations = numbers.std(axis=0)
        return cls(numbers.mean(axis=0), deviations + (deviations == 0))


def features(rows: Sequence[Question], encode: Encoder, scale: _Scale) -> Any:
    """float (rows, n): the vectors of a row's texts; of a pair also their product, and how far they overlap."""
    import numpy as np
    from scipy import sparse

    parts = [encode(texts) for texts in zip(*(row.about() for row in rows), strict=True)]
    if len(parts) == 2:
        overlap = (overlaps(rows, encode) - scale.means) / scale.deviations
        parts += [parts[0] * parts[1], sparse.csr_array(overlap) if sparse.issparse(parts[0]) else overlap]
    return sparse.hstack(parts).tocsr() if sparse.issparse(parts[0]) else np.hstack(parts)


def overlaps(rows: Sequence[Question], encode: Encoder) -> Any:
    """float (rows, 6) of rows with two texts: cosine, the share of each one's words in the other, whether all of the
    first's are, and how many words each has. Zeros where there are not two."""
    import numpy as np

    pairs = [row.about() for row in rows]
    if any(len(pair) != 2 for pair in pairs):
        return np.zeros((len(rows), 6))
    found = []
    for one, other in pairs:
        first, second = (set(words_of(text)) for text in (one, other))
        shared = len(first & second)
        found.append([shared / max(len(first), 1), shared / max(len(second), 1), first <= second, len(first), len(second)])
    cosines = (encode([one for one, _ in pairs]) * encode([other for _, other in pairs])).sum(axis=1)
    return np.column_stack([np.asarray(cosines).ravel(), np.array(found, float)])


def rank(questions: Sequence[Question], weigh: Ranker) -> list[str]:
    """All numbers of the list, the text that fits the question best first."""
    return [asked.text(heaviest_first(weigh("\n".join(asked.about()), asked.listed()))) for asked in questions]


def write(train: Sequence[Question], questions: Sequence[Question], encode: Encoder) -> list[str]:
    """What is right more often on the train rows: the answer of the row that is most alike, or the first words of a text in
    the prompt."""
    known = recall(train, train, encode, other_groups=True)
    ways = {0: mean(scores_of(train, known))} | {
        words: mean(scores_of(train, copy(train, encode, words))) for words in COPIED_WORDS
    }
    best = max(ways, key=lambda words: ways[words])
    return copy(questions, encode, best) if best else recall(train, questions, encode)


def recall(train: Sequence[Question], questions: Sequence[Question], encode: Encoder, other_groups: bool = False) -> list[str]:
    """The answer of the train row whose prompt says most nearly the same; nothing where there is none of another group."""
    import numpy as np

    known, asked = (encode(["\n".join(row.about()) for row in rows]) for rows in (train, questions))
    alike = dense(asked @ known.T)
    if other_groups:
        alike = np.where([[row.group == other.group for other in train] for row in questions], -1, alike)
    nearest = np.argmax(alike, axis=1)
    return [train[place].completion if row[place] >= 0 else "" for place, row in zip(nearest, alike, strict=True)]


def copy(questions: Sequence[Question], encode: Encoder, words: int) -> list[str]:
    """So many words of the line in the prompt's last text that is most like the question, or else like the other lines."""
    found = []
    for asked in questions:
        *before, text = asked.about()
        lines = text.split("\n")
        weights = likeness("\n".join(before) or text, lines, encode)
        found.append(" ".join(lines[heaviest_first(weights)[0] - 1].split()[:words]))
    return found


def scores_of(rows: Sequence[Question], texts: Sequence[str]) -> list[float]:
    return [score_completion(row.task, text, row.answer) for row, text in zip(rows, texts, strict=True)]
