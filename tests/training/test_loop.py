"""The loop around a step: order, validation, early stopping, plateaus, records, skipped steps and checkpoints.

The step and the evaluation here are stubs, so that what they return is known and nothing is compiled; the rest is real.
"""

import itertools
import json
import math
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_network import METRICS, small_batches, small_examples

from jaxrnn.errors import InputError
from jaxrnn.training import (
    Checkpoints,
    Devices,
    Evaluation,
    Events,
    Interrupted,
    Meter,
    Metric,
    Position,
    RunFolder,
    Task,
    Trainer,
    TrainState,
    curves,
    fit,
    loop,
    make_optimizer,
    mean,
    rehearse,
    resume,
)
from jaxrnn.training.optimizer import learning_rate_scale
from jaxrnn.training.step import StepResult

EXAMPLES = small_examples(40)
NUM_BATCHES = 5  # of 8 rows
TASK = Task(train=None, evaluate=None, metrics=METRICS)
SGD = make_optimizer(rule="sgd", learning_rate=1.0, num_steps=100)


class Unread:
    """A sum that is still being computed on the device: it notes when the host reads it."""

    def __init__(self, value, name, log):
        self.value, self.name, self.log = value, name, log

    def __array__(self, dtype=None, copy=None):
        self.log.append(self.name)
        return np.asarray(self.value)


