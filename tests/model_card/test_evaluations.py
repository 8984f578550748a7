"""What is read of lighteval's results beside scores, which models stand beside each other, and where that is refused."""

import json

import pytest

from common.errors import UserError
from model_card.consistency import decoding
from model_card.evaluations import baseline_places, comparable, read_comparisons, read_evaluations
from tests.eval_tasks.runs import BASELINE, said, write_run
from tests.model_card.files import BASE, TUNED, write_baseline, write_json, write_results

LATER = "2026-02-02T10-00-00.000001"


def shop(folder, name="tuned"):
    return read_evaluations(name, [folder])["shop"]


def test_scores_rows_and_how_they_were_measured_are_read(tmp_path):
    found = shop(write_results(tmp_path, TUNED))
    scores = found.model.run.scores
    assert {task.removeprefix("shop:"): score.value for task, score in scores.items()} == TUNED
    assert {(score.stderr, score.unparsable, score.rows) for score in scores.values()} == {(0.03, 0.25, 40)}
    assert (found.called, found.temperature, found.seconds, found.constrained) == ("adapter", 0.0, 95.3, False)
    assert set(found.prompts.values()) == {"same"}


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
    tracker.details_logger.compiled_details[name].hashes = {"hash_examples": "0f"}
    tracker.metrics_logger.metric_aggregated[name].update({"hit_rate": 0.4, "hit_rate_stderr": 0.1, "unparsable": 0.2})
    tracker.save()

    found = shop(tmp_path)
    score = found.model.run.scores["shop:also_buy"]
    assert (score.value, score.stderr, score.unparsable, score.rows, score.version) == (0.4, 0.1, 0.2, 5, 77)
    assert found.prompts == {"shop:also_buy": "0f"}
    assert (found.called, found.temperature) == ("org/merged", 0)
    assert found.seconds > 0


def test_limited_decoding_the_adapters_weights_and_what_a_merged_model_holds_are_told(tmp_path):
    merged = tmp_path / "merged"
    write_json(merged / "merge.json", {"adapters": [{"name": "one", "sha256": "ab", "weight": 0.7}]})
    limited = write_results(
        tmp_path / "limited", TUNED, model="adapter_constrained", model_config={"adapter_sha256": "cd", "temperature": 1}
    )
    assert (shop(limited).called, shop(limited).constrained, shop(limited).adapter_sha256) == ("adapter", True, "cd")
    config = {"answers": "scored", "generation_parameters": {"temperature": 0}}
    scored = write_results(tmp_path / "scored", TUNED, model="adapter_constrained_scored", model_config=config)
    assert (shop(scored).called, shop(scored).constrained) == ("adapter", True)
    assert decoding(shop(scored)).startswith("scoring by likelihood, of texts greedy decoding, constrained")
    assert shop(limited).merged is None
    assert shop(write_results(tmp_path / "of_merged", TUNED, model=str(merged))).merged == (("one", "ab", 0.7),)


def test_each_suite_stands_by_itself_with_its_own_run(tmp_path):
    run = tmp_path / "run"
    write_run(run, {"shop:review_rating": said(1.0, 0.0)}, model="adapter")
    write_run(run, {"shopbench:task2": said(1.0, 1.0)}, model="adapter", time=LATER, metric="accuracy")
    base = write_run(tmp_path / "base", {"shop:review_rating": said(0.0, 0.0)}, model="base")

    first, second = read_comparisons([run], [base], [])

    assert (first.suite, second.suite) == ("shop", "shopbench")
    assert [len(one.tuned.model.run.times) for one in (first, second)] == [1, 1]
    assert first.report.names == ("base", "tuned")
    assert (second.report.names, second.base) == (("tuned",), None)
    assert second.report.mean.cells[0].value == 1.0


def test_one_models_suites_may_come_from_several_places(tmp_path):
    places = [
        write_run(tmp_path / "one", {"shop:review_rating": said(1.0)}),
        write_run(tmp_path / "two", {"shop:also_buy": said(0.5)}, max_samples=1),
    ]
    found = read_evaluations("tuned", places)["shop"]
    assert {task: score.value for task, score in found.model.run.scores.items()} == {
        "shop:review_rating": 1.0,
        "shop:also_buy": 0.5,
    }
    assert found.model.run.max_samples == 1
    assert set(found.model.answers) == set(found.model.run.scores)


