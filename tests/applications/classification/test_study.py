"""The study of a recipe: reviews divided by film, variants trained and compared, calibration of seeds."""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_data import SMALL, write_data

from benchmarks.classification import calibration, films, study
from benchmarks.classification.study_views import (
    PUBLISHED,
    ablation_table,
    draw_ablation,
    draw_learning_curve,
    learning_curve_table,
)
from benchmarks.environment import command_line
from benchmarks.jobs import run_all
from benchmarks.spread import show, spread
from jaxrnn import applications, train
from jaxrnn.applications import Trained, build_network, load_config
from jaxrnn.applications.classification.data import ClassificationAssets
from jaxrnn.applications.classification.ratios import NUM_FOLDS
from jaxrnn.data.text import Vocabulary, load_corpus, load_split
from jaxrnn.errors import InputError

PNG = b"\x89PNG"


def write_reviews(folder, count=5000):
    """Reviews with the numbers 0 to count - 1 of both classes, shuffled, and two to test."""
    rows = [(f"text {label} {n}", label, f"{n}_{8 if label else 3}") for label in (0, 1) for n in range(count)]
    order = np.random.default_rng(0).permutation(len(rows))
    folder.mkdir()
    for split, part in {"train": [rows[k] for k in order], "test": [("a", 0, "0_1"), ("b", 1, "0_9")]}.items():
        text, label, number = zip(*part, strict=True)
        pq.write_table(pa.table({"text": text, "label": label, "id": number}), folder / f"{split}.parquet")
    return folder


def read_rows(file):
    return [tuple(row.values()) for row in pq.read_table(file).to_pylist()]


