"""The views of the page: one for each task, with what people call it there."""

from dataclasses import dataclass

from common.tasks import TASKS, Task, template_fields

from .inputs import Field, fields_of

TITLES = {
    "query_product_ranking": ("Rank products", "Puts five products in the order in which they fit a search."),
    "next_query": ("Guess the next search", "Picks, from a list, the three searches that a customer may type next."),
    "also_buy": ("Pick what else to buy", "Picks, from a list, the products that go with what was just bought."),
    "query_relation": ("Relate two queries", "Says whether a second search narrows, replaces or complements the first."),
    "review_rating": ("Rate a review", "Tells how many stars a customer gave, from the words of the review."),
    "next_title_amazon": ("Write a title", "Writes the title of a product that goes with those that were bought."),
    "answer_generation": ("Answer from reviews", "Answers a customer's question from passages of reviews."),
    "query_product_relation": ("Match query and product", "Says how well one product fits a search."),
    "product_relation": ("Relate two products", "Says whether customers buy two products together or choose between them."),
    "answerability": ("Check for an answer", "Says whether the reviews hold the answer to a question."),
    "query_generation": ("Write a search query", "Writes what a customer would type to find a product."),
    "next_title_merrec": ("Title the next product", "Writes the title of the product that a customer will look at next."),
}
"""Title and sentence of a view, in the order of the page. A task that is not here comes last, under its own title."""


@dataclass(frozen=True)
class View:
    """One use of the model: a task with its inputs."""

    task: Task
    title: str
    about: str
    fields: tuple[Field, ...]

    @property
    def name(self) -> str:
        return self.task.name

    @property
    def wordings(self) -> range:
        """Numbers of the task's templates."""
        return range(1, len(self.task.templates) + 1)

    def fields_of_wording(self, wording: int) -> tuple[Field, ...]:
        """Those that the template of this number names."""
        named = template_fields(self.task.templates[wording - 1])
        return tuple(field for field in self.fields if field.name in named)


def views() -> tuple[View, ...]:
    """All of them, in the order of the page."""
    names = [*(name for name in TITLES if name in TASKS), *(name for name in TASKS if name not in TITLES)]
    return tuple(_view(TASKS[name]) for name in names)


def _view(task: Task) -> View:
    title, about = TITLES.get(task.name, (task.title, ""))
    return View(task, title, about, fields_of(task))
