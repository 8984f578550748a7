"""The sample corpora: the real formats, the same bytes for the same seed, and texts from which the tasks can be learned."""

import gzip
import hashlib
import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from dataset_builders.sample_corpora import LARGEST_SCALE, SMALLEST_SCALE, main, plan, write_corpora
from dataset_builders.samples.catalog import LOCALES, Product, categories, kits, topics
from dataset_builders.samples.files import SAMPLE_MARKER, asin

REPOSITORY = Path(__file__).parents[2]
SMALL = 0.002

REVIEW_KEYS = {
    *("overall", "vote", "verified", "reviewTime", "reviewerID", "asin"),
    *("style", "reviewerName", "reviewText", "summary", "unixReviewTime"),
}
META_KINDS = {
    **dict.fromkeys(("category", "description", "also_buy", "feature", "also_view", "imageURL", "imageURLHighRes"), list),
    **dict.fromkeys(("tech1", "fit", "title", "tech2", "brand", "main_cat", "similar_item", "date", "price", "asin"), str),
    "rank": (str, list),
    "details": dict,
}
INT, FLOAT, STRING = pa.int64(), pa.float64(), pa.string()
EXAMPLES_SCHEMA = pa.schema(
    [
        ("example_id", INT),
        ("query", STRING),
        ("query_id", INT),
        ("product_id", STRING),
        ("product_locale", STRING),
        ("esci_label", STRING),
        ("small_version", INT),
        ("large_version", INT),
        ("split", STRING),
    ]
)
PRODUCTS_SCHEMA = pa.schema(
    [
        ("product_id", STRING),
        ("product_title", STRING),
        ("product_description", STRING),
        ("product_bullet_point", STRING),
        ("product_brand", STRING),
        ("product_color", STRING),
        ("product_locale", STRING),
    ]
)
EVENTS_SCHEMA = pa.schema(
    [
        ("user_id", INT),
        ("stime", pa.timestamp("us")),
        ("session_id", STRING),
        ("sequence_id", STRING),
        ("sequence_length", INT),
        ("event_id", STRING),
        ("item_id", INT),
        ("product_id", STRING),
        ("name", STRING),
        ("price", FLOAT),
        ("c0_name", STRING),
        ("c0_id", INT),
        ("c1_name", STRING),
        ("c1_id", FLOAT),
        ("c2_name", STRING),
        ("c2_id", FLOAT),
        ("brand_name", STRING),
        ("brand_id", INT),
        ("item_condition_id", INT),
        ("item_condition_name", STRING),
        ("size_name", STRING),
        ("size_id", FLOAT),
        ("color", STRING),
        ("shipper_id", INT),
        ("shipper_name", STRING),
    ]
)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    out = tmp_path_factory.mktemp("samples") / "raw"
    write_corpora(out, 0.01, seed=0, processes=2)
    return out


def lines(path):
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def reviews(sample):
    return [review for path in sorted((sample / "amazon_reviews_2018").glob("*_5.json.gz")) for review in lines(path)]


def judgments(sample, locale="us"):
    """Judged products with their titles, by query text."""
    products = pq.read_table(sample / "esci/shopping_queries_dataset_products.parquet").to_pylist()
    titles = {(product["product_id"], product["product_locale"]): product["product_title"] for product in products}
    judged = defaultdict(list)
    for example in pq.read_table(sample / "esci/shopping_queries_dataset_examples.parquet").to_pylist():
        if example["product_locale"] == locale:
            judged[example["query"]].append(
                (titles[example["product_id"], locale], example["esci_label"], example["product_id"])
            )
    return judged


def share_of_words(text, other):
    """The share of the shorter text's words that the other has too."""
    first, second = (set(re.findall(r"\w+", each.lower())) for each in (text, other))
    return len(first & second) / min(len(first), len(second))


