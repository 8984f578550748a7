"""The twelve tasks: how each is asked, and in which family's form it is answered. Building, training, evaluation and demo start here.

Only the standard library is imported, so that the Space can take this file along. How a prompt is rendered and read back is in
`prompts.py`, how an answer is read in `answers.py`, how it is scored in `scoring.py`.
"""

from dataclasses import dataclass
from typing import Literal

Family = Literal["multiple_choice", "ranking", "retrieval", "generation"]

Value = str | list[int]

FAMILIES: tuple[Family, ...] = ("multiple_choice", "ranking", "retrieval", "generation")

QUERY_RELATIONS = ("narrowing", "substitute", "complement", "irrelevant")

GAINS = {"exact": 1.0, "substitute": 0.1, "complement": 0.01, "irrelevant": 0.0}
"""Label of a judgment -> gain, as ShopBench weighs them for NDCG."""

RANKED = 5
"""Number of products in a ranking prompt; ShopBench's parser knows no other."""


@dataclass(frozen=True)
class WordForm:
    """A task asked in words: the answer is one of `labels`, in an order that never changes, and can be scored by likelihood.

    `templates` are its wordings. Of a multiple choice that lists statements, `statements` are those of the labels. Of a
    ranking or retrieval it is asked of one item at a time: `item` is the field of it in these templates, `items` that of the
    whole list in the task's own, and `gains` say what an item of each label is worth; the list is sorted by the expected gain.
    `unseen` is a wording that no row has: the task's `unseen` in words.
    """

    templates: tuple[str, ...]
    labels: tuple[str, ...]
    statements: tuple[str, ...] = ()
    items: str = ""
    item: str = ""
    gains: tuple[float, ...] = ()
    unseen: str = ""


@dataclass(frozen=True)
class TextForm:
    """A list scored by text: each item fills the field `item` of the generation task `task`, and the list is sorted by how
    likely the row's own field `text` is as the answer, as a search engine's query likelihood (https://arxiv.org/abs/2310.13243).

    The rows of that task train it, all tokens of whose answers are supervised. Where text and items are things of one kind, an
    item's own log-likelihood behind the text, which knows what is common, counts `direct` times as much besides: a noisy
    channel's direct model (https://arxiv.org/abs/1908.05731).
    """

    task: str
    item: str
    text: str
    direct: float = 0.0


RELEVANCE_IN_WORDS = (
    "How well does the product match the query: exact, substitute, complement or irrelevant?\n"
    "Query: {query}\nProduct: {product}\nAnswer: ",
    'A customer searched for "{query}". Is the product an exact match, a substitute, a complement or irrelevant?\n'
    "Product: {product}\nAnswer with one word: ",
)
"""Asked of a query and a product, and of each product of a ranking."""

RELEVANCE_UNSEEN = (
    "Search: {query}\nProduct: {product}\n"
    "Is this product exact, substitute, complement or irrelevant for the search? Reply with one word: "
)
"""The same in a wording that is only tested."""


