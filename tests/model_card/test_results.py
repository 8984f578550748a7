"""Scores from lighteval's files, and what is said about them."""

import json
import math

import pytest

from dataset_builders.errors import UserError
from model_card.results import compare, family_means, read_results, verdict
from tests.eval_tasks.runs import said, write_run
from tests.model_card.files import BASE, TUNED, results_document, write_json, write_results


@pytest.fixture
def tuned(tmp_path):
    return read_results(write_results(tmp_path / "tuned", TUNED))


@pytest.fixture
def base(tmp_path):
    return read_results(write_results(tmp_path / "base", BASE))


def test_scores_errors_rows_and_settings_are_read(tuned):
    assert {name: score.value for name, score in tuned.scores.items()} == TUNED
    score = tuned.scores["also_buy"]
    assert (score.stderr, score.unparsable, score.rows) == (0.03, 0.25, 40)
    assert (tuned.temperature, tuned.seconds, tuned.few_shots) == (0.0, 95.3, 0)


def test_what_lighteval_itself_writes_is_read(tmp_path):
    from lighteval.logging.evaluation_tracker import EvaluationTracker
    from lighteval.models.transformers.transformers_model import TransformersModelConfig
    from lighteval.tasks.lighteval_task import LightevalTaskConfig

    tracker = EvaluationTracker(output_dir=str(tmp_path), save_details=False)
    tracker.general_config_logger.log_args_info(num_fewshot_seeds=1, max_samples=5, job_id="")
    tracker.general_config_logger.log_model_info(TransformersModelConfig(model_name="org/merged"))
    tracker.general_config_logger.log_end_time()
    name = "shop:also_buy|0"
    task = LightevalTaskConfig("shop:also_buy", len, "org/data", "also_buy", metrics=[], original_num_docs=40, version=77)
    tracker.task_config_logger.tasks_configs = {name: task}
    tracker.versions_logger.log(name, 77)
    tracker.details_logger.compiled_details[name].hashes = {"hash_examples": "0f"}
    tracker.metrics_logger.metric_aggregated[name].update({"hit_rate": 0.4, "hit_rate_stderr": 0.1, "unparsable": 0.2})
    tracker.save()

    results = read_results(tmp_path)
    score = results.scores["also_buy"]
    assert (score.value, score.stderr, score.unparsable, score.rows) == (0.4, 0.1, 0.2, 5)
    assert (score.prompts, score.version) == ("0f", 77)
    assert (results.temperature, results.max_samples) == (0, 5)
    assert results.seconds > 0


def test_the_newest_file_with_shop_scores_counts(tmp_path):
    write_results(tmp_path, {"also_buy": 0.1}, time="2026-01-01T00-00-00.000000")
    write_results(tmp_path, {"also_buy": 0.2}, time="2026-01-03T00-00-00.000000")
    write_results(tmp_path, {"also_buy": 0.3}, time="2026-01-02T00-00-00.000000")
    other = {"results": {"shopbench:x|0": {"accuracy": 1.0}}}
    write_json(tmp_path / "results" / "merged" / "results_2026-01-04T00-00-00.000000.json", other)
    assert read_results(tmp_path).scores["also_buy"].value == 0.2


def test_a_missing_error_or_share_is_none_and_not_zero(tmp_path):
    document = {"results": {"shop:also_buy|0": {"hit_rate": 0.5, "hit_rate_stderr": math.nan}}}
    score = read_results(write_json(tmp_path / "results_1.json", document)).scores["also_buy"]
    assert (score.stderr, score.unparsable, score.rows) == (None, None, None)


BAD = {
    "missing": (None, "does not exist"),
    "empty folder": ({}, "holds no results_"),
    "corrupt": ({"m/results_1.json": '{"results": {'}, "cannot be read as JSON"),
    "not an object": ({"m/results_1.json": "[1]"}, "is not a lighteval results file"),
    "no results": ({"m/results_1.json": '{"config_general": {}}'}, "is not a lighteval results file"),
    "no shop task": ({"m/results_1.json": '{"results": {"mmlu|0": {"accuracy": 1}}}'}, "holds no score of a shop task"),
    "averages only": ({"m/results_1.json": '{"results": {"shop:_average|0": {"ndcg": 1}}}'}, "holds no score of a shop task"),
    "no number": ({"m/results_1.json": '{"results": {"shop:also_buy|0": {"hit_rate": NaN}}}'}, "has no number for hit_rate"),
    "other metric": ({"m/results_1.json": '{"results": {"shop:also_buy|0": {"ndcg": 1}}}'}, "has no number for hit_rate"),
    "no metrics": ({"m/results_1.json": '{"results": {"shop:also_buy|0": 3}}'}, "has no number for hit_rate"),
    "two models": ({"m/results_1.json": "{}", "n/results_1.json": "{}"}, "more than one model"),
    "mixed shots": (
        {"m/results_1.json": '{"results": {"shop:also_buy|0": {"hit_rate": 1}, "shop:also_buy|3": {"hit_rate": 1}}}'},
        "mixes runs",
    ),
}