def digests(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


class TestBytes:
    @pytest.fixture(scope="class")
    def first(self, tmp_path_factory):
        out = tmp_path_factory.mktemp("bytes") / "first"
        write_corpora(out, SMALL, seed=3, processes=1)
        return out

    def test_are_the_same_for_the_same_seed_whatever_the_number_of_processes(self, first, tmp_path):
        write_corpora(tmp_path / "again", SMALL, seed=3, processes=2)
        assert digests(tmp_path / "again") == digests(first)

    def test_of_every_file_differ_for_another_seed(self, first, tmp_path):
        write_corpora(tmp_path / "other", SMALL, seed=4, processes=1)
        old, new = digests(first), digests(tmp_path / "other")
        assert old.keys() == new.keys()
        assert not [path for path in old if old[path] == new[path]]

    def test_do_not_hold_the_time_of_writing(self, first):
        for path in first.rglob("*.gz"):
            assert path.read_bytes()[3:8] == bytes(5), "flags and time in the gzip header"


class TestFolder:
    def test_has_the_layout_of_the_real_corpora(self, sample):
        assert {path.name for path in sample.iterdir()} == {
            *("amazon_reviews_2018", "esci", "merrec", "amazonqa", "ecinstruct"),
            SAMPLE_MARKER,
        }
        assert len(list(sample.glob("amazon_reviews_2018/meta_*.json.gz"))) == 32
        assert len(list(sample.glob("amazon_reviews_2018/*_5.json.gz"))) == 32
        assert (sample / "merrec/20230501/part-000.parquet").is_file()
        assert {path.name for path in sample.glob("amazonqa/*")} == {f"{split}-qar.jsonl" for split in ("train", "val", "test")}

    def test_has_a_marker_that_counts_the_records_of_every_file(self, sample):
        marker = json.loads((sample / SAMPLE_MARKER).read_text())
        assert marker["generator"] == "dataset_builders.sample_corpora"
        assert (marker["seed"], marker["scale"], marker["licence"]) == (0, 0.01, "Apache-2.0")
        assert marker["records"].keys() == digests(sample).keys() - {SAMPLE_MARKER}
        for path, number in marker["records"].items():
            file = sample / path
            if file.suffix == ".parquet":
                assert pq.read_metadata(file).num_rows == number
            else:
                assert len(json.loads(file.read_text()) if file.suffix == ".json" else lines(file)) == number

    def test_has_records_in_proportion_to_the_scale(self, sample):
        records = json.loads((sample / SAMPLE_MARKER).read_text())["records"]
        assert records["amazon_reviews_2018/All_Beauty_5.json.gz"] == 500
        assert records["amazon_reviews_2018/meta_All_Beauty.json.gz"] == pytest.approx(300, rel=0.05)
        assert records["amazonqa/train-qar.jsonl"] == 1600
        assert records["ecinstruct/ecinstruct.json"] == 1165
        assert records["merrec/20230501/part-000.parquet"] == pytest.approx(4650, rel=0.05)
        assert records["esci/shopping_queries_dataset_examples.parquet"] == pytest.approx(14_000 * 1.2, rel=0.05)
        assert records["esci/shopping_queries_dataset_products.parquet"] == pytest.approx(8_000 * 1.2, rel=0.02)

    def test_replaces_an_earlier_sample_folder(self, tmp_path):
        out = tmp_path / "raw"
        write_corpora(out, SMALLEST_SCALE, seed=0, processes=1)
        (out / "stale").touch()
        write_corpora(out, SMALLEST_SCALE, seed=1, processes=1)
        assert json.loads((out / SAMPLE_MARKER).read_text())["seed"] == 1
        assert not (out / "stale").exists()
        assert list(tmp_path.iterdir()) == [out]

    @pytest.mark.parametrize("polite", [signal.SIGINT, signal.SIGTERM])
    def test_leaves_nothing_behind_when_interrupted(self, tmp_path, polite):
        command = [sys.executable, "-m", "dataset_builders.sample_corpora", "--out", str(tmp_path / "raw"), "--scale", "1"]
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            deadline = time.monotonic() + 60
            while not any(path.stat().st_size for path in tmp_path.rglob("*.parquet")) and time.monotonic() < deadline:
                time.sleep(0.05)
            process.send_signal(polite)
            output, _ = process.communicate(timeout=60)
        finally:
            process.kill()
        assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[polite]
        assert list(tmp_path.iterdir()) == []
        assert "Traceback" not in output

    def test_workers_end_when_their_parent_is_killed(self, tmp_path):
        """One that went on would write into the folder of the next run."""
        command = [sys.executable, "-m", "dataset_builders.sample_corpora", "--out", tmp_path / "raw", "--processes", "2"]
        process = subprocess.Popen([*command, "--scale", "1"], cwd=REPOSITORY, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size for path in tmp_path.rglob("*.parquet")) and time.monotonic() < deadline:
            time.sleep(0.05)
        workers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        assert len(workers) >= 2
        assert psutil.wait_procs(workers, timeout=20)[1] == []


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--scale", "0"], "--scale is 0; give a number from"),
            (["--scale", "-1"], "--scale is -1; give"),
            (["--scale", "nan"], "--scale is nan; give"),
            (["--scale", str(LARGEST_SCALE * 2)], "--scale is 20; give"),
            (["--scale", "much"], "invalid float value: 'much'"),
            (["--processes", "0"], "--processes is 0; give 1 or more"),
            (["--seed", "x"], "invalid int value: 'x'"),
        ],
    )
    def test_is_told_in_a_sentence_and_nothing_is_written(self, tmp_path, capsys, arguments, message):
        with pytest.raises(SystemExit) as exit_:
            main(["--out", str(tmp_path / "raw"), *arguments])
        assert exit_.value.code == 2
        assert message in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_with_something_else_is_refused_and_kept(self, tmp_path):
        (tmp_path / "thesis.txt").write_text("mine")
        with pytest.raises(UserError, match="something else than sample corpora"):
            write_corpora(tmp_path, SMALLEST_SCALE, seed=0, processes=1)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]

    def test_a_folder_with_a_foreign_or_broken_marker_is_refused(self, tmp_path):
        for content in ("{", "[]", '{"generator": "another"}'):
            (tmp_path / SAMPLE_MARKER).write_text(content)
            with pytest.raises(UserError, match="something else"):
                write_corpora(tmp_path, SMALLEST_SCALE, seed=0, processes=1)

    def test_a_file_in_the_way_is_refused(self, tmp_path):
        (tmp_path / "raw").write_text("mine")
        with pytest.raises(UserError, match="is not a folder"):
            write_corpora(tmp_path / "raw", SMALLEST_SCALE, seed=0, processes=1)
        with pytest.raises(UserError, match="cannot be written"):
            write_corpora(tmp_path / "raw" / "below", SMALLEST_SCALE, seed=0, processes=1)


