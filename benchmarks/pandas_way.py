"""Two tasks as one would write them in a notebook: pandas, a loop where the work is per group, everything in memory.

The filters are those of the recipes `query_relation` and `query_product_ranking`. What is drawn within them differs, since
pandas draws by its own `random_state`. Where a corpus judges a query's product twice, the first judgment stays.
"""

from itertools import combinations
from pathlib import Path
from random import Random

import pandas as pd

from common.tasks import GAINS
from dataset_builders.recipes.multiple_choice import FEWEST_QUERIES, RELATION_OF_QUERIES
from dataset_builders.splits import TEST_SHARE
from dataset_builders.tables import LABELS

PRODUCT = ["product_id", "locale", "source"]
QUERY = ["query", "locale", "source"]


def read_judgments(folder: Path) -> pd.DataFrame:
    """Judgments with the query in lower case, each query and product once."""
    judgments = pd.read_parquet(folder / "judgments.parquet", columns=[*PRODUCT, "query", "label"])
    judgments["query"] = judgments["query"].str.strip().str.lower()
    return judgments.drop_duplicates(["query", *PRODUCT])


def query_pairs(folder: Path) -> pd.DataFrame:
    """Every unordered pair of queries that share a product which is exact for one: `query, other_query, locale, label`."""
    judgments = read_judgments(folder)
    judgments = judgments[judgments.groupby(PRODUCT)["query"].transform("size") >= FEWEST_QUERIES]
    seen, rows = set(), []
    for (_, locale, _), judged in judgments.groupby(PRODUCT, sort=False):
        for (query, label), (other, other_label) in combinations(zip(judged["query"], judged["label"], strict=True), 2):
            pair = (locale, query, other) if query < other else (locale, other, query)
            if "exact" not in (label, other_label) or pair in seen:
                continue
            seen.add(pair)
            rows.append((query, other, locale, other_label) if label == "exact" else (other, query, locale, label))
    return pd.DataFrame(rows, columns=["query", "other_query", "locale", "label"])


def query_relation(folder: Path, limit: int, seed: int) -> pd.DataFrame:
    """Rows `query, other_query, options, answer`, as many of each relation as there are, up to `limit` in all."""
    pairs = query_pairs(folder)
    queries = pd.Series(pd.unique(pairs["query"]))
    tested = queries.sample(frac=TEST_SHARE, random_state=seed)
    pairs = pairs[pairs["query"].isin(tested) | ~pairs["other_query"].isin(tested)]
    pairs = pairs.sample(frac=1, random_state=seed)
    # The n-th of each label before the (n + 1)-th of any.
    turn = pairs.groupby("label").cumcount()
    rows = pairs.loc[turn.sort_values(kind="stable").index[:limit]].reset_index(drop=True)
    random = Random(seed)
    rows["options"] = [random.sample(list(RELATION_OF_QUERIES.values()), len(RELATION_OF_QUERIES)) for _ in range(len(rows))]
    relations = rows["label"].map(RELATION_OF_QUERIES)
    rows["answer"] = [options.index(relation) for options, relation in zip(rows["options"], relations, strict=True)]
    return rows[["query", "other_query", "options", "answer"]]


def rankable(folder: Path, seed: int) -> pd.DataFrame:
    """Judgments with `title` of the queries that have all four labels and more products of distinct titles than that."""
    products = pd.read_parquet(folder / "products.parquet", columns=[*PRODUCT, "title"]).drop_duplicates(PRODUCT)
    judgments = read_judgments(folder).merge(products, on=PRODUCT)
    judgments = judgments.sample(frac=1, random_state=seed)
    judgments = judgments[~judgments.assign(title=judgments["title"].str.lower()).duplicated([*QUERY, "title"])]
    labels = judgments.groupby(QUERY)["label"]
    return judgments[(labels.transform("nunique") == len(LABELS)) & (labels.transform("size") > len(LABELS))]


def query_product_ranking(folder: Path, limit: int, seed: int) -> pd.DataFrame:
    """Rows `query, products, answer` with one product of each label and a fifth, for up to `limit` queries."""
    judgments = rankable(folder, seed)
    asked = judgments[QUERY].drop_duplicates().sample(frac=1, random_state=seed)[:limit]
    judgments = judgments.merge(asked, on=QUERY)
    of_each_label = judgments.groupby([*QUERY, "label"]).sample(1, random_state=seed)
    fifth = judgments.drop(of_each_label.index).groupby(QUERY).sample(1, random_state=seed)
    chosen = pd.concat([of_each_label, fifth]).sample(frac=1, random_state=seed)
    chosen["gain"] = chosen["label"].map(GAINS)
    return chosen.groupby(QUERY).agg(products=("title", list), answer=("gain", list)).reset_index()
