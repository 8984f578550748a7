"""The command that makes the card: what stands in it, what it refuses, and what it commits."""

import json
import re
import shutil

import pytest
from huggingface_hub import HfApi, ModelCard, constants

from common.tasks import TASKS
from model_card import card as card_module
from model_card.build import main
from tests.eval_tasks.runs import BASELINE, said, write_run
from tests.hub import run_main
from tests.model_card.files import (
    BASE,
    FINGERPRINT,
    TUNED,
    table_cells,
    write_adapter,
    write_base_model,
    write_baseline,
    write_data,
    write_json,
    write_results,
)


@pytest.fixture
def options(tmp_path):
    """A command line over good files; tests change what they are about."""
    base_model = write_base_model(tmp_path / "model")
    return {
        "--adapter": write_adapter(tmp_path / "adapter", str(base_model)),
        "--results": write_results(tmp_path / "tuned", TUNED),
        "--base-results": write_results(tmp_path / "base", BASE, model="model"),
        "--data": write_data(tmp_path / "data"),
        "--out": tmp_path / "out" / "README.md",
        "--repo-id": "org/shop-lora",
    }


def build(options, *flags):
    """Runs the command and returns the card's whole text."""
    main([*(str(part) for name, value in options.items() if value is not None for part in (name, value)), *flags])
    return options["--out"].read_text(encoding="utf-8")


def test_metadata_round_trips_with_the_measured_scores(options):
    build(options)
    data = ModelCard.load(options["--out"]).data
    assert data.model_name == "shop-lora"
    assert {result.dataset_config: result.metric_value for result in data.eval_results} == TUNED
    assert {result.metric_type for result in data.eval_results} == {"accuracy", "ndcg", "hit_rate", "rouge"}
    assert {result.dataset_split for result in data.eval_results} == {"test"}
    assert (data.library_name, data.pipeline_tag, data.language) == ("peft", "text-generation", ["en"])
    assert (data.base_model, data.base_model_relation) == ("some-lab/Tiny-1M", "adapter")
    assert (data.license, data.license_name) == ("other", "see-licences-below")
    assert data.get("datasets") is None


@pytest.mark.parametrize(
    ("licences", "wanted"),
    [
        (["Apache-2.0"], "apache-2.0"),
        (["Apache-2.0", "CC BY 4.0"], "other"),
        (["CC-BY-NC-4.0"], "other"),
        (["none stated"], "other"),
        ([None], "other"),
    ],
)
def test_the_models_licence_is_that_of_all_its_parts_or_other(options, licences, wanted):
    sources = {f"source_{number}": {"licence": licence} for number, licence in enumerate(licences)}
    write_data(options["--data"], sources=sources, rejects={})
    build(options)
    assert ModelCard.load(options["--out"]).data.license == wanted