class TestAmazonReviews:
    def test_reviews_have_the_real_keys_and_types(self, sample):
        for review in reviews(sample):
            assert review.keys() <= REVIEW_KEYS
            assert isinstance(review["overall"], float)
            assert isinstance(review["verified"], bool)
            assert isinstance(review["unixReviewTime"], int)
            assert re.fullmatch(r"\d\d \d{1,2}, 20\d\d", review["reviewTime"])
            assert re.fullmatch(r"[\d,]+", review.get("vote", "1"))
            assert all(key.endswith(":") and value.startswith(" ") for key, value in review.get("style", {}).items())

    def test_reviews_have_every_rating_and_mostly_five_stars_in_each_category(self, sample):
        for path in sample.glob("amazon_reviews_2018/*_5.json.gz"):
            shares = Counter(review["overall"] for review in lines(path))
            assert shares.keys() == {1.0, 2.0, 3.0, 4.0, 5.0}
            assert 0.5 < shares[5.0] / shares.total() < 0.7

    def test_reviews_have_the_flaws_that_a_build_must_cope_with(self, sample):
        found = reviews(sample)
        texts = Counter(review.get("reviewText") for review in found)
        assert texts.pop(None) > 0
        assert sum(number - 1 for number in texts.values()) > 0.01 * len(found)
        assert sum(review.get("summary") == "Five Stars" for review in found) > 0.02 * len(found)
        assert sum("reviewText" in review and "Five Stars" in review["reviewText"] for review in found) > 0

    def test_a_bag_of_words_tells_the_rating_of_most_unseen_reviews(self, sample):
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression

        by_rating = defaultdict(dict)
        for review in reviews(sample):
            if "reviewText" in review and "Star" not in review["reviewText"]:
                by_rating[review["overall"]].setdefault(review["reviewText"])
        rows = [(text, rating) for rating, texts in by_rating.items() for text in list(texts)[:600]]
        rows.sort(key=lambda row: hashlib.md5(row[0].encode()).digest())
        texts, ratings = zip(*rows, strict=True)
        half = len(rows) // 2
        words = CountVectorizer(ngram_range=(1, 2)).fit(texts[:half])
        model = LogisticRegression(max_iter=300).fit(words.transform(texts[:half]), ratings[:half])
        accuracy = model.score(words.transform(texts[half:]), ratings[half:])
        assert 0.4 < accuracy < 0.8, "learnable, but not given away"

    def test_products_have_the_real_keys_and_types(self, sample):
        for path in sample.glob("amazon_reviews_2018/meta_*.json.gz"):
            for product in lines(path):
                assert product.keys() == META_KINDS.keys()
                assert all(isinstance(product[key], kind) for key, kind in META_KINDS.items())

    def test_links_mostly_resolve_and_join_what_belongs_together(self, sample):
        everything = [product for path in sample.glob("amazon_reviews_2018/meta_*.json.gz") for product in lines(path)]
        products = {product["asin"]: product for product in everything}
        partners = {kit.name: kit.partners for kit in kits()}
        own = [product for product in products.values() if product["main_cat"] == "Pet Supplies"]
        links = [(product, other) for product in own for other in product["also_buy"]]
        bought = [(product, products[other]) for product, other in links if other in products]
        assert 0.85 < len(bought) / len(links) < 1
        for product, other in bought:
            kit = product["category"][1]
            assert other["category"][1] in (kit, *partners[kit]), "of the same kit, or of one that goes with it"
        elsewhere = sum(product["main_cat"] != other["main_cat"] for product, other in bought)
        assert 0.1 < elsewhere / len(bought) < 0.5
        for product in own:
            alternatives = [products[other] for other in product["also_view"] if other in products]
            assert all(other["category"][:2] == product["category"][:2] for other in alternatives)
            for other in re.findall(r"/dp/(\w{10})/", product["similar_item"]):
                assert products[other]["category"] == product["category"]
                assert products[other]["brand"] == product["brand"]

    def test_products_viewed_together_share_more_words_than_those_bought_together(self, sample):
        products = {
            product["asin"]: product
            for path in sample.glob("amazon_reviews_2018/meta_*.json.gz")
            for product in lines(path)
            if not product["title"].startswith("<span")
        }

        def overlap(relation):
            shares = [
                share_of_words(product["title"], products[other]["title"])
                for product in products.values()
                for other in product[relation]
                if other in products
            ]
            return sum(shares) / len(shares)

        bought, viewed = overlap("also_buy"), overlap("also_view")
        assert bought < 0.2
        assert 0.25 < viewed < 0.45

    def test_products_have_junk_titles_and_duplicates_and_hold_all_that_is_reviewed(self, sample):
        found = [product for path in sample.glob("amazon_reviews_2018/meta_*.json.gz") for product in lines(path)]
        asins = Counter(product["asin"] for product in found)
        assert 0 < sum(product["title"].startswith("<span") for product in found) < 0.05 * len(found)
        assert 0 < len(found) - len(asins) < 0.05 * len(found)
        assert {review["asin"] for review in reviews(sample)} <= asins.keys()