class Run:
    """A run whose step s has the loss s for each of its examples, and whose validations have the given losses."""

    def __init__(self, folder, losses=None, *, skipped=(), optimizer=SGD, task=TASK, **options):
        self.log = []  # in their order: steps taken, sums read, checkpoints saved, parameters validated
        self.losses = iter(losses) if losses else itertools.repeat(1.0)
        self.skipped = skipped
        self.batches = small_batches(EXAMPLES, batch_size=8)
        self.folder = RunFolder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        checkpoints = Checkpoints(self.folder.checkpoints)
        save_latest, save_best = checkpoints.save_latest, checkpoints.save_best
        checkpoints.save_latest = lambda *args: (self.log.append(f"save {int(args[0].step)}"), save_latest(*args))
        checkpoints.save_best = lambda *args: (self.log.append(f"best {args[0]}"), save_best(*args))
        self.first = TrainState.initial({"w": jnp.zeros(1)}, optimizer.transformation)
        values = {
            "num_epochs": 3, "num_steps": 3 * NUM_BATCHES, "patience": None, "checkpoint_every_seconds": math.inf,
            "checkpoint_every_steps": None, "skip_nonfinite": 99,
        }  # fmt: skip
        self.trainer = Trainer(
            task=task, train_step=self.step, evaluate=self.evaluate, train=self.batches, validation=self.batches,
            validation_examples=EXAMPLES, folder=self.folder, checkpoints=checkpoints, optimizer=optimizer,
            meter=Meter(), **values | options,
        )  # fmt: skip

    def step(self, state, batch):
        number = int(state.step) + 1
        self.log.append(f"step {number}")
        is_finite = number not in self.skipped
        count = is_finite * int(batch.weights.sum())
        sums = {
            "loss": Unread(np.float32(number * count), f"read {number}", self.log),
            "correct": np.int32(count // 2),
            "count": np.int32(count),
            "by_step": np.eye(60, dtype=np.int32)[number] * count,
        }
        parameters = {"w": state.parameters["w"] + is_finite}
        return StepResult(state._replace(step=jnp.int32(number), parameters=parameters), sums, np.bool_(is_finite))

    def evaluate(self, parameters, batches, examples):
        self.log.append(f"validate {float(parameters['w'][0]):g}")
        assert examples is None  # nothing is scored, so no outputs are asked for
        loss = next(self.losses)
        return Evaluation({"loss": 40.0 * loss, "correct": 20, "count": 40}, [])

    def fit(self, state=None, position=None):
        try:
            return fit(self.trainer, state or self.first, position or Position())
        finally:
            self.trainer.close()

    def records(self, split):
        return [record for record in self.folder.read_metrics() if record["split"] == split]


# ---- the order of things


def test_the_next_step_is_handed_to_the_device_before_the_sums_of_the_last_are_read(tmp_path):
    run = Run(tmp_path, num_epochs=1)
    run.fit()
    assert run.log == [
        "step 1", "step 2", "read 1", "step 3", "read 2", "step 4", "read 3", "step 5", "read 4", "read 5",
        "validate 5", "best 5", "save 5",
    ]  # fmt: skip


def test_a_checkpoint_holds_the_sums_of_all_steps_up_to_it(tmp_path):
    run = Run(tmp_path, num_epochs=1, checkpoint_every_steps=3)
    run.fit()
    assert run.log.index("read 3") < run.log.index("save 3") < run.log.index("step 4")
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints._latest.drop_after(3)
    state, position = checkpoints.restore_latest(run.first)
    checkpoints.close()
    assert (int(state.step), position.batch, position.epoch) == (3, 3, 0)
    counts = [int(batch.weights.sum()) for batch in run.batches.epoch(0)]
    assert position.totals["count"] == position.window["count"] == sum(counts[:3])
    assert position.totals["loss"] == sum(number * count for number, count in enumerate(counts[:3], 1))
    assert position.totals["by_step"][1:6].tolist() == [*counts[:3], 0, 0]


def test_a_run_that_was_stopped_has_the_same_records_as_one_that_was_not(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "LOG_EVERY_STEPS", 4)
    whole, stopped = Run(tmp_path / "whole"), Run(tmp_path / "stopped")
    whole.fit()
    stop = stopped.trainer.train_step

    def interrupted(state, batch):
        if int(state.step) == 6:
            signal.raise_signal(signal.SIGTERM)
        return stop(state, batch)

    stopped.trainer = stopped.trainer._replace(train_step=interrupted)
    with pytest.raises(Interrupted):
        stopped.fit()
    assert stopped.log[-2:] == ["read 7", "save 7"]
    again = Run(tmp_path / "stopped")
    again.fit(*resume(again.trainer, like=again.first))
    assert again.log[0] == "step 8"
    records = [
        [{key: value for key, value in record.items() if "second" not in key} for record in run.folder.read_metrics()]
        for run in (whole, again)
    ]
    assert records[0] == records[1]
    assert [record["step"] for record in records[0] if record["split"] == "train"] == [4, 8, 12]


def test_resuming_drops_the_records_of_later_steps(tmp_path):
    run = Run(tmp_path)
    run.fit()
    again = Run(tmp_path)
    again.trainer.checkpoints._latest.drop_after(10)
    resume(again.trainer, like=again.first)
    assert [record["step"] for record in run.records("validation")] == [5, 10]
    again.trainer.close()


# ---- validation


def test_the_best_validation_is_kept(tmp_path):
    run = Run(tmp_path, losses=[0.5, 0.4, 0.6])
    position = run.fit()
    assert (position.best, position.best_step, position.epochs_without_best) == (pytest.approx(0.4), 10, 1)
    assert [entry for entry in run.log if entry.startswith("best")] == ["best 5", "best 10"]
    parameters, step = Checkpoints(run.folder.checkpoints, read_only=True).restore_best(run.first.parameters)
    assert (step, parameters["w"].tolist()) == (10, [10])


@pytest.mark.parametrize(("higher_is_better", "best_step"), [(True, 10), (False, 15)])
def test_the_selected_metric_decides_which_is_the_best(tmp_path, higher_is_better, best_step):
    """A score that only validations have; their losses are all the same."""
    f1 = METRICS["accuracy"]._replace(of=mean("score"), higher_is_better=higher_is_better)
    run = Run(tmp_path, task=TASK._replace(metrics=METRICS | {"f1": f1}, select="f1"))
    scores, evaluate = iter([12, 32, 8]), run.trainer.evaluate

    def with_score(*args):
        return Evaluation(evaluate(*args).sums | {"score": next(scores)}, [])

    run.trainer = run.trainer._replace(evaluate=with_score)
    position = run.fit()
    assert (position.best_step, position.best) == (best_step, 0.8 if higher_is_better else 0.2)
    assert [record["f1"] for record in run.records("validation")] == [0.3, 0.8, 0.2]
    assert json.loads(json.dumps(position.to_json()))["best"] == position.best


def test_a_first_validation_that_measures_nothing_gives_way_to_the_next(tmp_path):
    run = Run(tmp_path, task=TASK._replace(metrics=METRICS | {"f1": Metric(mean("right", of="spans"))}, select="f1"))
    found, evaluate = iter([{}, {"spans": 4, "right": 1}, {}]), run.trainer.evaluate
    run.trainer = run.trainer._replace(evaluate=lambda *args: Evaluation(evaluate(*args).sums | next(found), []))
    position = run.fit()
    assert (position.best_step, position.best) == (10, 0.25)
    assert ["f1" in record for record in run.records("validation")] == [False, True, False]


def test_a_scored_task_validates_with_its_examples(tmp_path):
    run = Run(tmp_path, task=TASK._replace(score=lambda example, output: {}), num_epochs=1)
    given = []

    def evaluate(parameters, batches, examples):
        given.append(examples)
        return Evaluation({"loss": 1.0, "count": 1}, [])

    run.trainer = run.trainer._replace(evaluate=evaluate)
    run.fit()
    assert given == [EXAMPLES]


def test_a_validation_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(InputError, match=r"step 10: the validation loss is not finite"):
        Run(tmp_path, losses=[1.0, math.nan]).fit()


def test_early_stopping(tmp_path, capsys):
    run = Run(tmp_path, losses=[0.5, 0.6, 0.5, 0.4], patience=2, num_epochs=50, num_steps=250)
    position = run.fit()
    assert [record["epoch"] for record in run.records("validation")] == [1, 2, 3]
    assert position.best_step == 5
    assert "step 15: 2 epochs without a better validation loss" in capsys.readouterr().err
    again = Run(tmp_path, patience=2, num_epochs=50, num_steps=250)  # a kill came just before the end of the run
    again.fit(*resume(again.trainer, like=again.first))
    assert again.log == []


def test_a_plateau_of_validations_cuts_the_rate(tmp_path, capsys):
    optimizer = make_optimizer(
        rule="sgd", learning_rate=1.0, num_steps=50, schedule="plateau", plateau_patience=1, plateau_factor=0.5
    )
    run = Run(tmp_path, losses=[0.5, 0.4, 0.4, 0.3], optimizer=optimizer, num_epochs=4, num_steps=20)
    run.fit()
    state, _ = resume(again := Run(tmp_path, optimizer=optimizer).trainer, like=run.first)
    again.close()
    assert learning_rate_scale(state.optimizer) == 0.5
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "plateau" in line)
    assert line.startswith("step 15:")