@pytest.mark.parametrize(("files", "message"), BAD.values(), ids=BAD)
def test_bad_results_are_told_in_a_sentence(tmp_path, files, message):
    folder = tmp_path / "results"
    if files is not None:
        folder.mkdir()
    for name, text in (files or {}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read_results(folder)


def test_differences_have_the_error_of_both_runs(tuned, base):
    line = next(line for line in compare(tuned, base) if line.title == "Rating of a review")
    assert line.difference == pytest.approx(0.4)
    assert line.stderr == pytest.approx(math.hypot(0.03, 0.03))
    assert line.clear


def test_means_weigh_each_task_the_same(tuned, base):
    means = {line.title: line for line in family_means(tuned, base)}
    assert list(means) == [
        "Multiple choice, mean",
        "Ranking, mean",
        "Retrieval, mean",
        "Generation, mean",
        "All tasks, mean",
    ]
    overall = means["All tasks, mean"]
    assert overall.tuned.value == pytest.approx(sum(TUNED.values()) / 4)
    assert overall.base.value == pytest.approx(sum(BASE.values()) / 4)
    assert overall.tuned.stderr == pytest.approx(0.03 / 2)
    assert overall.tuned.rows == 160


def test_a_mean_over_other_tasks_is_not_set_beside_one(tmp_path, tuned):
    base = read_results(write_results(tmp_path / "part", {"review_rating": 0.2}))
    means = {line.title: line for line in family_means(tuned, base)}
    assert means["Multiple choice, mean"].base.value == 0.2
    assert means["All tasks, mean"].base is None


def test_a_lower_score_is_said_in_words(tuned, base):
    text = " ".join(verdict(compare(tuned, base), family_means(tuned, base)[-1]))
    assert "higher than the base on 3 of 4 tasks" in text
    assert "lower than the base on 1: Ranking products for a query (-0.050)" in text
    assert "possibly chance: Ranking products for a query (-0.050)." in text
    assert "The mean over all 4 tasks is higher than the base's (+0.238)." in text


def test_a_mean_that_falls_is_said_in_words(tuned, base):
    text = " ".join(verdict(compare(base, tuned), family_means(base, tuned)[-1]))
    assert "lower than the base on 3" in text
    assert "The mean over all 4 tasks is lower than the base's (-0.238)." in text


def test_a_mean_within_its_interval_is_possibly_chance(tmp_path, tuned):
    near = read_results(write_results(tmp_path / "near", {name: score - 0.01 for name, score in TUNED.items()}))
    text = " ".join(verdict(compare(tuned, near), family_means(tuned, near)[-1]))
    assert "higher than the base's (+0.010), possibly by chance." in text


def test_no_difference_is_no_gain(tuned):
    text = " ".join(verdict(compare(tuned, tuned), family_means(tuned, tuned)[-1]))
    assert "higher than the base on 0 of 4 tasks, and the same on 4." in text
    assert "lower on none" in text
    assert "equal to the base's (0.000)." in text


def test_runs_over_other_prompts_are_not_compared(tmp_path, tuned):
    base = read_results(write_results(tmp_path / "other", BASE, prompts="other"))
    lines, means = compare(tuned, base), family_means(tuned, base)
    assert [line.difference for line in lines + means] == [None] * 9
    assert "not measured on the same prompts" in verdict(lines, means[-1])[0]


def test_a_file_may_be_named_itself(tmp_path):
    file = write_json(tmp_path / "any_name.json", results_document(TUNED, max_samples=10))
    results = read_results(file)
    assert results.max_samples == 10
    assert {score.rows for score in results.scores.values()} == {10}
    assert json.loads(file.read_text())["results"]["all"] == {"accuracy": 0.999, "unparsable": 0.999}


def test_differences_over_the_same_rows_have_the_error_of_the_differences(tmp_path):
    values = [number % 2 for number in range(40)]
    better = [1.0 if number in (0, 2, 4, 6) else float(value) for number, value in enumerate(values)]
    runs = [
        read_results(write_run(tmp_path / name, {"shop:review_rating": said(*map(float, of_rows))}))
        for name, of_rows in (("base", values), ("tuned", better))
    ]

    (line,) = compare(runs[1], runs[0])

    assert line.difference == pytest.approx(0.1)
    assert line.stderr == pytest.approx((0.1 * 0.9 / 40) ** 0.5, rel=0.15), "4 of 40 rows differ, by one"
    assert family_means(runs[1], runs[0])[-1].stderr == line.stderr


def test_differences_over_other_rows_are_as_of_independent_runs(tmp_path):
    runs = [
        read_results(write_run(tmp_path / name, {"shop:review_rating": said(*of_rows)}))
        for name, of_rows in (("base", [0.0, 1.0]), ("tuned", [1.0, 1.0, 0.0]))
    ]

    (line,) = compare(runs[1], runs[0])

    assert line.paired_stderr is None
    assert line.stderr == pytest.approx(math.hypot(0.01, 0.01))