class TestEsci:
    def test_files_have_the_real_schemas(self, sample):
        assert pq.read_schema(sample / "esci/shopping_queries_dataset_examples.parquet").equals(EXAMPLES_SCHEMA)
        assert pq.read_schema(sample / "esci/shopping_queries_dataset_products.parquet").equals(PRODUCTS_SCHEMA)

    def test_ids_are_unique_and_values_those_of_the_corpus(self, sample):
        examples = pq.read_table(sample / "esci/shopping_queries_dataset_examples.parquet").to_pylist()
        products = pq.read_table(sample / "esci/shopping_queries_dataset_products.parquet").to_pylist()
        assert len({example["example_id"] for example in examples}) == len(examples)
        assert len({(example["query_id"], example["product_id"]) for example in examples}) == len(examples)
        assert len({product["product_id"] for product in products}) == len(products)
        assert {example["split"] for example in examples} == {"train", "test"}
        assert {example["small_version"] for example in examples} == {0, 1}
        assert Counter(example["product_locale"] for example in examples).keys() == set(LOCALES)

    def test_labels_have_realistic_shares_and_many_queries_have_all_four(self, sample):
        judged = judgments(sample)
        shares = Counter(label for products in judged.values() for _, label, _ in products)
        for label, share in {"E": 0.65, "S": 0.22, "C": 0.03, "I": 0.10}.items():
            assert shares[label] / shares.total() == pytest.approx(share, abs=0.04)
        complete = [query for query, products in judged.items() if len({label for _, label, _ in products}) == 4]
        assert len(complete) > 0.3 * len(judged)

    def test_many_products_are_judged_for_more_than_five_queries(self, sample):
        judged = Counter(product for products in judgments(sample).values() for _, _, product in products)
        assert sum(number > 5 for number in judged.values()) > 0.05 * len(judged)

    def test_words_alone_do_not_decide_what_a_label_is(self, sample):
        """In real pairs the share of common words has an AUC of about 0.7 for exact ones."""
        from sklearn.metrics import roc_auc_score

        judged = judgments(sample)
        pairs = [(share_of_words(query, title), label) for query, found in judged.items() for title, label, _ in found]
        shares, labels = zip(*pairs, strict=True)
        assert 0.6 < roc_auc_score([label == "E" for label in labels], shares) < 0.8
        assert 0.65 < roc_auc_score([label != "I" for label in labels], shares) < 0.85

    def test_complements_are_other_types_of_the_kit_or_accessories_which_share_words_with_the_query(self, sample):
        judged = judgments(sample)
        accessories = {accessory for kit in kits() for type_ in kit.types for accessory in type_.accessories}

        def shares(label):
            return [
                (any(accessory.lower() in title.lower() for accessory in accessories), share_of_words(query, title))
                for query, found in judged.items()
                for title, own, _ in found
                if own == label
            ]

        complements = shares("C")
        assert 0.2 < sum(accessory for accessory, _ in complements) / len(complements) < 0.8
        assert sum(share > 0 for accessory, share in complements if accessory) > 0.05 * len(complements)
        assert sum(accessory for accessory, _ in shares("E")) < 0.05 * len(shares("E"))

    def test_queries_are_of_many_kinds(self, sample):
        queries = list(judgments(sample))
        names = sorted({name.lower() for kit in kits() for type_ in kit.types for name in type_.names}, key=len, reverse=True)
        nouns = {noun.lower() for kit in kits() for type_ in kit.types for noun in type_.nouns}
        said = [next((name for name in names if name in query), None) for query in queries]
        known = [name for name in said if name]
        assert 0.85 < len(known) / len(queries) < 1, "the others are misspelt, or name a brand and its line only"
        assert 0.3 < sum(name in nouns for name in known) / len(known) < 0.8, "the others use another name"
        assert 0.05 < sum(" for " in query for query in queries) / len(queries) < 0.3


