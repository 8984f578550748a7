"""All that one card is made from."""

from dataclasses import dataclass
from functools import cached_property

from dataset_builders.tasks import TASKS, Task
from model_card.inputs import Adapter, Base, Data, as_hub_id
from model_card.results import Comparison, Results, compare, family_means


@dataclass(frozen=True)
class Facts:
    """All that a card is made from. None stands for what was not given."""

    adapter: Adapter
    base: Base
    data: Data | None
    tuned: Results
    base_results: Results | None = None
    repo_id: str | None = None

    @cached_property
    def lines(self) -> list[Comparison]:
        """Scores by task."""
        return compare(self.tuned, self.base_results)

    @cached_property
    def means(self) -> list[Comparison]:
        """Means by family; the last is over all tasks."""
        return family_means(self.tuned, self.base_results)

    @property
    def measured(self) -> list[Task]:
        """The tasks of `lines`."""
        return [task for name, task in TASKS.items() if name in self.tuned.scores]

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