def test_reviews_are_divided_by_whole_blocks_of_numbers(tmp_path, capsys):
    imdb, out = write_reviews(tmp_path / "imdb"), tmp_path / "films"
    assert films.main([str(imdb), str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: 9,000 train, 1,000 validation, 2 test\n"
    splits = {split: read_rows(out / f"{split}.parquet") for split in ("train", "validation", "test")}
    assert splits["test"] == read_rows(imdb / "test.parquet")
    # Of blocks 0 to 19 the 6th and the 16th of each class, and nothing else.
    chosen = {(label, n) for label in (0, 1) for n in (*range(1250, 1500), *range(3750, 4000))}
    assert {(label, int(number.split("_")[0])) for _, label, number in splits["validation"]} == chosen
    assert len(splits["validation"]) == len(chosen)
    # Nothing is lost, and neighbours stand together.
    rest = set(read_rows(imdb / "train.parquet")) - set(splits["validation"])
    assert set(splits["train"]) == rest
    assert len(splits["train"]) == len(rest)
    numbers = [int(number.split("_")[0]) for _, _, number in splits["train"]]
    assert numbers == sorted(numbers)
    corpus = load_corpus(str(out), validation_fraction=0.5, test_fraction=0.5, seed=0)
    assert {split: len(each) for split, each in corpus.splits.items()} == {"train": 9000, "validation": 1000, "test": 2}


def test_recipes_are_chosen_without_the_test_split(tmp_path):
    imdb, out = write_reviews(tmp_path / "imdb", count=1000), tmp_path / "films"
    (imdb / "test.parquet").unlink()
    assert films.main([str(imdb), str(out), "--every", "4", "--without-test"]) == 0
    validation = read_rows(out / "validation.parquet")
    assert {int(number.split("_")[0]) // 250 for _, _, number in validation} == {2}
    assert read_rows(out / "test.parquet") == validation


def test_what_cannot_be_divided_is_refused(tmp_path):
    imdb, out = write_reviews(tmp_path / "imdb", count=1000), tmp_path / "films"
    with pytest.raises(InputError, match=r"^OUT_FOLDER: expected another folder"):
        films.main([str(imdb), str(tmp_path / "films" / ".." / "imdb")])
    for every in ("0", "1", "10"):  # of 4 blocks the 6th
        with pytest.raises(InputError, match=r"^--every: expected"):
            films.main([str(imdb), str(out), "--every", every])
    with pytest.raises(InputError, match=r"expected ids such as 123_8, a number and a rating, got 'tt1_8'"):
        films.numbers_of(["1_8", "tt1_8"])
    with pytest.raises(InputError, match=r"no such file"):
        films.main([str(tmp_path), str(out)])
    pq.write_table(pa.table({"text": ["a"], "label": [0]}), imdb / "train.parquet")
    with pytest.raises(InputError, match=r"expected the columns text, label and id, it has no id"):
        films.main([str(imdb), str(out)])
    assert not out.exists()


def python(code):
    return [sys.executable, "-c", code]


two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core")


@two_cores
def test_jobs_run_on_cores_of_their_own(tmp_path):
    usable = os.sched_getaffinity(0)
    code = "import os; print(sorted(os.sched_getaffinity(0)))"
    commands = {"a": python(code), "b": python(code), "c": python("import sys; sys.exit('no memory')")}
    assert dict(run_all(commands, at_once=2, logs=tmp_path)) == {"a": 0, "b": 0, "c": 1}
    a, b = (set(json.loads((tmp_path / f"{name}.log").read_text())) for name in "ab")
    assert a | b == usable
    assert not a & b
    assert (tmp_path / "c.log").read_text() == "no memory\n"
    assert os.sched_getaffinity(0) == usable
    assert list(run_all({"d": python(code)}, at_once=1, logs=tmp_path)) == [("d", 0)]
    assert json.loads((tmp_path / "d.log").read_text()) == sorted(usable)


@two_cores
def test_who_stops_asking_stops_the_jobs(tmp_path):
    log = tmp_path / "slow.log"
    slow = (
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(print('saved'))); print('ready', flush=True)"
    )
    quick = f"import pathlib, time\nwhile not pathlib.Path({str(log)!r}).read_text(): time.sleep(0.05)"
    commands = {"slow": python(f"{slow}; time.sleep(60)"), "quick": python(quick), "later": python("")}
    jobs, start = run_all(commands, at_once=2, logs=tmp_path), time.monotonic()
    assert next(jobs) == ("quick", 0)
    jobs.close()
    assert time.monotonic() - start < 50
    assert log.read_text() == "ready\nsaved\n"
    assert not (tmp_path / "later.log").exists()


def test_mean_and_deviation():
    assert spread([1.0, 2.0, 6.0]) == {
        "mean": 3.0,
        "standard_deviation": pytest.approx(7**0.5),
        "values": [1.0, 2.0, 6.0],
    }
    assert show(spread([0.5, 0.6]), scale=100) == "55.00 ± 7.07"
    assert show(spread([0.012]), scale=100, sign=True) == "+1.20"


def test_the_command_is_kept_without_this_machines_paths(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/x/benchmarks/run.py", "configs/a.toml", "data.source=/a/b", "--out", "/c"])
    assert command_line() == "python -m benchmarks.run configs/a.toml data.source=PATH --out PATH"
    monkeypatch.setattr(sys, "argv", ["/x/benchmarks/classification/study.py", "ablation"])
    assert command_line() == "python -m benchmarks.classification.study ablation"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A config's path, and changes that it is given."""
    data = write_data(tmp_path_factory.mktemp("data"))
    path = tmp_path_factory.mktemp("configs") / "recipe.toml"
    path.write_text('[model]\ncell = "elman"\npooling = "max,mean,last"\n[optim]\nema_decay = 0.5\n')
    small = [*SMALL, "data.max_shapes=1", "model.bidirectional=false", "train.epochs=2", "train.seeds=2", "seed=5"]
    return path, [f"data.source={data}", f"data.cache_dir={tmp_path_factory.mktemp('cache')}", *small]


@pytest.fixture(scope="module")
def variants(recipe, tmp_path_factory):
    """The recipe and a variant, trained in this process."""
    path, given = recipe
    changes = {"the last state, alone": ["model.pooling=last"], "50 reviews": ["data.max_train_examples=50"]}
    planned = study.plan(path, given, tmp_path_factory.mktemp("runs"), changes)
    for variant in planned:
        assert variant.command[:3] == [sys.executable, "-m", "jaxrnn.train"]
        assert train.main(variant.command[3:]) == 0
    return planned


def test_an_ablation_reports_the_epoch_that_was_kept_and_no_test(variants, tmp_path):
    rows = study.collect(variants, "ablation", num_train=120)
    for variant, row in zip(variants, rows, strict=True):
        accuracies = []
        for seed in (5, 6):
            lines = Path(variant.config.run_dir, f"seed-{seed}", "metrics.jsonl").read_text().splitlines()
            metrics = [json.loads(line) for line in lines]
            epochs = [each for each in metrics if each["split"] == "validation"]
            accuracies.append(min(epochs, key=lambda each: each["loss"])["accuracy"])
        assert row["validation_accuracy"]["values"] == accuracies
        assert row["validation_accuracy"]["mean"] == pytest.approx(np.mean(accuracies))
        assert row["validation_accuracy"]["standard_deviation"] == pytest.approx(np.std(accuracies, ddof=1))
        ours, recipes = (each["validation_accuracy"]["values"] for each in (row, rows[0]))
        assert row["validation_accuracy_gained"]["values"] == pytest.approx(np.subtract(ours, recipes))
        assert row["seeds"] == [5, 6]
    assert [row["changes"] for row in rows] == [[], ["model.pooling=last"], ["data.max_train_examples=50"]]
    assert "test" not in json.dumps(rows)
    assert variants[1].config.run_dir.endswith("/the_last_state_alone")

    rows[0]["validation_accuracy"]["mean"] = 0.9
    rows[1]["validation_accuracy_gained"] = spread([-0.01, -0.03])
    result = {"rows": rows, "examples": {"train": 120, "validation": 900, "test": 60}}
    text = "\n".join(ablation_table(result))
    assert "| the last state, alone |" in text
    assert "| -2.00 ± 1.41 |" in text
    assert text.endswith(
        "2 seeds: mean ± standard deviation. The recipe's accuracy on 900 reviews has a standard error of 1.00 points."
    )
    draw_ablation(result, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)


def test_a_learning_curve_reports_test_accuracy_by_size(variants, tmp_path):
    rows = study.collect([variants[0], variants[2]], "learning_curve", num_train=120)
    assert [row["train_examples"] for row in rows] == [120, 50]
    for variant, row in zip((variants[0], variants[2]), rows, strict=True):
        summary = json.loads(Path(variant.config.run_dir, "result.json").read_text())
        for key in ("test_accuracy", "test_loss", "seconds_training"):
            found = {name: row[key][name] for name in ("mean", "standard_deviation")}
            assert found == pytest.approx(summary[key])
        assert "validation_accuracy_gained" not in row
    result = {"rows": rows, "examples": {"train": 120, "validation": 40, "test": 60}}
    table = learning_curve_table(result)
    assert [line.split(" | ")[0] for line in table[2:4]] == ["| 50", "| 120"]
    assert show(rows[1]["test_accuracy"], scale=100) in table[2]
    draw_learning_curve(result, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)
    assert all("org/" in name or "com/" in name for name in PUBLISHED)


def test_variants_are_checked_before_the_first_is_trained(recipe, tmp_path):
    path, given = recipe

    def plan(changes):
        return study.plan(path, given, tmp_path, changes)

    with pytest.raises(InputError, match=r"^'no such': unknown key 'model.poling', did you mean 'model.pooling'\?"):
        plan({"no such": ["model.poling=last"]})
    with pytest.raises(InputError, match=r"^'none': expected another run than 'recipe', it is the same"):
        plan({"none": ["optim.ema_decay=0.5"]})
    with pytest.raises(InputError, match=r"^'GRU!': expected another run than 'gru', it is the same"):
        plan({"gru": ["model.cell=gru"], "GRU!": ["model.cell=lstm"]})  # one folder
    elsewhere = study.plan(path, [*given, "run_dir=runs/mine"], tmp_path, {"gru": ["model.cell=gru"]})
    assert [each.config.run_dir for each in elsewhere] == ["runs/mine", str(tmp_path / "gru")]
    assert study.smaller_than(5000) == {"1,000 reviews": ["data.max_train_examples=1000"]}
    (tmp_path / "table.toml").write_text('"one" = "model.cell=gru"')
    with pytest.raises(InputError, match=r"table.toml: 'one': expected a list of changes"):
        study.read_ablation(tmp_path / "table.toml")
    assert all(changes for changes in study.read_ablation(study.ABLATION).values())


def test_calibration_of_seeds(variants, recipe, tmp_path, capsys):
    run_dir, data = variants[0].config.run_dir, recipe[1][0].removeprefix("data.source=")
    assert calibration.main([run_dir, "--data", data, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    result = json.loads((tmp_path / "out" / "calibration.json").read_text())
    assert result["environment"]["versions"].keys() >= {"jax", "flax", "numpy"}
    assert list(result["models"]) == ["seed-5", "seed-6"]

    examples = load_split(data, split="test", label_names=("bad", "good"))
    probabilities = []
    for seed in (5, 6):
        answers = applications.load(Path(run_dir, f"seed-{seed}")).predict(examples.texts)
        probabilities.append(np.array([[answer.probabilities[name] for name in ("bad", "good")] for answer in answers]))
    for row, p in zip(result["models"].values(), probabilities, strict=True):
        chosen = p[np.arange(60), examples.labels]
        assert row["accuracy"] == pytest.approx((chosen > 0.5).mean())
        assert row["loss"] == pytest.approx(-np.log(chosen).mean(), rel=1e-4)
        assert row["brier"] == pytest.approx(2 * ((1 - chosen) ** 2).mean(), rel=1e-4)
        confidence, right = p.max(1), chosen > 0.5
        bins = np.ceil(confidence * 15)
        gaps = [abs((right - confidence)[bins == number].sum()) for number in range(1, 16)]
        assert row["ece_equal_width"] == pytest.approx(sum(gaps) / 60, rel=1e-4)
        order = np.argsort(confidence, kind="stable")
        gaps = [abs((right - confidence)[part].sum()) for part in np.split(order, 15)]
        assert row["ece_equal_mass"] == pytest.approx(sum(gaps) / 60, rel=1e-3, abs=1e-6)
        assert row["bins"]["num_examples"] == [4] * 15
    for seed in (5, 6):
        recorded = json.loads(Path(run_dir, f"seed-{seed}", "result.json").read_text())
        assert result["models"][f"seed-{seed}"]["loss"] == pytest.approx(recorded["test_loss"], rel=1e-5)
    accuracies = [result["models"][f"seed-{seed}"]["accuracy"] for seed in (5, 6)]
    assert result["seeds"]["accuracy"]["mean"] == pytest.approx(np.mean(accuracies))
    rows = [line.split(" | ")[0] for line in printed.splitlines()[2:5]]
    assert rows == ["| seed-5", "| seed-6", "| mean ± standard deviation"]
    assert (tmp_path / "out" / "reliability.png").read_bytes().startswith(PNG)


def test_the_branches_of_a_model_answer_alone(variants):
    trained = applications.load(Path(variants[0].config.run_dir, "seed-5"))
    assert calibration.branches(trained) == {}  # one branch
    config = load_config(None, ["model.ratio_inputs=true", "model.bag_of_words=true"])
    rng = np.random.default_rng(0)
    ratios = rng.normal(size=(NUM_FOLDS + 1, 4, 1)).astype(np.float32)
    assets = ClassificationAssets(("bad", "good"), Vocabulary(["fine", "dull"]), ratios=ratios)
    split = build_network(trained.application, config, assets)
    parameters = {name: rng.normal(size=value.shape).astype(np.float32) for name, value in split.parameters.items()}
    both = Trained("run", trained.application, config, assets, split, parameters, 0)
    texts = ["fine", "dull and dull", "fine dull"]

    def logits(model):
        probabilities = [answer.probabilities for answer in model.predict(texts)]
        return np.log([each["good"] / each["bad"] for each in probabilities])

    network, bag = map(logits, calibration.branches(both).values())
    np.testing.assert_allclose(logits(both), (network + bag) / 2, rtol=1e-4, atol=1e-5)
    unknown, _, fine, dull = parameters["bag.weight"][:, 0] * ratios[-1, :, 0]
    expected = parameters["bag.bias"] + np.stack([fine, dull + unknown, fine + dull])
    np.testing.assert_allclose(bag, expected, rtol=1e-4, atol=1e-5)


def test_calibration_waits_for_the_run_to_be_complete(variants, tmp_path):
    with pytest.raises(InputError, match=r"is not complete, and the test split is not looked at before"):
        calibration.main([str(tmp_path), "--data", "x", "--out", str(tmp_path / "out")])


@pytest.mark.slow
def test_the_studies_train_by_the_command_line_and_go_on(recipe, tmp_path, monkeypatch, capsys):
    path, given = recipe
    (tmp_path / "table.toml").write_text(
        '"the last state, alone" = ["model.pooling=last"]\n"too large" = ["model.hidden=100_000_000"]\n'
    )
    monkeypatch.setattr(study, "ABLATION", tmp_path / "table.toml")
    monkeypatch.setattr(study, "SIZES", (1000, 50))
    command = [
        str(path),
        *given,
        "train.seeds=1",
        "--out",
        str(tmp_path / "out"),
        "--jobs",
        str(min(2, os.cpu_count())),
    ]
    assert study.main(["ablation", *command]) == 1
    printed = capsys.readouterr().out
    result = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert [row["name"] for row in result["rows"]] == ["recipe", "the last state, alone"]
    assert result["failed"].keys() == {"too large"}
    assert result["failed"]["too large"].startswith("exit status 2: error: ")
    assert result["examples"] == {"train": 120, "validation": 40, "test": 60}
    assert "| the last state, alone | " in printed
    assert "One seed." in printed
    recorded = json.loads((tmp_path / "out/ablation/recipe/result.json").read_text())
    assert result["rows"][0]["validation_loss"]["values"] == [recorded["validation_loss"]]

    # The recipe's own run, where there is one, is neither trained again nor changed.
    own = tmp_path / "out/ablation/recipe"
    before = {file: file.read_bytes() for file in own.rglob("*") if file.is_file()}
    assert study.main(["learning-curve", *command, f"run_dir={own}"]) == 0
    assert {file: file.read_bytes() for file in before} | {own / ".lock": b""} == before | {own / ".lock": b""}
    result = json.loads((tmp_path / "out" / "learning_curve.json").read_text())
    assert [row["train_examples"] for row in result["rows"]] == [120, 50]
    assert result["rows"][0]["test_accuracy"]["values"] == [recorded["test_accuracy"]]
    assert "this run is complete" in (tmp_path / "out/learning_curve/recipe.log").read_text()
    assert all(
        (tmp_path / "out" / name).read_bytes().startswith(PNG) for name in ("ablation.png", "learning_curve.png")
    )