class TestMerrec:
    @pytest.fixture(scope="class")
    def sessions(self, sample):
        table = pq.read_table(sample / "merrec/20230501/part-000.parquet")
        assert table.schema.equals(EVENTS_SCHEMA)
        found = defaultdict(list)
        for event in table.to_pylist():
            found[event["session_id"]].append(event)
        return list(found.values())

    def test_sessions_are_in_order_and_count_their_users_events(self, sessions):
        of_user = Counter(event["user_id"] for session in sessions for event in session)
        for session in sessions:
            times = [event["stime"] for event in session]
            assert times == sorted(set(times))
            assert 7 <= len(session) <= 24
            assert {event["sequence_length"] for event in session} == {of_user[session[0]["user_id"]]}

    def test_sessions_narrow_down_to_a_matching_set_of_their_kit_or_of_one_that_goes_with_it(self, sessions):
        same_brand = changed = 0
        partners = {kit.name: kit.partners for kit in kits()}
        for session in sessions:
            first, last = session[0]["c1_name"], session[-1]["c1_name"]
            assert {event["c1_name"] for event in session} == {first, last}
            assert last in (first, *partners[first])
            changed += last != first
            brands = [event["brand_name"] for event in session[-5:] if event["brand_name"] and event["c1_name"] == last]
            same_brand += len(brands) > 0 and Counter(brands).most_common(1)[0][1] / len(brands) >= 0.6
        assert same_brand > 0.8 * len(sessions)
        assert 0.15 < changed / len(sessions) < 0.45

    def test_events_are_the_six_of_the_corpus_and_an_item_is_always_the_same(self, sessions):
        events = [event for session in sessions for event in session]
        assert {event["event_id"] for event in events} == {
            *("item_view", "item_like", "item_add_to_cart_tap", "offer_make", "buy_start", "buy_comp")
        }
        assert len({event["item_id"] for event in events}) == len({(event["item_id"], event["name"]) for event in events})


