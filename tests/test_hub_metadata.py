"""The loopback Hub refuses what the Hub's documentation says that it refuses, each mistake by itself."""

from typing import Any

import pytest

from tests.hub_metadata import metadata_errors

MODEL: dict[str, Any] = {
    "base_model": "org/base",
    "base_model_relation": "adapter",
    "language": ["en"],
    "license": "other",
    "license_name": "see-licences-below",
    "license_link": "https://huggingface.co/org/name#licences",
    "pipeline_tag": "text-generation",
    "co2_eq_emissions": {"emissions": 1.2},
    "model-index": [
        {
            "name": "m",
            "results": [
                {
                    "task": {"type": "text-generation"},
                    "dataset": {"name": "d", "type": "org/d"},
                    "metrics": [{"type": "accuracy", "value": 0.5}],
                }
            ],
        }
    ],
}
DATASET: dict[str, Any] = {
    "license": ["apache-2.0", "other"],
    "task_categories": ["text-ranking"],
    "size_categories": ["1K<n<10K"],
    "annotations_creators": ["found"],
    "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": ["a.parquet"]}]}],
}
RESULT = MODEL["model-index"][0]["results"][0]


def test_what_is_right_is_taken() -> None:
    assert metadata_errors("model", MODEL) == metadata_errors("dataset", DATASET) == []
    assert metadata_errors("model", {}) == metadata_errors("dataset", {}) == metadata_errors("space", {"sdk": "gradio"}) == []


@pytest.mark.parametrize(
    "change",
    [
        {"license": "Apache-2.0"},
        {"license_name": "See below"},
        {"license_link": "#licences"},
        {"language": "English"},
        {"tags": [1]},
        {"base_model": "/home/jane/model"},
        {"datasets": ["outputs/demo/dataset"]},
        {"base_model_relation": "lora"},
        {"pipeline_tag": "text2text"},
        {"co2_eq_emissions": {"emissions": "1.2 g"}},
        {"model-index": [{"results": [RESULT]}]},
        {"model-index": [{"name": "m", "results": [RESULT | {"task": {}}]}]},
        {"model-index": [{"name": "m", "results": [RESULT | {"dataset": {"name": "d"}}]}]},
        {"model-index": [{"name": "m", "results": [RESULT | {"metrics": [{"type": "accuracy"}]}]}]},
    ],
)
def test_a_models_mistake_is_refused(change: dict[str, Any]) -> None:
    assert len(metadata_errors("model", MODEL | change)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"license": ["none stated"]},
        {"task_categories": ["ranking"]},
        {"size_categories": ["1K-10K"]},
        {"annotations_creators": ["machine"]},
        {"configs": [{"config_name": "a"}, {"config_name": "a"}]},
        {"configs": [{"config_name": "a", "data_files": [{"path": "a"}]}]},
    ],
)
def test_a_datasets_mistake_is_refused(change: dict[str, Any]) -> None:
    assert len(metadata_errors("dataset", DATASET | change)) == 1
