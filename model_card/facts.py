"""All that one card is made from."""

from dataclasses import dataclass

from common.dataset import Manifest, as_hub_id
from common.tasks import TASKS, Task
from model_card.evaluations import Comparison, Evaluation
from model_card.inputs import Adapter, Base

SHOP = "shop"
"""The suite of the dataset's own test rows."""


@dataclass(frozen=True)
class Facts:
    """All that a card is made from. None stands for what was not given.

    `shop`: scores on the dataset's own test rows, `others`: on other benchmarks.
    """

    adapter: Adapter
    base: Base
    data: Manifest | None
    shop: Comparison
    others: tuple[Comparison, ...] = ()
    repo_id: str | None = None

    @property
    def tuned(self) -> Evaluation:
        """On the dataset's own test rows."""
        return self.shop.tuned

    @property
    def measured(self) -> list[Task]:
        """The tasks of the dataset that were scored, in the order of the table."""
        return [TASKS[line.name.partition(":")[2]] for line in self.shop.lines]

    @property
    def title(self) -> str:
        """The model's name."""
        return self.repo_id.split("/")[-1] if self.repo_id else "shop-lora"

    @property
    def dataset_id(self) -> str | None:
        """The dataset's id on the Hub, if it is there."""
        return self.data.hub_id if self.data else as_hub_id(self.adapter.summary.get("dataset_name"))

    @property
    def config(self) -> str:
        """The dataset's configuration that was trained on."""
        return str(self.adapter.summary.get("dataset_config") or "default")

    @property
    def untrained(self) -> list[Task]:
        """Measured tasks that the training run saw no row of, if it recorded its rows by task."""
        trained = self.adapter.section("tasks")
        return [task for task in self.measured if trained and task.name not in trained]

    @property
    def unmeasured(self) -> list[Task]:
        """Tasks that the training run saw rows of, or all where it recorded none, without a score."""
        trained = self.adapter.section("tasks") or TASKS
        measured = {task.name for task in self.measured}
        return [task for name, task in TASKS.items() if name in trained and name not in measured]