class TestAmazonqa:
    @pytest.fixture(scope="class")
    def questions(self, sample):
        return lines(sample / "amazonqa/train-qar.jsonl")

    def test_questions_have_the_real_keys_and_types(self, questions):
        for question in questions:
            assert question.keys() == {
                *("asin", "category", "questionText", "questionType"),
                *("review_snippets", "answers", "is_answerable", "qid"),
            }
            assert question["is_answerable"] in (0, 1)
            assert isinstance(question["qid"], str)
            assert 3 <= len(question["review_snippets"]) <= 8
            assert question["answers"]
            for answer in question["answers"]:
                assert answer.keys() == {"answerText", "answerType", "helpful"}
                assert len(answer["answerText"].split()) <= 12
        assert 0.5 < sum(question["is_answerable"] for question in questions) / len(questions) < 0.7

    def test_snippets_tell_the_first_answer_exactly_where_a_question_is_answerable(self, questions):
        types = [type_ for kit in kits() for type_ in kit.types]
        nouns = {noun for type_ in types for noun in (type_.nouns[0], *type_.accessories)}
        nouns = sorted(nouns, key=len, reverse=True)
        asked = {text: topic for topic in topics().values() for text in topic.asked}
        for question in questions:
            noun = next((noun for noun in nouns if re.search(rf"\b{re.escape(noun)}\b", question["questionText"])), "")
            topic = asked.get(question["questionText"].replace(noun, "{noun}") if noun else question["questionText"])
            assert topic, question["questionText"]
            said = [
                state
                for state in topic.states
                if {text.replace("{noun}", noun) for text in state[0]} & set(question["review_snippets"])
            ]
            if question["is_answerable"] and noun:
                assert [question["answers"][0]["answerText"] in say for _, say in said] == [True]
            elif not question["is_answerable"]:
                assert said == []


