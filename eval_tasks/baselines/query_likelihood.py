"""Query likelihood: products ranked by how likely an untuned language model finds the query behind each (zero-shot).

https://arxiv.org/abs/2310.13243. The prompts are those of query_generation.
"""

from collections.abc import Sequence

from common.prompts import render_prompt
from common.tasks import TASKS
from eval_tasks.backends.prompts import Likelihoods, Prompt, ScoredPrompt
from eval_tasks.baselines.encoders import by_weight
from eval_tasks.baselines.template_rows import TemplateRow

QLM = "qlm"


def query_prompts(row: TemplateRow) -> list[ScoredPrompt]:
    """Of each product of a ranking the prompt that asks for a query, with the row's own as the only candidate."""
    task = TASKS["query_generation"]
    texts = [render_prompt(task.templates[0], {"product": product}) for product in row.candidates()]
    return [ScoredPrompt(Prompt((("user", text),), text, task.max_new_tokens), (str(row.fields["query"]),)) for text in texts]


def ranked(row: TemplateRow, likelihoods: Sequence[Likelihoods]) -> str:
    """All numbers of the row's list, the product first behind which the query is likeliest."""
    return row.render(by_weight([each[0] for each in likelihoods]))