@pytest.mark.parametrize(
    ("options", "expected"), [({"average_epochs": 2}, [5.0, 7.5, 12.5]), ({"ema_decay": 0.5}, [7.0, 7.0, 7.0])]
)
def test_an_average_of_the_weights_is_what_is_validated_and_kept(tmp_path, options, expected):
    """After 5, 10 and 15 steps, each of which adds 1; the moving average is the optimiser's, here set by hand."""
    optimizer = make_optimizer(rule="sgd", learning_rate=1.0, num_steps=15, **options)
    run = Run(tmp_path, losses=[3.0, 2.0, 1.0], optimizer=optimizer)
    if "ema_decay" in options:
        averages = jax.tree.map(lambda leaf: jnp.full_like(leaf, 7), run.first.optimizer)
        run.first = run.first._replace(optimizer=averages)
    run.fit()
    assert [entry for entry in run.log if "validate" in entry] == [f"validate {value:g}" for value in expected]
    parameters, _ = Checkpoints(run.folder.checkpoints, read_only=True).restore_best(run.first.parameters)
    assert parameters["w"].tolist() == [expected[-1]]


def test_the_number_of_steps_ends_a_run_inside_an_epoch(tmp_path):
    run = Run(tmp_path, num_steps=7)
    position = run.fit()
    assert [entry for entry in run.log if "step" in entry][-1] == "step 7"
    assert [record["step"] for record in run.records("validation")] == [5, 7]
    assert position.epoch == 2


# ---- records


def test_a_line_sums_up_the_steps_since_the_one_before(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "LOG_EVERY_STEPS", 2)
    run = Run(tmp_path, num_epochs=1)
    run.fit()
    counts = [int(batch.weights.sum()) for batch in run.batches.epoch(0)]
    first, second = run.records("train")
    assert first["loss"] == pytest.approx((counts[0] + 2 * counts[1]) / (counts[0] + counts[1]))
    assert second["loss"] == pytest.approx((3 * counts[2] + 4 * counts[3]) / (counts[2] + counts[3]))
    assert first["examples_per_second"] > 0
    (validation,) = run.records("validation")
    losses = [number * count for number, count in enumerate(counts, 1)]
    assert validation["train_loss"] == pytest.approx(sum(losses) / sum(counts))
    assert (validation["loss"], validation["accuracy"]) == (1.0, 0.5)
    assert run.folder.curves.read_bytes().startswith(b"\x89PNG")