@dataclass(frozen=True)
class Task:
    """One task. `templates` are format strings over the fields that its recipe yields (see `prompts.render_prompt`).

    `title` names it in tables and cards, `action` and `about` on the Space's page, where the title stands in for an empty action.
    `words` is its other form, for answers that are scored; a choice without it has labels that are words already. A list may
    have a third one, `by_text`, for answers that are scored too.
    `unseen` is a wording that is never trained on: test rows are asked in it as well, to measure what a new wording costs. Its
    fields are those that all `templates` have. A task without one is asked in `templates` alone.
    """

    name: str
    title: str
    family: Family
    tables: tuple[str, ...]
    templates: tuple[str, ...]
    metric: str
    train_size: int
    test_size: int
    labels: tuple[str, ...] = ()
    words: WordForm | None = None
    unseen: str = ""
    by_text: TextForm | None = None
    max_new_tokens: int = 8
    action: str = ""
    about: str = ""

    @property
    def lists_options(self) -> bool:
        """Whether its prompts list statements, of which one's number is the answer."""
        return "{options:0}" in self.templates[0]


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            name="review_rating",
            title="Rating of a review",
            action="Rate a review",
            about="Tells how many stars a customer gave, from the words of the review.",
            family="multiple_choice",
            tables=("reviews",),
            templates=(
                "Rate the following product review on a scale of 1 to 5, with 1 being very negative and 5 being very positive.\n"
                "Category: {category}\nReview: {review}\nAnswer: ",
                "A customer wrote this review of a product in {category}. How many stars out of 5 did the customer give?\n"
                "{review}\nAnswer with one number: ",
            ),
            unseen=(
                "A shopper bought something in {category} and wrote what follows. Guess the number of stars, from 1 (worst) to 5 (best).\n"
                "Text: {review}\nStars: "
            ),
            metric="accuracy",
            train_size=8994,
            test_size=965,
            labels=("1", "2", "3", "4", "5"),
        ),
        Task(
            name="query_relation",
            title="Relation of two queries",
            action="Relate two queries",
            about="Says whether a second search narrows, replaces or complements the first.",
            family="multiple_choice",
            tables=("judgments",),
            templates=(
                'Which of the following statements best describes the relation from query "{query}" to query "{other_query}"?\n'
                "{options:0}\nAnswer: ",
                'A customer searched for "{query}" and then for "{other_query}". What is the second query to the first?\n'
                "{options:0}\nAnswer with one number: ",
            ),
            unseen=(
                "First search: {query}\nNext search: {other_query}\nChoose the statement that says how the next search relates to the "
                "first, and reply with its number.\n{options:0}\nNumber: "
            ),
            metric="accuracy",
            train_size=8621,
            test_size=925,
            labels=("0", "1", "2", "3"),
            words=WordForm(
                templates=(
                    "How does the second query relate to the first: narrowing, substitute, complement or irrelevant?\n"
                    "First query: {query}\nSecond query: {other_query}\nAnswer: ",
                    'A customer searched for "{query}" and then for "{other_query}". Is the second search a narrowing, a '
                    "substitute, a complement or irrelevant?\nAnswer with one word: ",
                ),
                unseen=(
                    "Search 1: {query}\nSearch 2: {other_query}\nSeen from search 1, is search 2 a narrowing, a substitute, a complement or "
                    "irrelevant? Reply with one word: "
                ),
                labels=QUERY_RELATIONS,
                statements=QUERY_RELATIONS,
            ),
        ),
        Task(
            name="query_product_relation",
            title="Relation of a query and a product",
            action="Match query and product",
            about="Says how well one product fits a search.",
            family="multiple_choice",
            tables=("judgments", "products"),
            templates=(
                "What is the relevance of the product to the query?\nQuery: {query}\nProduct: {product}\n{options:0}\nAnswer: ",
                'A customer searched for "{query}" and was shown "{product}". Which statement fits best?\n'
                "{options:0}\nAnswer with one number: ",
            ),
            unseen=(
                "Search: {query}\nProduct shown: {product}\nChoose the statement that is true of this product for this search, and reply "
                "with its number.\n{options:0}\nNumber: "
            ),
            metric="accuracy",
            train_size=9255,
            test_size=993,
            labels=("0", "1", "2", "3"),
            words=WordForm(
                templates=RELEVANCE_IN_WORDS,
                unseen=RELEVANCE_UNSEEN,
                labels=tuple(GAINS),
                statements=(
                    "The product is what the query asks for, in every detail",
                    "The product misses a detail of the query but can take the place of what it asks for",
                    "The product does not answer the query but goes with what it asks for",
                    "The product has nothing to do with the query",
                ),
            ),
        ),
        Task(
            name="product_relation",
            title="Relation of two products",
            action="Relate two products",
            about="Says whether customers buy two products together or choose between them.",
            family="multiple_choice",
            tables=("co_purchases", "products"),
            templates=(
                "How do these two products relate?\nProduct 1: {product}\nProduct 2: {other_product}\n{options:0}\nAnswer: ",
                'Given the products "{product}" and "{other_product}", which statement fits best?\n'
                "{options:0}\nAnswer with one number: ",
            ),
            unseen=(
                "Product 1: {product}\nProduct 2: {other_product}\nWhich of these is true of the two? Reply with its number.\n"
                "{options:0}\nNumber: "
            ),
            metric="accuracy",
            train_size=9255,
            test_size=993,
            labels=("0", "1", "2"),
            words=WordForm(
                templates=(
                    "Are these two products bought together, viewed together or similar? "
                    "Answer bought, viewed or similar.\nProduct 1: {product}\nProduct 2: {other_product}\nAnswer: ",
                    'Product 1 is "{product}" and product 2 is "{other_product}". How do they go together: bought, viewed or '
                    "similar?\nAnswer with one word: ",
                ),
                unseen=(
                    "Product 1: {product}\nProduct 2: {other_product}\n"
                    "Which word links the two: bought, viewed or similar? Reply with that word: "
                ),
                labels=("bought", "viewed", "similar"),
                statements=(
                    "Customers who bought product 1 also bought product 2",
                    "Customers who viewed product 1 also viewed product 2",
                    "Product 2 is similar to product 1",
                ),
            ),
        ),
        Task(
            name="answerability",
            title="Can the reviews answer it?",
            action="Check for an answer",
            about="Says whether the reviews hold the answer to a question.",
            family="multiple_choice",
            tables=("questions",),
            templates=(
                "Can the question about a product be answered from the reviews? Answer yes or no.\n"
                "Question: {question}\nReviews:\n{snippets:-}\nAnswer: ",
                "Reviews of a product:\n{snippets:-}\nDo they hold the answer to this question: {question}\nAnswer yes or no: ",
            ),
            unseen=(
                "A shopper asks: {question}\nWhat customers wrote about the product:\n{snippets:-}\n"
                "Is that enough to tell the shopper the answer? Reply yes or no: "
            ),
            metric="accuracy",
            train_size=9255,
            test_size=993,
            labels=("no", "yes"),
        ),
        Task(
            name="query_product_ranking",
            title="Ranking products for a query",
            action="Rank products",
            about="Puts five products in the order in which they fit a search.",
            family="ranking",
            tables=("judgments", "products"),
            templates=(
                "A user has made a query with keyword '{query}'. Given the following numbered list of 5 products, "
                "please rank the products according to their relevance to the query.\nProduct List:\n{products:(1)}\n"
                "Output the five numbers from most to least relevant, separated by commas. Do not give explanations.\nOutput: ",
                "You are an intelligent shopping assistant that ranks products. Sort these 5 products by their relevance to the "
                "query '{query}', best first.\nProduct List:\n{products:(1)}\nAnswer with five numbers separated by commas only.\nOutput: ",
            ),
            unseen=(
                "Search in an online shop: {query}\nProducts found:\n{products:(1)}\n"
                "Order these 5 products from the best match to the worst. Reply with five numbers separated by commas: "
            ),
            words=WordForm(
                RELEVANCE_IN_WORDS,
                tuple(GAINS),
                items="products",
                item="product",
                gains=tuple(GAINS.values()),
                unseen=RELEVANCE_UNSEEN,
            ),
            by_text=TextForm("query_generation", item="product", text="query"),
            metric="ndcg",
            train_size=5182,
            test_size=556,
            max_new_tokens=16,
        ),
        Task(
            name="also_buy",
            title="What else will this customer buy?",
            action="Pick what else to buy",
            about="Picks, from a list, the products that go with what was just bought.",
            family="retrieval",
            tables=("co_purchases", "products"),
            templates=(
                "A user on an online shopping website has just purchased the product '{product}'. The following numbered list "
                "contains 15 products. Please select {number} from the list that the user may also purchase.\n"
                "Product List:\n{candidates:(1)}\nOutput only the numbers, separated by commas.\nOutput: ",
                "You are a helpful shop assistant. A user would like to buy the product '{product}'. Please select the products "
                "that the user may also buy from the following numbered list.\nProduct List:\n{candidates:(1)}\n"
                "Output only the numbers, separated by commas.\nOutput: ",
            ),
            unseen=(
                "In the shopping cart: {product}\nProducts on offer:\n{candidates:(1)}\nWhich of them is the same customer likely to buy as "
                "well? Reply with numbers separated by commas: "
            ),
            words=WordForm(
                templates=(
                    "Would a customer who bought the first product also buy the second one? Answer yes or no.\n"
                    "First product: {product}\nSecond product: {candidate}\nAnswer: ",
                    'A user of an online shop has just purchased "{product}". May the same user also buy "{candidate}"?\n'
                    "Answer yes or no: ",
                ),
                unseen=(
                    "In the shopping cart: {product}\nOn offer: {candidate}\n"
                    "Is the same customer likely to buy the product on offer as well? Reply yes or no: "
                ),
                labels=("yes", "no"),
                items="candidates",
                item="candidate",
                gains=(1.0, 0.0),
            ),
            by_text=TextForm("next_title_amazon", item="products", text="product", direct=0.15),
            metric="hit_rate",
            train_size=9208,
            test_size=988,
            max_new_tokens=20,
        ),
        Task(
            name="next_query",
            title="What will this customer search next?",
            action="Guess the next search",
            about="Picks, from a list, the three searches that a customer may type next.",
            family="retrieval",
            tables=("events",),
            templates=(
                "You are a user on an online shopping platform and have just performed this sequence of actions. Select from the "
                "numbered list the three queries that you are most likely to make next.\nAction Sequence:\n{actions}\n"
                "Query List:\n{queries:(1)}\nOutput only three numbers, separated by commas.\nOutput: ",
                "A customer of an online shop did the following, in this order.\n{actions}\nWhich three of these queries may come "
                "next?\n{queries:(1)}\nAnswer with three numbers separated by commas only.\nOutput: ",
            ),
            unseen=(
                "Shopping session so far:\n{actions}\nPossible searches:\n{queries:(1)}\n"
                "Which three of them is this shopper most likely to type next? Reply with three numbers separated by commas: "
            ),
            words=WordForm(
                templates=(
                    "A customer of an online shop did the following, in this order.\n{actions}\n"
                    'May this customer search for "{candidate}" next? Answer yes or no: ',
                    "Actions of a customer in an online shop:\n{actions}\nPossible next search: {candidate}\n"
                    "Is this search likely to come next? Answer yes or no: ",
                ),
                unseen=(
                    "Shopping session so far:\n{actions}\nPossible search: {candidate}\nIs it likely that the shopper types it next? Reply yes "
                    "or no: "
                ),
                labels=("yes", "no"),
                items="queries",
                item="candidate",
                gains=(1.0, 0.0),
            ),
            metric="hit_rate",
            train_size=9432,
            test_size=1012,
            max_new_tokens=14,
        ),
        Task(
            name="query_generation",
            title="A query for a product",
            action="Write a search query",
            about="Writes what a customer would type to find a product.",
            family="generation",
            tables=("judgments", "products"),
            templates=(
                "Write a search query that a customer would use to find this product.\nProduct: {product}\nQuery: ",
                'What would a customer type into a shop\'s search box to find "{product}"? Write the query only.\nQuery: ',
            ),
            unseen=(
                "Product: {product}\nYou are looking for exactly this in an online shop. What do you type into the search field? "
                "Reply with the search alone.\nSearch: "
            ),
            metric="rougel",
            train_size=9245,
            test_size=992,
            max_new_tokens=32,
        ),
        Task(
            name="next_title_merrec",
            title="The next product of a session",
            action="Title the next product",
            about="Writes the title of the product that a customer will look at next.",
            family="generation",
            tables=("events",),
            templates=(
                "A customer of an online shop did the following, in this order.\n{actions}\n"
                "Write the title of the product that the customer will look at next.\nTitle: ",
                "Given this sequence of actions in a shop, what is the title of the next product?\n{actions}\nTitle: ",
            ),
            unseen=(
                "What a shopper did, oldest first:\n{actions}\n"
                "Predict the product page that the shopper opens next, and reply with that product's name alone.\nName: "
            ),
            metric="rougel",
            train_size=9245,
            test_size=992,
            max_new_tokens=48,
        ),
        Task(
            name="next_title_amazon",
            title="The title of a product bought together",
            action="Write a title",
            about="Writes the title of a product that goes with those that were bought.",
            family="generation",
            tables=("co_purchases", "products"),
            templates=(
                "A customer has bought these products.\n{products:-}\nWrite the title of a product that the customer may buy next.\n"
                "Title: ",
                "Given the products that a customer bought, name one more product that would go with them.\n{products:-}\nTitle: ",
            ),
            unseen="Past orders of a customer:\n{products:-}\nReply with the name of a product that may be in the next order.\nName: ",
            metric="rougel",
            train_size=9254,
            test_size=993,
            max_new_tokens=48,
        ),
        Task(
            name="answer_generation",
            title="An answer from reviews",
            action="Answer from reviews",
            about="Answers a customer's question from passages of reviews.",
            family="generation",
            tables=("questions",),
            templates=(
                "Answer the customer's question about a product from its reviews.\n"
                "Question: {question}\nReviews:\n{snippets:-}\nAnswer: ",
                "Reviews of a product:\n{snippets:-}\nA customer asks: {question}\nWrite a short answer.\nAnswer: ",
            ),
            unseen=(
                "Help a shopper who asks: {question}\nUse what customers wrote about the product:\n{snippets:-}\n"
                "Reply in one short sentence.\nReply: "
            ),
            metric="rougel",
            train_size=8919,
            test_size=957,
            max_new_tokens=64,
        ),
    )
}