class TestEcinstruct:
    def test_rows_have_the_hubs_columns_and_all_ten_tasks(self, sample):
        rows = json.loads((sample / "ecinstruct/ecinstruct.json").read_text(encoding="utf-8"))
        columns = ["instruction", "input", "output", "options", "few_shot_example", "task", "split", "setting"]
        assert all(list(row) == columns for row in rows)
        assert len({row["task"] for row in rows}) == 10
        assert {row["split"] for row in rows} == {"train", "validation", "test"}
        assert {row["setting"] for row in rows} == {"IND_Diverse_Instruction", "OOD_Diverse_Instruction"}
        for row in rows:
            assert isinstance(json.loads(row["input"]), dict)
            if row["options"]:
                options = json.loads(row["options"])
                assert row["output"] in options or row["output"] in [option[0] for option in options]


class TestCatalog:
    def test_has_32_categories_of_matching_kits_whose_topics_all_exist(self):
        assert len(categories()) == 32
        for kit in kits():
            assert len(kit.types) == 4
            assert len(kit.parts) >= 4
            assert set(kit.topics) <= topics().keys()

    @pytest.mark.parametrize("locale", LOCALES)
    def test_names_every_product_type_once(self, locale):
        nouns = [noun for kit in kits(locale) for type_ in kit.types for noun in type_.nouns]
        assert len(nouns) == len(set(nouns))

    def test_gives_each_category_brands_of_its_own(self):
        brands = {kit.category: kit.brands for kit in kits()}
        assert len({brand for names in brands.values() for brand in names}) == sum(map(len, brands.values()))

    def test_has_other_names_and_accessories_for_every_type_and_partners_for_every_kit(self):
        names = {kit.name for kit in kits()}
        for kit in kits():
            assert len(kit.features) == len(kit.uses) == 4
            assert set(kit.partners) <= names - {kit.name}
            for type_ in kit.types:
                assert len(set(type_.names)) == 5
                assert len(set(type_.accessories)) == 2
        assert all(not type_.aliases and not type_.accessories for kit in kits("es") for type_ in kit.types)

    @pytest.mark.parametrize("locale", LOCALES)
    def test_makes_titles_that_name_brand_and_type_and_keep_some_attributes_to_themselves(self, locale):
        said, titles = Counter(), 0
        for kit in kits(locale):
            for type_ in kit.types:
                for brand in kit.brands:
                    product = Product(kit, type_, brand, "Alder", kit.shared.values[0], type_.attribute.values[0])
                    title = product.title.lower()
                    assert product.title == product.title
                    assert brand.lower() in title
                    assert any(name.lower() in title for name in type_.names)
                    assert 2 <= len(title.split()) <= 30
                    said.update(part for part in ("shared", "own") if getattr(product, part).lower() in title)
                    titles += 1
        assert all(0.4 < said[part] / titles < 0.95 for part in ("shared", "own"))

    def test_names_an_accessory_in_its_title_and_mostly_what_it_is_for(self):
        found = [
            (Product(kit, type_, brand, "Alder", kit.shared.values[0], type_.attribute.values[0], accessory), type_)
            for kit in kits()
            for type_ in kit.types
            for accessory in type_.accessories
            for brand in kit.brands
        ]
        assert all(
            product.noun == product.accessory and product.accessory.lower() in product.title.lower() for product, _ in found
        )
        named = sum(any(name.lower() in product.title.lower() for name in type_.names) for product, type_ in found)
        assert 0.6 < named / len(found) < 1


PAIRS = st.tuples(st.integers(0, 2**14 - 1), st.integers(0, 2**32 - 1))


@given(PAIRS, PAIRS)
def test_product_ids_have_ten_characters_and_never_meet(first, second):
    assert re.fullmatch(r"B[0-9A-Z]{9}", asin(*first))
    assert (asin(*first) == asin(*second)) == (first == second)


@given(st.floats(SMALLEST_SCALE, LARGEST_SCALE))
def test_the_plan_names_each_file_once_and_grows_with_the_scale(scale):
    jobs = plan(scale)
    assert len({job.path for job in jobs}) == len(jobs)
    sessions = sum(job.arguments[1] for job in jobs if job.path.startswith("merrec"))
    assert sessions == max(20, round(30_500 * scale))