def test_the_curves_are_drawn_after_the_first_epoch_and_at_the_end_and_rarely_between(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(curves, "draw_curves", lambda records, *_: drawn.append(records[-1]["step"]))
    Run(tmp_path / "short").fit()
    assert drawn == [NUM_BATCHES, 3 * NUM_BATCHES]
    monkeypatch.setattr(curves, "SECONDS_BETWEEN", 0)
    Run(tmp_path / "long").fit()
    assert drawn[2:] == [NUM_BATCHES, 2 * NUM_BATCHES, 3 * NUM_BATCHES]


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


def test_events_for_tensorboard_are_the_lines_of_the_metrics(tmp_path, monkeypatch):
    pytest.importorskip("tensorboardX")
    monkeypatch.setattr(loop, "LOG_EVERY_STEPS", 4)
    run = Run(tmp_path, num_epochs=2, events=Events(tmp_path / "events", step=0))
    run.fit()
    expected = [
        (f"{line['split']}/{name}", line["step"], np.float32(value))
        for line in run.folder.read_metrics()
        for name, value in line.items()
        if name not in ("step", "split")
    ]
    scalars, purged = events_in(tmp_path / "events")
    assert scalars == expected
    assert purged == [1]
    Events(tmp_path / "events", step=12).close()  # a later start: TensorBoard forgets what came after step 12
    assert events_in(tmp_path / "events")[1][-1] == 13


def test_tensorboard_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    with pytest.raises(InputError, match=r"train.tensorboard: .*tensorboardX.*pip install"):
        Events(tmp_path, step=0)


# ---- steps that are not finite


@pytest.mark.parametrize("skipped", [(1,), (6,), (1, 2), (3,), (5,)])
def test_a_skipped_step_counts_for_nothing_wherever_it_is(tmp_path, skipped, log):
    run = Run(tmp_path, skipped=skipped)
    position = run.fit()
    assert position.skipped == len(skipped)
    assert f"skipped, {len(skipped)} of at most 99" in log.text
    assert [entry for entry in run.log if "validate" in entry][-1] == f"validate {15 - len(skipped)}"
    counts = [int(batch.weights.sum()) for batch in run.batches.epoch(0)]
    left = [number for number in range(1, 6) if number not in skipped]
    mean_loss = sum(number * counts[number - 1] for number in left) / sum(counts[number - 1] for number in left)
    assert run.records("validation")[0]["train_loss"] == pytest.approx(mean_loss)


def test_an_epoch_of_which_every_step_is_skipped(tmp_path, capsys):
    run = Run(tmp_path, skipped=range(1, 6), num_epochs=2)
    position = run.fit()
    assert position.skipped == 5
    first, second = run.records("validation")
    assert "train_loss" not in first
    assert "train_loss" in second
    assert "skipped every step" in capsys.readouterr().err


def test_the_window_of_a_line_in_which_every_step_is_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "LOG_EVERY_STEPS", 2)
    run = Run(tmp_path, skipped=(1, 2), num_epochs=1)
    run.fit()
    assert [record["step"] for record in run.records("train")] == [4]


def test_one_step_too_many_stops_the_run_and_names_its_examples(tmp_path, log):
    run = Run(tmp_path, skipped=(2, 4), skip_nonfinite=1)
    batches = list(run.batches.epoch(0))
    indices = ", ".join(map(str, sorted(batches[3].indices[batches[3].indices >= 0])))
    with pytest.raises(InputError, match=rf"step 4: .*\(training examples {indices},.*skip_nonfinite is 1"):
        run.fit()
    assert "skipped, 1 of at most 1" in log.text


def test_a_dry_run_whose_step_is_skipped_says_so(tmp_path):
    run = Run(tmp_path, skipped=(1, 2))
    plan = rehearse(run.trainer, run.first, Devices.of(1), num_parameters=1)
    (line,) = (line for line in plan if line.startswith("a step"))
    assert "not finite" in line
    assert plan[0].split() == ["steps", "15", "(3", "epochs", "of", "5)"]


def test_a_dry_run_measures_the_longest_shape(tmp_path):
    run = Run(tmp_path)
    plan = rehearse(run.trainer, run.first, Devices.of(1), num_parameters=1)
    (line,) = (line for line in plan if line.startswith("a step"))
    assert "loss 1.0000, accuracy 50.00 %" in line
