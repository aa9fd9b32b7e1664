"""What the trainer can do beyond one plain run: optimisers, early stopping, events, profiles, a dry run."""

import json
import signal

import jax
import numpy as np
import pytest
from small_data import SMALL, assert_same_run, make_texts, metrics_of, parameters_of

from jaxrnn import build, train
from jaxrnn.errors import InputError
from jaxrnn.training import loop, step
from jaxrnn.training.meter import Meter, describe

EVERYTHING = [
    "optim.optimizer=adamw", "optim.weight_decay=0.01", "optim.schedule=plateau", "optim.plateau_factor=0.5",
    "optim.warmup_steps=2", "optim.max_grad_norm=0.3", "optim.accumulate_steps=3", "optim.label_smoothing=0.1",
    "optim.ema_decay=0.9", "optim.adversarial=0.5", "optim.virtual_adversarial=0.5",
]  # fmt: skip


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    data, cache = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("cache")
    for split, count in {"train": 100, "validation": 30, "test": 30}.items():
        (data / f"{split}.jsonl").write_text("\n".join(map(json.dumps, make_texts(count, seed=count))))
    unlabelled = [{"text": f"{record['text']} and unheard of"} for record in make_texts(60, seed=60)]
    (data / "unsupervised.jsonl").write_text("\n".join(map(json.dumps, unlabelled)))

    def arguments(run_dir, *more):
        small = [*SMALL, "data.max_shapes=1", "model.cell=elman", "model.bidirectional=false"]
        return [f"data.source={data}", f"data.cache_dir={cache}", f"run_dir={run_dir}", *small, *more]

    return arguments


def stopping_at(step_to_stop, make_train_step):
    def make(*arguments, **options):
        step = make_train_step(*arguments, **options)

        def stop(state, batch):
            new_state, totals = step(state, batch)
            if int(new_state.step) == step_to_stop:
                signal.raise_signal(signal.SIGINT)
            return new_state, totals

        return stop

    return make


