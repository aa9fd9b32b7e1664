"""Several seeds in one command."""

import shutil

import pytest
from small_data import assert_same_run, result_of

from jaxrnn import evaluate, predict, report, train
from jaxrnn.errors import InputError
from jaxrnn.training.seeds import summarise, table


@pytest.fixture(scope="module")
def settings(arguments):
    return lambda run_dir, *more: arguments(run_dir, "train.epochs=1", *more)


@pytest.fixture(scope="module")
def run_dir(settings, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    assert train.main(settings(path, "seed=5", "train.seeds=2")) == 0
    return path


def test_each_seed_is_a_run_of_its_own(run_dir, settings, tmp_path):
    assert train.main(settings(tmp_path / "run", "seed=6", "data.split_seed=5")) == 0
    assert_same_run(run_dir / "seed-6", tmp_path / "run")
    result = result_of(run_dir)
    losses = [result["runs"][f"seed-{seed}"]["test_loss"] for seed in result["seeds"]]
    assert result["seeds"] == [5, 6]
    assert losses == [result_of(run_dir / f"seed-{seed}")["test_loss"] for seed in (5, 6)]
    assert losses[0] != losses[1]
    assert result["test_loss"]["mean"] == pytest.approx(sum(losses) / 2)
    assert result["test_loss"]["standard_deviation"] == pytest.approx(abs(losses[0] - losses[1]) / 2**0.5)
    assert {"test_accuracy", "validation_loss", "seconds_training"} < result.keys()


def test_a_complete_run_of_several_seeds_is_left_alone(run_dir, settings, capsys):
    assert train.main(settings(run_dir, "seed=5", "train.seeds=2")) == 0
    assert capsys.readouterr().out.count("this run is complete") == 2
    with pytest.raises(InputError, match=r"another config .*train.seeds: 2 != 1"):
        train.main(settings(run_dir, "seed=5"))
    with pytest.raises(InputError, match=r"another config .*model.hidden: 4 != 5"):
        train.main(settings(run_dir, "seed=5", "train.seeds=2", "model.hidden=5"))


def test_a_run_that_was_stopped_in_its_second_seed_goes_on(run_dir, settings, tmp_path, stopping, log, capsys):
    words = settings(tmp_path / "run", "seed=5", "train.seeds=2")
    shutil.copytree(run_dir / "seed-5", tmp_path / "run" / "seed-5")
    config = tmp_path / "run" / "seed-5" / "config.toml"
    config.write_text(config.read_text().replace(str(run_dir), str(tmp_path / "run")))
    (tmp_path / "run" / "config.toml").write_text(
        (run_dir / "config.toml").read_text().replace(str(run_dir), str(tmp_path / "run"))
    )
    shutil.copy(run_dir / "run.json", tmp_path / "run")
    stopping(5)
    assert train.main(words) == 130
    assert not (tmp_path / "run" / "result.json").exists()
    stopping(None)
    assert train.main(words) == 0
    assert "resuming at step 5 of 8" in log.text
    assert capsys.readouterr().out.count("this run is complete") == 2  # of the first seed, at both starts
    for seed in (5, 6):
        assert_same_run(run_dir / f"seed-{seed}", tmp_path / "run" / f"seed-{seed}")
    assert result_of(tmp_path / "run")["test_loss"] == result_of(run_dir)["test_loss"]


def test_the_folder_of_several_seeds_is_not_one_model(run_dir):
    for command, more in ((evaluate, []), (predict, ["01"]), (report, [])):
        with pytest.raises(InputError, match=r"several seeds.*/seed-5\b"):
            command.main([str(run_dir), *more])
    assert evaluate.main([str(run_dir / "seed-6")]) == 0


def test_a_seed_too_large_is_refused_before_the_first_run(settings, tmp_path):
    with pytest.raises(InputError, match=r"^seed: .*4294967296"):
        train.main(settings(tmp_path / "run", f"seed={2**32 - 1}", "train.seeds=2"))
    assert not (tmp_path / "run").exists()


def test_the_standard_deviation_is_that_of_a_sample():
    results = [{"test_loss": value, "validation_f1": 0.5, "test_words": 7, "best_step": 1} for value in (1.0, 2.0, 6.0)]
    summary = summarise(results)
    assert summary["test_loss"] == {"mean": 3.0, "standard_deviation": pytest.approx(7**0.5)}
    assert summary["validation_f1"] == {"mean": 0.5, "standard_deviation": 0.0}
    assert set(summary) == {"test_loss", "validation_f1"}
    assert summarise(results[:1])["test_loss"]["standard_deviation"] == 0.0


def test_a_metric_that_a_seed_did_not_measure_is_left_out():
    results = [{"test_loss": 1.0, "test_f1": 0.5}, {"test_loss": 2.0}]
    assert set(summarise(results)) == {"test_loss"}


def test_the_table_has_a_line_for_each_run_and_each_statistic():
    results = {"seed-1": {"test_loss": 1.0}, "seed-2": {"test_loss": 2.0}}
    lines = table(results, summarise(list(results.values())), lambda name, value: f"{value:.2f}")
    assert [line.split() for line in lines] == [
        ["test", "loss"], ["seed-1", "1.00"], ["seed-2", "2.00"], ["mean", "1.50"], ["standard", "deviation", "0.71"],
    ]  # fmt: skip
    assert len({len(line) for line in lines}) == 1
