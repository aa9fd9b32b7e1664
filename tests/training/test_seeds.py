"""Several seeds in one command, and their ensemble."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_data import SMALL, assert_same_run, write_data

from jaxrnn import build, ensemble, evaluate, predict, train
from jaxrnn.config import load_config
from jaxrnn.data import NGrams, Vocabulary, load_examples
from jaxrnn.ensemble import load_ensemble
from jaxrnn.errors import InputError
from jaxrnn.seeds import summarise
from jaxrnn.tasks import class_probabilities


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_data(tmp_path_factory.mktemp("data"))
    (folder / "validation.jsonl").unlink()  # so that a seed decides the split
    return folder


@pytest.fixture(scope="module")
def settings(data, tmp_path_factory):
    small = [*SMALL, "data.max_shapes=1", "model.cell=elman", "model.bidirectional=false", "train.epochs=1"]
    return [f"data.source={data}", f"data.cache_dir={tmp_path_factory.mktemp('cache')}", *small]


@pytest.fixture(scope="module")
def run_dir(settings, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    assert train.main([*settings, f"run_dir={run_dir}", "seed=5", "train.seeds=2"]) == 0
    return run_dir


def test_each_seed_is_a_run_of_its_own(run_dir, settings, tmp_path, capsys):
    assert train.main([*settings, f"run_dir={tmp_path / 'run'}", "seed=6", "data.split_seed=5"]) == 0
    assert_same_run(run_dir / "seed-6", tmp_path / "run")
    result = json.loads((run_dir / "result.json").read_text())
    losses = [json.loads((run_dir / f"seed-{seed}" / "result.json").read_text())["test_loss"] for seed in (5, 6)]
    assert result["seeds"] == [5, 6]
    assert losses[0] != losses[1]
    assert result["test_loss"]["mean"] == pytest.approx(sum(losses) / 2)
    assert result["test_loss"]["standard_deviation"] == pytest.approx(abs(losses[0] - losses[1]) / 2**0.5)
    capsys.readouterr()
    assert train.main([*settings, f"run_dir={run_dir}", "seed=5", "train.seeds=2"]) == 0
    assert capsys.readouterr().out.count("this run is complete") == 2
    with pytest.raises(InputError, match=r"holds a run with another config .*train.seeds: 2 != 1"):
        train.main([*settings, f"run_dir={run_dir}", "seed=5"])


def test_the_ensemble_takes_the_mean_of_probabilities(run_dir, data, capsys):
    examples = load_examples(str(data), split="test", label_names=("bad", "good"))
    members = [build.load_classifier(run_dir / f"seed-{seed}") for seed in (5, 6)]
    expected = np.mean([class_probabilities(each.logits(examples.texts)) for each in members], 0)
    assert evaluate.main([str(run_dir), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    chosen = expected[np.arange(len(expected)), examples.labels]
    assert found["loss"] == pytest.approx(-np.log(chosen).mean(), rel=1e-5)
    assert found["num_members"] == 2
    assert predict.main([str(run_dir), "--json", examples.texts[0]]) == 0
    assert json.loads(capsys.readouterr().out)["probabilities"]["good"] == pytest.approx(expected[0, 1], rel=1e-5)
    with pytest.raises(InputError, match=r"expected one run to explain, it holds several: take .*seed-5"):
        predict.main([str(run_dir), "--explain", "fine"])


def test_members_must_read_alike(run_dir, tmp_path):
    other = shutil.copytree(run_dir / "seed-5", tmp_path / "other")
    config = other / "config.toml"
    config.write_text(config.read_text().replace("max_tokens = 400", "max_tokens = 7"))
    with pytest.raises(InputError, match=r"other: cannot predict together with .*seed-5 \(data.max_tokens: 400 != 7\)"):
        load_ensemble([run_dir / "seed-5", other])


def test_other_runs_of_words_are_another_vocabulary(monkeypatch):
    vocabularies = [Vocabulary(["not", "good"], ngrams=NGrams([(run, 1)])) for run in ((2, 3), (3, 2))]
    config = load_config(None, [])
    found = [build.Classifier(config, ("bad", "good"), vocabulary, {}, 1) for vocabulary in vocabularies]
    members = dict(zip((Path("one"), Path("other")), found, strict=True))
    monkeypatch.setattr(ensemble, "load_classifier", members.__getitem__)
    with pytest.raises(InputError, match=r"other: cannot predict together with one \(another vocabulary\)"):
        load_ensemble(list(members))


def test_a_seed_too_large_is_refused_before_the_first_run(tmp_path):
    with pytest.raises(InputError, match=r"^seed: expected an integer from 0 to"):
        train.main([f"run_dir={tmp_path / 'run'}", f"seed={2**32 - 1}", "train.seeds=2"])
    assert not (tmp_path / "run" / "config.toml").exists()


def test_the_standard_deviation_is_that_of_a_sample():
    summary = summarise([{"test_loss": value, "test_accuracy": 0.5, "best_step": 1} for value in (1.0, 2.0, 6.0)])
    assert summary["test_loss"] == {"mean": 3.0, "standard_deviation": pytest.approx(7**0.5)}
    assert summary["test_accuracy"] == {"mean": 0.5, "standard_deviation": 0.0}
    assert set(summary) == {"test_loss", "test_accuracy"}


def test_the_split_follows_its_own_seed():
    assert load_config(None, ["seed=3"]).split_seed == 3
    assert load_config(None, ["seed=3", "data.split_seed=0"]).split_seed == 0