def test_a_stop_inside_an_accumulation_and_after_a_plateau(arguments, tmp_path, monkeypatch, capsys):
    """Every option at once: the same bits as undisturbed, the average of the weights included."""
    scales = []

    def losses_that_rise(evaluate):  # so that there are plateaus
        def worse(parameters, batches):
            evaluation = evaluate(parameters, batches)
            scales.append(1)
            return evaluation._replace(
                totals=evaluation.totals._replace(loss=evaluation.totals.loss + 99 * len(scales))
            )

        return worse

    make_evaluate, make_train_step = train.make_evaluate, train.make_train_step
    monkeypatch.setattr(train, "make_evaluate", lambda *a, **k: losses_that_rise(make_evaluate(*a, **k)))
    assert train.main(arguments(tmp_path / "whole", *EVERYTHING)) == 0
    assert "a plateau, the learning rate is cut" in capsys.readouterr().err
    scales.clear()
    # Step 17 is the second of three for an update, in the third epoch; the second validation was a plateau.
    monkeypatch.setattr(train, "make_train_step", stopping_at(17, make_train_step))
    assert train.main(arguments(tmp_path / "stopped", *EVERYTHING)) == 130
    monkeypatch.setattr(train, "make_train_step", make_train_step)
    assert train.main(arguments(tmp_path / "stopped", *EVERYTHING)) == 0
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_the_average_is_what_is_validated_and_kept(arguments, tmp_path, monkeypatch):
    last = {}
    fit = train.fit

    def kept(trainer, state, position):
        evaluate = trainer.evaluate

        def remember(parameters, batches):
            last["validated"] = jax.tree.map(np.array, parameters)
            return evaluate(parameters, batches)

        return fit(trainer._replace(evaluate=remember), state, position)

    monkeypatch.setattr(train, "fit", kept)
    plain, averaged = tmp_path / "plain", tmp_path / "averaged"
    assert train.main(arguments(plain, "train.epochs=1")) == 0
    assert train.main(arguments(averaged, "train.epochs=1", "optim.ema_decay=0.9")) == 0
    saved = parameters_of(averaged)
    assert all(np.array_equal(saved[name], last["validated"][name]) for name in saved)
    assert np.abs(saved["head.kernel"] - parameters_of(plain)["head.kernel"]).max() > 1e-3
    # The same steps were taken, by a program that XLA may have rounded differently.
    losses = [metrics_of(path)[0]["train_loss"] for path in (averaged, plain)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_the_mean_of_the_last_epochs_is_what_is_validated_and_kept(arguments, tmp_path, monkeypatch):
    """And a run that was stopped in its third epoch has the same bits."""
    ends, validated = [], []
    fit = train.fit

    def kept(trainer, state, position):
        def step(state, batch):
            state, totals = trainer.train_step(state, batch)
            if int(state.step) % 7 == 0:
                ends.append(jax.tree.map(np.array, state.parameters))
            return state, totals

        def evaluate(parameters, batches):
            validated.append(jax.tree.map(np.array, parameters))
            return trainer.evaluate(parameters, batches)

        return fit(trainer._replace(train_step=step, evaluate=evaluate), state, position)

    whole, stopped = (arguments(tmp_path / name, "optim.average_epochs=2") for name in ("whole", "stopped"))
    with monkeypatch.context() as patch:
        patch.setattr(train, "fit", kept)
        assert train.main(whole) == 0
    assert len(validated) == 3
    for epoch, parameters in enumerate(validated):
        for name, value in parameters.items():
            mean = np.mean([end[name] for end in ends[max(epoch - 1, 0) : epoch + 1]], axis=0)
            np.testing.assert_allclose(value, mean, rtol=1e-6, atol=1e-7, err_msg=name)
    best_step = json.loads((tmp_path / "whole" / "result.json").read_text())["best_step"]
    saved = parameters_of(tmp_path / "whole")
    assert all(np.array_equal(saved[name], value) for name, value in validated[best_step // 7 - 1].items())

    with monkeypatch.context() as patch:
        patch.setattr(train, "make_train_step", stopping_at(17, train.make_train_step))
        assert train.main(stopped) == 130
    assert train.main(stopped) == 0
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_texts_without_labels(arguments, tmp_path, monkeypatch, capsys):
    """Their words are known, each shape is compiled once, and a run that was stopped has the same bits."""
    traced = {"labelled": 0, "unlabelled": 0}

    def counting(name, function):
        def count(*arguments, **options):
            traced[name] += 1
            return function(*arguments, **options)

        return count

    options = ["data.unlabelled=true", "optim.virtual_adversarial=0.5", "data.max_shapes=2"]
    plain, whole, stopped = tmp_path / "plain", tmp_path / "whole", tmp_path / "stopped"
    with monkeypatch.context() as patch:
        patch.setattr(step.Objective, "gradients", counting("labelled", step.Objective.gradients))
        patch.setattr(step.Objective, "virtual_gradient", counting("unlabelled", step.Objective.virtual_gradient))
        assert train.main(arguments(whole, *options)) == 0
    assert traced == {"labelled": 2, "unlabelled": 2}  # 21 steps; the unlabelled texts come round every 10
    with monkeypatch.context() as patch:
        patch.setattr(train, "make_train_step", stopping_at(17, train.make_train_step))
        assert train.main(arguments(stopped, *options)) == 130
    assert train.main(arguments(stopped, *options)) == 0
    assert_same_run(whole, stopped)

    assert train.main(arguments(plain, *options[1:], "train.max_steps=1")) == 0
    words = [set(build.load_classifier(run_dir).vocabulary.words) for run_dir in (whole, plain)]
    assert words[0] - words[1] == {"unheard", "of"}
    capsys.readouterr()
    assert train.main([*arguments(whole, *options), "--dry-run"]) == 0
    (shapes,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("shapes"))
    assert shapes.count("16 x ") == 4


def test_early_stopping(arguments, tmp_path, capsys):
    rate = "optim.learning_rate=1e-30"  # nothing is learnt
    run_dir = tmp_path / "run"
    assert train.main(arguments(run_dir, rate, "train.patience=2", "train.epochs=50")) == 0
    assert [record["epoch"] for record in metrics_of(run_dir)] == [1, 2, 3]
    assert json.loads((run_dir / "result.json").read_text())["best_step"] == 7
    assert "step 21: 2 epochs without a better validation loss, stopping early" in capsys.readouterr().err
    (run_dir / "result.json").unlink()  # a kill came just before the end: nothing more is trained
    assert train.main(arguments(run_dir, rate, "train.patience=2", "train.epochs=50")) == 0
    assert [record["epoch"] for record in metrics_of(run_dir)] == [1, 2, 3]


def events_in(folder):
    """(tag, step, value) of every event, and the steps at which a start purged later ones."""
    from tensorboardX.proto.event_pb2 import Event

    scalars, purged = [], []
    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        while data:  # a record: length in 8 bytes, 4 of checksum, the event, 4 of checksum
            length = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            scalars += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            purged += [event.step] if event.HasField("session_log") else []
    return scalars, purged


def test_events_for_tensorboard_are_the_lines_of_the_metrics(arguments, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "LOG_EVERY_STEPS", 5)
    run_dir = tmp_path / "run"
    make_train_step = train.make_train_step
    with monkeypatch.context() as patch:
        patch.setattr(train, "make_train_step", stopping_at(12, make_train_step))
        assert train.main(arguments(run_dir, "train.tensorboard=true")) == 130
    assert train.main(arguments(run_dir, "train.tensorboard=true")) == 0
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert {line["split"] for line in lines} == {"train", "validation"}
    expected = [
        (f"{line['split']}/{name}", line["step"], np.float32(value))
        for line in lines
        for name, value in line.items()
        if name not in ("step", "split")
    ]
    scalars, purged = events_in(run_dir / "tensorboard")
    assert scalars == expected
    assert purged[-1] == 13  # the second start makes TensorBoard forget what came after step 12


def test_tensorboard_that_is_not_installed(arguments, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    with pytest.raises(InputError, match=r"train.tensorboard: expected the package tensorboardX; pip install"):
        train.main(arguments(tmp_path / "run", "train.tensorboard=true"))


def test_a_profile_of_two_steps(arguments, tmp_path):
    assert train.main(arguments(tmp_path / "run", "train.profile_steps=2", "train.max_steps=6")) == 0
    (trace,) = (tmp_path / "run" / "profile").rglob("*.xplane.pb")
    assert trace.read_bytes().count(b"PjitFunction(train_step)") == 1  # a name, however often it was called


def test_the_summary_at_the_end(arguments, tmp_path, capsys):
    assert train.main(arguments(tmp_path / "run", "train.max_steps=6")) == 0
    summary = json.loads((tmp_path / "run" / "result.json").read_text())["last_start"]
    assert describe(summary) in capsys.readouterr().out
    assert 0 < summary["seconds_step"] < 60
    assert summary["seconds_evaluation"] > 0
    assert summary["seconds_saving"] > 0
    assert summary["compilations"] >= 2  # of a step and of an evaluation at least
    assert 2**27 < summary["peak_host_bytes"] < 2**36
    assert summary["peak_device_bytes"] is None  # a CPU does not tell


def test_the_meter_counts_compilations_until_it_is_closed():
    meter = Meter()
    jax.jit(lambda x: x * 3 + 1)(np.float32(1))
    assert meter.summary()["compilations"] == 1
    jax.jit(lambda x: x * 3 + 1)(np.float32(1))
    meter.close()
    jax.jit(lambda x: x * 3 + 2)(np.float32(1))
    assert meter.summary()["compilations"] == 2


def test_a_dry_run_tells_the_plan_and_leaves_no_trace(arguments, tmp_path, capsys, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    cache = f"data.cache_dir={tmp_path / 'cache'}"
    words = arguments(tmp_path / "run", "train.epochs=4", "model.bag_of_words=true", cache)
    assert train.main([*words, "--dry-run"]) == 0
    assert [path.name for path in tmp_path.rglob("*")] == ["temporary"]
    plan = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert plan["steps"] == "28 (4 epochs of 7)"
    assert plan["shapes"].startswith("16 x 12 ")
    assert plan["devices"].startswith("1 (1 for the rows x 1 for one copy of the weights), 1 processes")
    assert train.main([*words, "train.max_steps=1"]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert plan["parameters"].startswith(f"{result['num_parameters']:,}; ")


def test_a_schedule_that_does_not_fit_is_one_line(arguments, tmp_path):
    with pytest.raises(InputError, match=r"^optim.warmup_steps: expected fewer than the run's 21 updates, got 21$"):
        train.main(arguments(tmp_path / "run", "optim.warmup_steps=21"))
    with pytest.raises(InputError, match=r"^devices.per_process: expected at most the 8 there are, got 99$"):
        train.main(arguments(tmp_path / "run", "devices.per_process=99"))
