"""One module per family. A recipe takes the canonical tables to the fields of a task's templates."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from dataset_builders.engine import Draw, Harvest

if TYPE_CHECKING:
    import ibis.expr.types as ir

Tables = dict[str, "ir.Table"]
Recipe = Callable[[Tables, Draw, int], Harvest]
"""(tables, draw, most rows that can be needed) -> Harvest"""


def recipes() -> dict[str, Recipe]:
    """Task name -> recipe, for the tasks that have one."""
    from dataset_builders.recipes import generation, multiple_choice, ranking, retrieval

    return {
        recipe.__name__: recipe
        for recipe in (
            multiple_choice.review_rating,
            multiple_choice.query_relation,
            multiple_choice.query_product_relation,
            multiple_choice.product_relation,
            multiple_choice.answerability,
            ranking.query_product_ranking,
            retrieval.also_buy,
            retrieval.next_query,
            generation.query_generation,
            generation.next_title_merrec,
            generation.next_title_amazon,
            generation.answer_generation,
        )
    }