def test_a_relative_folder_is_no_id_of_the_hub(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_base_model(tmp_path / "outputs" / "model")
    write_adapter(options["--adapter"], "outputs/model", dataset_name="outputs/model")
    text = build(options | {"--data": None})
    assert "outputs/model" not in text
    assert ModelCard.load(options["--out"]).data.base_model == "some-lab/Tiny-1M"


def test_scores_stand_beside_the_bases_with_their_difference_and_intervals(options):
    text = build(options)
    assert table_cells(text, "Task") == ["Task", "Base", "Tuned", "Difference", "Unreadable"]
    assert table_cells(text, TASKS["also_buy"].title) == [
        "What else will this customer buy? / hit rate, 40 rows",
        "0.100 / 0.04 to 0.16",
        "0.500 / 0.44 to 0.56",
        "**+0.400** / +0.32 to +0.48",
        "25% → 25%",
    ]
    assert table_cells(text, "**All tasks, mean**")[1:4] == [
        "0.287 / 0.26 to 0.32",
        "0.525 / 0.50 to 0.55",
        "**+0.238** / +0.20 to +0.28",
    ]
    assert "Score on 160 held-out rows, mean over tasks: 0.525 (95 % interval 0.496 to 0.554), the base's 0.287." in text
    assert "No answers were kept of base, tuned, so intervals come from lighteval's standard errors." in text
    assert "0.999" not in text  # lighteval's own averages


def test_figures_are_those_of_the_report_to_the_last_digit(options, tmp_path):
    from eval_tasks.reporting.table import cells
    from tests.eval_tasks.runs import report_of, said, write_run

    tasks = ("review_rating", "also_buy")
    base, adapter, random = (
        write_run(tmp_path / "runs" / name, {f"shop:{task}": said(*values) for task in tasks}, model=name, **about)
        for name, values, about in (
            ("model", [0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0], {}),
            ("adapter", [1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0], {}),
            ("random", [0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0], BASELINE),
        )
    )
    text = build(options | {"--results": adapter, "--base-results": base, "--baseline-results": random})
    report = report_of(base, adapter, random)
    for line, shown in zip(report.lines, (TASKS[task].title for task in tasks), strict=True):
        texts = [(value, small.split(", p ")[0].split(", p")[0]) for value, small in cells(report, line)]
        wanted = [f"{value} / {small}" for value, small in (texts[2], texts[3], texts[5])]
        assert [cell.replace("*", "") for cell in table_cells(text, shown)[1:4]] == wanted
        baselines = text.partition("### Baselines without a language model")[2]
        assert [cell.replace("*", "") for cell in table_cells(baselines, shown)[1:]] == [texts[3][0], texts[4][0]]
    assert "standard errors" not in text


def test_baselines_stand_beside_the_tuned_model_the_best_of_a_line_in_bold(options, tmp_path):
    write_baseline(tmp_path / "out" / "tfidf", "tfidf", {"review_rating": 0.9, "also_buy": 0.1})
    write_baseline(tmp_path / "out" / "random", "random", dict.fromkeys(TUNED, 0.2))
    text = build(options | {"--baseline-results": tmp_path / "out"})
    baselines = text.partition("### Baselines without a language model")[2]
    assert table_cells(baselines, "Task") == ["Task", "Tuned", "random", "tfidf"]
    assert table_cells(baselines, TASKS["review_rating"].title)[1:] == ["0.600", "0.200", "**0.900**"]
    assert table_cells(baselines, TASKS["also_buy"].title)[1:] == ["**0.500**", "0.200", "0.100"]
    assert table_cells(baselines, TASKS["answer_generation"].title)[1:] == ["**0.350**", "0.200", "-"]
    assert "- tfidf: TF-IDF similarity" in baselines
    assert "A baseline without a language model scores higher on 1 of 4:** Rating of a review (tfidf 0.900)" in text
    assert "Baselines without a language model" not in build(options)


def test_other_benchmarks_have_tables_of_their_own_with_their_own_mean(options, tmp_path):
    folders = []
    for name, value in (("adapter", 1.0), ("model", 0.5)):
        folder = tmp_path / f"bench_{name}"
        write_run(folder, {f"shopbench:task{number}": said(value) for number in (1, 2, 9)}, model=name, metric="accuracy")
        folders.append(folder)
    arguments = [str(part) for pair in options.items() for part in pair]
    main([*arguments, "--results", str(folders[0]), "--base-results", str(folders[1])])
    text = options["--out"].read_text(encoding="utf-8")
    bench = text.partition("### ShopBench")[2].partition("## Data")[0]
    assert table_cells(bench, "**Concepts, mean of 2**")[1:4] == [
        "0.500 / 0.50 to 0.50",
        "1.000 / 1.00 to 1.00",
        "+0.500 / +0.50 to +0.50",  # not in bold: of one row each, however clear the interval
    ]
    assert table_cells(bench, "**All tasks, mean**")[0] == "**All tasks, mean** / 3 rows"
    assert "<details><summary>Its 3 tasks by their own metrics</summary>" in bench
    assert table_cells(bench, "Task9")[2] == "1.000 / 1.00 to 1.00"
    assert table_cells(text, "**All tasks, mean**")[2] == "0.525 / 0.50 to 0.55", "the shop's mean is over its own tasks"
    assert {result.dataset_config for result in ModelCard.load(options["--out"]).data.eval_results} == set(TUNED)


def test_a_lower_score_is_told(options):
    assert "**It scores lower than the base on 1:** Ranking products for a query (-0.050)." in build(options)


def test_without_a_base_there_is_no_column_for_it(options):
    text = build(options | {"--base-results": None})
    assert table_cells(text, "Task") == ["Task", "Tuned", "Unreadable"]
    assert table_cells(text, TASKS["also_buy"].title)[1:] == ["0.500 / 0.44 to 0.56", "25%"]
    assert "nothing can be said about what tuning changed" in text
    assert "Difference" not in text


def test_a_task_that_the_base_was_not_asked_has_no_score_of_it(options, tmp_path):
    part = write_results(tmp_path / "part", {"also_buy": 0.1}, model="model")
    text = build(options | {"--base-results": part})
    assert table_cells(text, "Rating of a review")[1:4] == ["-", "0.600 / 0.54 to 0.66", "-"]
    assert "Not scored for every model, and in no mean: `review_rating`" in text


def test_recipe_and_hardware_come_from_the_training_run(options):
    text = build(options)
    cells = {name: table_cells(text, name)[1] for name in ("Training time", "Throughput", "Peak memory", "Tokens", "Hardware")}
    assert cells == {
        "Training time": "1 min 15 s",
        "Throughput": "1313 tokens/s",
        "Peak memory": "1.5 GB",
        "Tokens": "98,765",
        "Hardware": "CPU, 2 cores, 8 GB of memory",
    }
    assert table_cells(text, "LoRA modules")[1] == "q_proj, v_proj"
    assert "Learning rate" not in text, "what the run did not record has no line"
    assert "1,234 rows for training, 56 for validation" in text


def test_easier_rows_are_told_where_a_run_began_with_them(options):
    told = "Curriculum, share of the first epoch with easier rows"
    write_adapter(options["--adapter"], str(options["--adapter"].parent / "model"), curriculum=0.33)
    assert table_cells(build(options), told)[1] == "0.33"
    write_adapter(options["--adapter"], str(options["--adapter"].parent / "model"), curriculum=0.0)
    assert told not in build(options)


def test_tasks_that_were_not_trained_or_not_measured_are_named(options):
    rows = {"review_rating": 1000, "also_buy": 234, "next_query": 5}
    write_adapter(options["--adapter"], str(options["--adapter"].parent / "model"), tasks=rows)
    text = build(options)
    assert "no row in its training data: Ranking products for a query; An answer from reviews." in text
    assert "Not measured, so nothing is promised: What will this customer search next?." in text


def test_without_a_training_summary_nothing_is_made_up(options):
    (options["--adapter"] / "training_summary.json").unlink()
    text = build(options)
    assert "The training run left no record of its settings and measurements." in text
    assert "not measured" not in text
    assert "recorded no fingerprint" in text


def test_emissions_are_told_where_they_were_measured_and_nowhere_else(options):
    text = build(options)
    assert "missions" not in text
    assert "co2" not in text
    write_adapter(options["--adapter"], str(options["--adapter"].parent / "model"), emissions_kg=0.0012)
    text = build(options)
    assert table_cells(text, "Emissions")[1] == "0.0012 kg CO2e"
    assert ModelCard.load(options["--out"]).data.to_dict()["co2_eq_emissions"] == {
        "emissions": 1.2,  # grams, as the Hub wants them
        "source": "the training run's own record",
        "training_type": "fine-tuning",
        "hardware_used": "cpu",
    }


def test_data_is_told_by_fingerprint_source_and_licence(options):
    text = build(options)
    assert f"Fingerprint of its rows at training: `{FINGERPRINT}`." in text
    assert table_cells(text, "`default`") == ["`default`", "1,290", "160", f"`{FINGERPRINT[:12]}`"]
    assert table_cells(text, "esci") == ["esci", "500", "490", "10"]
    assert table_cells(text, "Source: amazonqa")[1] == "none stated"
    assert table_cells(text, "Base model: some-lab/Tiny-1M")[1] == "apache-2.0"
    assert "Shopping Queries Dataset" in text


def test_what_does_not_fit_together_stands_above_all_else(options):
    assert "inconsistent" not in build(options)
    write_adapter(options["--adapter"], str(options["--adapter"].parent / "model"), dataset_fingerprint="f" * 64)
    above = build(options).partition("## Intended use")[0]
    assert "> **Read the scores with care: the inputs of this card are inconsistent.**\n> - The dataset below" in above


def test_languages_are_those_of_the_rows(options):
    write_data(options["--data"], locales=["jp", "us"])
    assert "languages other than English and Japanese." in build(options)
    assert ModelCard.load(options["--out"]).data.language == ["en", "ja"]


def test_synthetic_rows_are_called_synthetic(options):
    assert "synthetic" not in build(options)
    write_data(options["--data"], synthetic=True)
    assert "**The rows are synthetic:**" in build(options)


def test_without_the_dataset_its_licences_are_not_known(options):
    text = build(options | {"--data": None})
    assert table_cells(text, "Data")[1] == "not known here"
    assert ModelCard.load(options["--out"]).data.license == "other"


@pytest.mark.parametrize("known", [True, False])
def test_no_path_of_this_machine_reaches_the_card(options, tmp_path, known):
    if not known:
        (tmp_path / "model" / "README.md").unlink()
    hardware = {"device": f"cpu {tmp_path}/device", "cores": 2}
    write_adapter(
        options["--adapter"], str(tmp_path / "model"), hardware=hardware, dataset_config=str(tmp_path), dataset_fingerprint=None
    )
    text = build(options | {"--repo-id": None})
    assert str(tmp_path) not in text
    assert not re.search(r"(?<![\w:./])/(tmp|home|root|work|Users)/", text)
    data = ModelCard.load(options["--out"]).data
    assert data.base_model == ("some-lab/Tiny-1M" if known else None)
    assert ("names no base model" in text) is not known


def test_names_from_files_cannot_break_the_card(options, tmp_path):
    evil = "a|b `c` {{ d }} <img src=x>\n---\n# e: [f]("
    card = f"---\nbase_model: some-lab/Tiny-1M\nlicense: 'x: | {{}} `'\n---\n# {evil.splitlines()[0]}\n"
    (tmp_path / "model" / "README.md").write_text(card)
    write_data(
        options["--data"],
        configs={evil: {"train": 1, "test": 1, "fingerprint": evil}},
        sources={evil: {"licence": evil, "read": 1, "used": None}},
        rejects={evil: {evil: 2}},
    )
    write_adapter(
        options["--adapter"],
        str(tmp_path / "model"),
        hardware={"device": evil},
        versions={evil: evil},
        dataset_config=evil,
        dataset_fingerprint=evil,
    )
    write_baseline(tmp_path / "evil", evil, TUNED)
    write_run(tmp_path / "tuned", {f"shopping_mmlu:{evil.replace('|', '')}": said(1.0)}, metric="accuracy")
    shutil.move(tmp_path / "tuned" / "results" / "org" / "model" / "results_2026-01-02T10-00-00.000001.json",
                tmp_path / "tuned" / "results" / "adapter")  # fmt: skip
    document = next((tmp_path / "tuned").rglob("results_2026-01-02T10*.json"))
    write_json(document, json.loads(document.read_text()) | {"config_general": {"model_name": "adapter"}})
    text = build(options | {"--baseline-results": tmp_path / "evil"})
    loaded = ModelCard.load(options["--out"])
    assert len(loaded.data.eval_results) == 4
    assert loaded.text.count("\n## ") == 8
    assert len(re.findall(r"^### ", loaded.text, re.MULTILINE)) == 5, "three ways to start, baselines, Shopping MMLU"
    assert "\n# e" not in text
    assert not re.search(r"(?<!\\)<img(?! src=\"scores.png)", text)
    tables = [line for line in text.splitlines() if line.startswith("|")]
    widths = {line: len(re.findall(r"(?<!\\)\|", line)) for line in tables}
    source = next(line for line in tables if "\\<img" in line and "| 2 |" in line)
    assert widths[source] == 5
    header = next(line for line in tables if line.startswith("| Task | Tuned | a"))
    assert widths[header] == 4
    assert widths[next(line for line in tables if line.startswith("| A") and "\\<img" in line)] == 4


def test_a_limit_on_rows_is_told_in_text_and_metadata(options, tmp_path):
    text = build(options | {"--results": write_results(tmp_path / "few", TUNED, max_samples=10)})
    assert "Asked no more than 10 rows of a task (--max-samples): tuned." in text
    results = ModelCard.load(options["--out"]).data.eval_results
    assert {json.dumps(result.dataset_args) for result in results} == {'{"num_few_shot": 0, "max_samples": 10}'}
    assert table_cells(text, TASKS["also_buy"].title)[0].endswith("10 rows")


def test_the_plot_is_beside_the_card_and_drawn_from_the_scores(options):
    text = build(options)
    plot = options["--out"].with_name("scores.png")
    assert '<img src="scores.png" width="480" alt="Scores of the base and the tuned model, task by task">' in text
    first = plot.read_bytes()
    assert first.startswith(b"\x89PNG")
    write_results(options["--results"], {**TUNED, "also_buy": 0.9}, time="2027")
    build(options)
    assert plot.read_bytes() != first


def test_without_matplotlib_there_is_no_plot(options, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "scores.png" not in build(options)
    assert not options["--out"].with_name("scores.png").exists()


def test_the_same_files_give_the_same_card(options):
    first = build(options)
    plot = options["--out"].with_name("scores.png").read_bytes()
    assert build(options) == first
    assert options["--out"].with_name("scores.png").read_bytes() == plot


def test_a_card_that_fails_its_check_leaves_the_old_one(options, monkeypatch, capsys):
    old = build(options)
    template = options["--out"].parent.parent / "template.md"
    template.write_text(card_module.TEMPLATE.read_text(encoding="utf-8") + "\n![gone](gone.png)\n", encoding="utf-8")
    monkeypatch.setattr(card_module, "TEMPLATE", template)
    with pytest.raises(SystemExit):
        build(options)
    assert "gone.png, which is not beside it" in capsys.readouterr().err
    assert options["--out"].read_text(encoding="utf-8") == old
    assert sorted(path.name for path in options["--out"].parent.iterdir()) == ["README.md", "notebook.ipynb", "scores.png"]


BAD = {
    "adapter is missing": ({"--adapter": "gone"}, "gone is not a folder"),
    "no adapter": ({"--adapter": "data"}, "holds no adapter_config.json"),
    "adapter config is corrupt": ({"--adapter": "corrupt"}, "adapter_config.json cannot be read as JSON"),
    "summary is a list": ({"--adapter": "listed"}, "training_summary.json holds no JSON object"),
    "results are missing": ({"--results": "gone"}, "gone: no such file or folder"),
    "base results are missing": ({"--base-results": "gone"}, "gone: no such file or folder"),
    "no baseline": ({"--baseline-results": "tuned"}, "tuned holds no results of a baseline"),
    "another suite alone": ({"--results": "bench"}, "bench holds no score of a shop task"),
    "no results": ({"--results": "data"}, "holds no results_"),
    "the same results twice": ({"--base-results": "tuned"}, "are the same"),
    "no manifest": ({"--data": "adapter"}, "holds no manifest.json"),
    "neither folder nor id": ({"--data": "./gone"}, "is no file or folder here, and no Hub id such as org/name"),
    "out is a folder": ({"--out": "data"}, "is a folder"),
    "out is below a file": ({"--out": "data/manifest.json/README.md"}, "cannot write"),
    "base model is a path": ({"--base-model": "../x/y"}, "give --base-model org/name"),
    "repo id without namespace": ({"--repo-id": "name"}, "give --repo-id org/name"),
    "repo id is a path": ({"--repo-id": "../x/y"}, "give --repo-id org/name"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_a_sentence_and_exit_code_2(options, tmp_path, monkeypatch, capsys, change, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corrupt").mkdir()
    (tmp_path / "corrupt" / "adapter_config.json").write_text('{"r": ')
    write_json(write_adapter(tmp_path / "listed", "x/y") / "training_summary.json", [1])
    write_run(tmp_path / "bench", {"shopbench:task1": said(1.0)}, metric="accuracy")
    out = options["--out"]
    with pytest.raises(SystemExit) as stop:
        build(options | change)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert not out.exists()


def test_push_needs_a_repository(options, capsys):
    with pytest.raises(SystemExit):
        build(options | {"--repo-id": None}, "--push")
    assert "--push needs --repo-id" in capsys.readouterr().err


def test_a_dry_run_is_of_a_push(options, capsys):
    with pytest.raises(SystemExit):
        build(options, "--dry-run")
    assert "--dry-run is for --push" in capsys.readouterr().err


def upload(repo_id, repo_type, files):
    """Puts files on the loopback Hub, one commit each."""
    HfApi().create_repo(repo_id, repo_type=repo_type)
    for path, content in files.items():
        HfApi().upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=repo_id, repo_type=repo_type)


def run(options, *flags):
    """The command in this process."""
    return run_main(main, *(part for name, value in options.items() if value is not None for part in (name, value)), *flags)


@pytest.mark.usefixtures("hub_client")
def test_push_is_one_commit_over_the_trainers_card(hub, options):
    repo_id = "org/card-push"
    upload(repo_id, "model", {"README.md": b"trainer", "adapter_config.json": b"trainer"})
    before = len(hub.commits(repo_id))
    done = run(options | {"--repo-id": repo_id}, "--push")
    assert done.returncode == 0, done.stderr
    files = hub.files(repo_id)
    assert set(files) == {"README.md", "notebook.ipynb", "scores.png", "adapter_config.json"}
    assert files["README.md"] == options["--out"].read_bytes()
    assert files["adapter_config.json"] == b"trainer"
    assert len(hub.commits(repo_id)) == before + 1
    again = run(options | {"--repo-id": repo_id}, "--push")
    assert "nothing to do" in again.stdout
    assert len(hub.commits(repo_id)) == before + 1


@pytest.mark.usefixtures("hub_client")
def test_a_dry_run_commits_nothing(hub, options):
    done = run(options | {"--repo-id": "org/card-dry"}, "--push", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "would upload 3 files" in done.stdout
    assert not hub.exists("org/card-dry")


@pytest.mark.usefixtures("hub_client")
def test_a_dataset_on_the_hub_is_named_with_its_commit(hub, options):
    upload("org/card-data", "dataset", {"manifest.json": (options["--data"] / "manifest.json").read_bytes()})
    done = run(options | {"--data": "org/card-data"})
    assert done.returncode == 0, done.stderr
    card = ModelCard.load(options["--out"])
    commit = hub.head("org/card-data", "dataset")
    assert card.data.datasets == ["org/card-data"]
    assert {(result.dataset_type, result.dataset_revision) for result in card.data.eval_results} == {("org/card-data", commit)}
    assert f"(https://huggingface.co/datasets/org/card-data), revision `{commit}`" in card.text

    missing = run(options | {"--data": "org/card-no-data"})
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    assert "--data org/card-no-data is no folder here and no dataset on" in missing.stderr


@pytest.mark.usefixtures("hub_client")
def test_a_base_on_the_hub_lends_its_licence(hub, options):
    files = {"README.md": b"---\nlicense: mit\n---\n", "config.json": b'{"torch_dtype": "float16"}'}
    upload("org/card-base", "model", files)
    write_adapter(options["--adapter"], "org/card-base")
    done = run(options)
    assert done.returncode == 0, done.stderr
    text = options["--out"].read_text(encoding="utf-8")
    assert table_cells(text, "Base model: org/card-base")[1] == "mit"
    assert "local copy" not in text
    assert text.count('dtype="float16"') == 2
    assert "vllm serve org/card-base --dtype float16" in text


def test_a_base_that_cannot_be_asked_for_is_no_obstacle(options, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    write_adapter(options["--adapter"], "some-lab/Not-Reachable")
    text = build(options)
    assert table_cells(text, "Base model: some-lab/Not-Reachable")[1] == "not known here"
    assert text.count('dtype="auto"') == 2


def test_an_adapter_that_vllm_cannot_take_has_one_way_to_start(options):
    config = options["--adapter"] / "adapter_config.json"
    write_json(config, json.loads(config.read_text()) | {"use_dora": True})
    text = build(options)
    assert "vLLM cannot serve this adapter as it is, since it has no support for DoRA: merge it into its base first." in text
    assert text.count("```python") == 1
    assert "vllm serve" not in text


SCORED = {"model": "adapter_scored", "model_config": {"answers": "scored"}}


def test_written_and_scored_answers_stand_beside_one_another_where_both_were_measured(options, tmp_path):
    before = build(options)
    assert "### Written and scored answers" not in before
    scored = write_results(tmp_path / "tuned_scored", {name: score + 0.1 for name, score in TUNED.items()}, **SCORED)
    of_base = write_results(tmp_path / "base_scored", BASE, model="model_scored", model_config={"answers": "scored"})

    text = build(options, "--results", str(scored), "--base-results", str(of_base))

    section = text.partition("### Written and scored answers")[2].partition("\n#")[0]
    titles = ["Task", "Tuned, written", "Tuned, scored", "Difference", "Base, written", "Base, scored"]
    assert table_cells(section, "Task") == titles
    rating = table_cells(section, "Rating of a review")
    assert [cell.partition(" / ")[0].strip("*") for cell in rating[1:]] == ["0.600", "0.700", "+0.100", "0.200", "0.200"]
    assert "An answer from reviews" not in section, "texts are written in both"
    assert table_cells(text, "Rating of a review")[1].startswith("0.200"), "the card's scores are those of written answers"
    assert ModelCard.load(options["--out"]).data.eval_results[0].metric_value == TUNED["review_rating"]


def test_the_best_baseline_stands_beside_written_and_scored_answers(options, tmp_path):
    scored = write_results(tmp_path / "tuned_scored", TUNED, **SCORED)
    write_baseline(tmp_path / "out" / "tfidf", "tfidf", {"review_rating": 0.9, "also_buy": 0.1})
    write_baseline(tmp_path / "out" / "random", "random", dict.fromkeys(TUNED, 0.2))
    text = build(options | {"--baseline-results": tmp_path / "out"}, "--results", str(scored))
    section = text.partition("### Written and scored answers")[2].partition("\n#")[0]
    assert table_cells(section, "Task")[-1] == "Best baseline"
    assert table_cells(section, TASKS["review_rating"].title)[-1] == "0.900"
    assert table_cells(section, TASKS["also_buy"].title)[-1] == "0.200"


def test_scored_answers_alone_are_the_cards_scores(options):
    write_results(options["--results"], TUNED, time="2027-01-02T03-04-05.678901", **SCORED)
    shutil.rmtree(options["--results"] / "results" / "adapter")
    text = build(options)
    assert "### Written and scored answers" not in text
    assert table_cells(text, "Rating of a review")[2].startswith("0.600")


def test_scored_answers_of_another_model_are_refused(options, tmp_path, capsys):
    other = write_results(tmp_path / "other", TUNED, model="another_scored", model_config={"answers": "scored"})
    with pytest.raises(SystemExit):
        build(options, "--results", str(other))
    assert "hold results of adapter and another; give those of one model" in capsys.readouterr().err