def test_tasks_that_the_tuned_model_was_not_scored_on_are_left_out(tmp_path):
    tuned = write_results(tmp_path / "tuned", {"also_buy": 0.5})
    (found,) = read_comparisons([tuned], [write_results(tmp_path / "base", BASE, model="base")], [])
    assert [line.name for line in found.report.lines] == ["shop:also_buy"]


def test_baselines_are_found_in_the_folder_that_an_evaluation_leaves(tmp_path):
    for name in ("minilm", "random", "mine"):
        write_baseline(tmp_path / "out" / name, name, TUNED)
    write_results(tmp_path / "out" / "tuned", TUNED)
    (tmp_path / "out" / "report").mkdir()
    assert baseline_places([tmp_path / "out"]) == {name: [tmp_path / "out" / name] for name in ("random", "minilm", "mine")}
    assert list(baseline_places([tmp_path / "out" / "minilm"])) == ["minilm"]
    (found,) = read_comparisons([tmp_path / "out" / "tuned"], [], [tmp_path / "out"])
    assert found.report.names == ("tuned", "random", "minilm", "mine")


def test_scores_over_other_prompts_do_not_stand_beside_the_tuned_models(tmp_path):
    tuned = shop(write_results(tmp_path / "tuned", TUNED))
    base = shop(write_results(tmp_path / "base", BASE, prompts="other"))
    assert comparable(base, tuned)[0].model.run.scores == {}
    assert comparable(base, tuned)[1] == [f"shop:{name}" for name in BASE]


def test_where_answers_were_kept_the_rows_that_both_answered_are_compared(tmp_path):
    folders = [write_run(tmp_path / name, {"shop:review_rating": said(1.0, 0.0)}) for name in ("tuned", "base")]
    for number, folder in enumerate(folders):
        (file,) = folder.rglob("results_*.json")
        summary = {"summary_tasks": {"shop:review_rating|0": {"hashes": {"hash_examples": str(number)}}}}
        file.write_text(json.dumps(json.loads(file.read_text()) | summary))
    tuned, base = map(shop, folders)
    assert comparable(base, tuned) == (base, [])


BAD = {
    "missing": ({}, ["gone"], "no such file or folder"),
    "empty folder": ({"a/x": "{}"}, ["a"], "holds no results_"),
    "corrupt": ({"a/results_1.json": '{"results": {'}, ["a"], "is not a results file of lighteval"),
    "no known task": ({"a/results_1.json": '{"results": {"mmlu|0": {"accuracy": 1}}}'}, ["a"], "has no score of a task of"),
    "two models in a folder": (
        {"a/m/results_1.json": "{}", "a/n/results_1.json": "{}"},
        ["a"],
        "results of more than one model",
    ),
    "two models": (
        {
            "a/results_1.json": '{"config_general": {"model_name": "x"}, "results": {"shop:also_buy|0": {"hit_rate": 1}}}',
            "b/results_1.json": '{"config_general": {"model_name": "y"}, "results": {"shop:next_query|0": {"hit_rate": 1}}}',
        },
        ["a", "b"],
        "hold results of x and y; give those of one model",
    ),
    "a task twice": (
        {
            "a/results_1.json": '{"results": {"shop:also_buy|0": {"hit_rate": 1}}}',
            "b/results_1.json": '{"results": {"shop:also_buy|0": {"hit_rate": 1}}}',
        },
        ["a", "b"],
        "two of the results have scores of shop:also_buy",
    ),
}


@pytest.mark.parametrize(("files", "places", "message"), BAD.values(), ids=BAD)
def test_bad_results_are_told_in_a_sentence(tmp_path, files, places, message):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read_evaluations("tuned", [tmp_path / place for place in places])


def test_a_model_is_no_baseline_and_a_baseline_no_tuned_model(tmp_path):
    model = write_results(tmp_path / "model", TUNED)
    baseline = write_run(tmp_path / "baseline", {"shop:review_rating": said(1.0)}, model="random", **BASELINE)
    with pytest.raises(UserError, match="model holds no results of a baseline"):
        read_comparisons([model], [], [model])
    with pytest.raises(UserError, match="baseline holds the results of a baseline; give those of the tuned model"):
        read_comparisons([baseline], [], [])
