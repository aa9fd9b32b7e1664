"""What the trainer can do beyond one plain run, on the tiny application: every option at once, profiles, a dry run."""

import json
import signal

import pytest
from parity import NUM_BATCHES
from small_data import assert_same_run, metrics_of, result_of

from jaxrnn import train
from jaxrnn.training import describe

EVERYTHING = [
    "optim.optimizer=adamw", "optim.weight_decay=0.01", "optim.decay_embedding=true", "optim.schedule=plateau",
    "optim.plateau_factor=0.5", "optim.warmup_steps=2", "optim.max_grad_norm=0.3", "optim.accumulate_steps=3",
    "model.num_layers=2", "model.dropout_rate=0.2", "train.tensorboard=true", "optim.skip_nonfinite=3",
]  # fmt: skip


@pytest.mark.parametrize("average", ["optim.ema_decay=0.9", "optim.average_epochs=2"])
def test_a_stop_inside_an_accumulation_and_after_a_plateau(arguments, tmp_path, monkeypatch, capsys, stopping, average):
    """Every option at once: the same bits as undisturbed, the average of the weights included."""
    num_validations = []
    make_evaluate = train.make_evaluate

    def losses_that_rise(*arguments, **options):  # so that there are plateaus
        evaluate = make_evaluate(*arguments, **options)

        def worse(parameters, batches, examples):
            evaluation = evaluate(parameters, batches, examples)
            num_validations.append(1)
            loss = evaluation.sums["loss"] + 99 * len(num_validations)
            return evaluation._replace(sums=evaluation.sums | {"loss": loss})

        return worse

    monkeypatch.setattr(train, "make_evaluate", losses_that_rise)
    settings = [*EVERYTHING, average]
    assert train.main(arguments(tmp_path / "whole", *settings)) == 0
    assert "plateau" in capsys.readouterr().err
    num_validations.clear()
    # Step 17 is the second of three for an update, in the third epoch; the second validation was a plateau.
    stopping(2 * NUM_BATCHES + 1)
    assert train.main(arguments(tmp_path / "stopped", *settings)) == 130
    stopping(None)
    assert train.main(arguments(tmp_path / "stopped", *settings)) == 0
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")
    assert (tmp_path / "stopped" / "tensorboard").is_dir()


def test_a_profile_of_two_steps_and_the_summary_at_the_end(arguments, tmp_path, capsys):
    assert train.main(arguments(tmp_path / "run", "train.profile_steps=2", "train.max_steps=6")) == 0
    (trace,) = (tmp_path / "run" / "profile").rglob("*.xplane.pb")
    assert trace.read_bytes().count(b"PjitFunction(train_step)") == 1  # a name, however often it was called
    summary = result_of(tmp_path / "run")["last_start"]
    assert describe(summary) in capsys.readouterr().out
    assert 0 < summary["seconds_step"] < 600
    assert summary["seconds_evaluation"] > 0
    assert summary["seconds_saving"] > 0
    assert summary["compilations"] >= 2  # of a step and of an evaluation at least
    assert 2**27 < summary["peak_host_bytes"] < 2**36
    assert summary["peak_device_bytes"] is None  # a CPU does not tell


def test_a_dry_run_tells_the_plan_and_leaves_no_trace(arguments, tmp_path, capsys, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    words = arguments(tmp_path / "run", "train.epochs=4")
    assert train.main([*words, "--dry-run"]) == 0
    assert [path.name for path in tmp_path.rglob("*")] == ["temporary"]
    plan = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert plan["steps"] == f"{4 * NUM_BATCHES} (4 epochs of {NUM_BATCHES})"
    assert plan["shapes"].startswith("8 x 8 ")
    assert plan["devices"].startswith("1 (1 for the rows x 1 for one copy of the weights), 1 processes")
    assert plan["parameters"].startswith("229; ")


@pytest.fixture
def poisoned(parity, strings, tmp_path, monkeypatch):
    """One training example, the first, whose label makes the loss a number that is none."""
    import jax.numpy as jnp

    lines = (strings / "train.txt").read_text().splitlines()
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.txt").write_text((strings / f"{split}.txt").read_text())
    (tmp_path / "train.txt").write_text("\n".join([f"{lines[0].split()[0]} 7", *lines[1:]]))
    make_task = type(parity.APPLICATION).task

    def task(application, config, assets):
        usual = make_task(application, config, assets)

        def minimise(network, arrays, weights, carry, rngs):
            measured = usual.train(network, arrays, weights, carry, rngs)
            is_poison = (arrays["label"] == 7).any()
            return measured._replace(loss=jnp.where(is_poison, jnp.nan, measured.loss))

        return usual._replace(train=minimise)

    monkeypatch.setattr(type(parity.APPLICATION), "task", task)
    return f"data.source={tmp_path}"


def test_steps_that_are_not_finite_are_skipped_up_to_a_number(arguments, tmp_path, poisoned, log):
    with pytest.raises(train.InputError, match=r"examples 0,.*skip_nonfinite is 2"):
        train.main(arguments(tmp_path / "few", poisoned, "optim.skip_nonfinite=2"))
    log.clear()
    assert train.main(arguments(tmp_path / "enough", poisoned, "optim.skip_nonfinite=3")) == 0
    assert "skipped, 3 of at most 3" in log.text
    assert result_of(tmp_path / "enough")["skipped_steps"] == 3
    assert all(record["train_loss"] < 1 and record["loss"] < 1 for record in metrics_of(tmp_path / "enough"))


def test_a_run_whose_every_step_is_skipped_ends_and_says_so(arguments, tmp_path, poisoned, capsys):
    """One batch an epoch, with the poison in it: nothing is counted in any epoch, nor in a dry run."""
    whole = ["train.batch_size=64", "train.epochs=1", "optim.skip_nonfinite=9"]
    assert train.main([*arguments(tmp_path / "run", poisoned, *whole), "--dry-run"]) == 0
    assert "not finite" in capsys.readouterr().out
    assert train.main(arguments(tmp_path / "run", poisoned, *whole)) == 0
    (record,) = metrics_of(tmp_path / "run")
    assert "train_loss" not in record
    assert "loss" in record
    assert "skipped every step" in capsys.readouterr().err


def test_the_signal_comes_before_the_first_step(arguments, tmp_path, monkeypatch):
    """Where the input is slow, Ctrl-C while the first batch is made saves the first step, and the run goes on."""
    words = arguments(tmp_path / "run", "train.epochs=1")
    make = train.make_train_step

    def signalling(*given, **options):
        step = make(*given, **options)

        def once(state, batch):
            signal.raise_signal(signal.SIGTERM)
            return step(state, batch)

        return once

    with monkeypatch.context() as patch:
        patch.setattr(train, "make_train_step", signalling)
        assert train.main(words) == 128 + signal.SIGTERM
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints" / "latest").iterdir()) == ["1"]
    position = json.loads((tmp_path / "run" / "checkpoints" / "latest" / "1" / "about" / "metadata").read_text())
    assert (position["batch"], position["totals"]["count"]) == (1, position["window"]["count"])
    assert position["totals"]["count"] in (4, 8)
