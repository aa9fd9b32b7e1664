"""What every application promises, whatever it is for.

An application joins by a file `tests/applications/NAME/contract.py` with

- `write_data(folder, *, changed=False)`: writes a tiny data set and returns the settings to train on it, a few dozen
  steps over several epochs, with dropout. With `changed` one training example differs, and the assets do not: only a
  fingerprint of the examples can tell.
- `make_inputs(folder)`: what `predict` is asked, of different lengths. The folder holds the data set.
- `check_answers(answers)`: asserts what is right about the answers, as `predict --json` prints them.
- `REPORT`: texts that the page of `report` must contain.
- `BAD_FILES`: by name, the content of a file that cannot be trained on, and a pattern that the message must match.
"""

import json
import shutil
import signal
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from flax import nnx

from jaxrnn import applications, evaluate, predict, report, train
from jaxrnn.applications import REGISTRY
from jaxrnn.config import schema_of, toml_value
from jaxrnn.data import BucketedBatches, Padded
from jaxrnn.errors import InputError
from jaxrnn.training import make_evaluate

TASKS = [name for name, entry in REGISTRY.items() if isinstance(entry, str)]  # without those that other tests register


@pytest.fixture(scope="module", params=TASKS)
def task(request):
    return request.param


@pytest.fixture(scope="module")
def contract(task, load_contract):
    return load_contract(task)


@pytest.fixture(scope="module")
def data(contract, tmp_path_factory):
    """The data set's folder and the settings to train on it."""
    folder = tmp_path_factory.mktemp("data")
    common = [f"data.cache_dir={tmp_path_factory.mktemp('cache')}", "devices.per_process=1"]
    return SimpleNamespace(folder=folder, settings=[*contract.write_data(folder), *common])


@pytest.fixture(scope="module")
def run_dir(data, tmp_path_factory):
    """A complete run, which no test may change."""
    path = tmp_path_factory.mktemp("runs") / "run"
    assert train.main([*data.settings, f"run_dir={path}"]) == 0
    return path


@pytest.fixture(scope="module")
def trained(run_dir):
    return applications.load(run_dir)


@pytest.fixture(scope="module")
def validation(trained):
    return trained.application.examples(trained.config, trained.assets, None, "validation")


def metrics_of(path):
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if "second" not in key} for line in lines]


def result_of(path):
    return json.loads((path / "result.json").read_text())


def validation_at_best(path, trained):
    """What the run recorded of its best checkpoint."""
    lines = metrics_of(path)
    return next(line for line in lines if (line["split"], line["step"]) == ("validation", trained.best_step))


def assert_close(one, other, rtol):
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], rtol=rtol, err_msg=name)


def test_training_lowers_the_loss(trained, validation, run_dir):
    task = trained.application.task(trained.config, trained.assets)
    losses = [
        task.measure(model.evaluate(validation).sums)["loss"]
        for model in (trained._replace(parameters=trained.split.parameters), trained)
    ]
    assert losses[1] < 0.9 * losses[0]
    assert validation_at_best(run_dir, trained)["loss"] == pytest.approx(losses[1], rel=1e-5)


def test_a_stopped_run_resumes_to_the_same_bits(data, run_dir, trained, tmp_path, monkeypatch):
    """The signal comes within an epoch."""
    make_train_step = train.make_train_step
    stop_after = metrics_of(run_dir)[-1]["step"] // 2 + 1

    def stopping(*positional, **options):
        step = make_train_step(*positional, **options)

        def step_or_stop(state, batch):
            result = step(state, batch)
            if int(result.state.step) == stop_after:
                signal.raise_signal(signal.SIGINT)
            return result

        return step_or_stop

    monkeypatch.setattr(train, "make_train_step", stopping)
    path = tmp_path / "run"
    arguments = [*data.settings, f"run_dir={path}"]
    assert train.main(arguments) == 130
    assert not (path / "result.json").exists()
    assert train.main(arguments) == 0
    resumed = applications.load(path)
    assert jax.tree.all(jax.tree.map(np.array_equal, resumed.parameters, trained.parameters))
    assert metrics_of(path) == metrics_of(run_dir)
    exact = [key for key in result_of(run_dir) if key.startswith(("test_", "validation_", "best_"))]
    assert {key: result_of(path)[key] for key in exact} == {key: result_of(run_dir)[key] for key in exact}


def test_eight_devices_train_as_one(data, run_dir, tmp_path):
    path = tmp_path / "run"
    assert train.main([*data.settings, "devices.per_process=8", f"run_dir={path}"]) == 0
    assert result_of(path)["num_devices"] == 8
    for many, one in zip(metrics_of(path), metrics_of(run_dir), strict=True):
        assert many.pop("split") == one.pop("split")
        assert_close(many, one, rtol=2e-3)


def test_filler_rows_and_padding_change_nothing(trained, validation):
    """Examples one at a time without padding, and all in one batch with both, whose padding is what must not matter."""
    longest = int(validation.lengths.max())
    alone = BucketedBatches(validation, boundaries=sorted({*validation.lengths.tolist()}), batch_size=1, seed=0)
    batch_size, wider = len(validation) + 3, longest + 4
    together = BucketedBatches(validation, boundaries=[wider], batch_size=batch_size, seed=0)
    (batch,) = map(with_foreign_padding, together.in_order())
    task = trained.application.task(trained.config, trained.assets)
    evaluate_batches = make_evaluate(trained.split, task=task)
    expected = evaluate_batches(trained.parameters, alone.in_order(), validation)
    found = evaluate_batches(trained.parameters, [batch], validation)
    assert len(found.outputs) == len(validation)
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, found.sums, expected.sums)
    jax.tree.map(close, found.outputs, expected.outputs)

    def loss(parameters, arrays, weights):  # the one that is minimised, without dropout
        network = trained.split.merge(parameters, trained.split.rest)
        network.eval()
        carry = task.initial_carry(network, len(weights))
        measured = task.train(network, arrays, weights, carry, nnx.Rngs(0))
        return measured.loss / measured.sums["count"]

    gradient = jax.jit(jax.grad(loss))
    real = batch.indices >= 0
    without_filler = jax.tree.map(lambda part: part[real], (batch.arrays, batch.weights))
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6),
        gradient(trained.parameters, batch.arrays, batch.weights),
        gradient(trained.parameters, *without_filler),
    )


def with_foreign_padding(batch):
    """The batch with other values in its padding and filler rows: NaN, and for integers those of the first step."""
    real = batch.indices >= 0

    def foreign(values, is_padding):
        other = np.nan if values.dtype.kind == "f" else values[real][0].flat[0]
        return np.where(is_padding.reshape(is_padding.shape + (1,) * (values.ndim - is_padding.ndim)), other, values)

    arrays = {}
    for name, column in batch.arrays.items():
        if isinstance(column, Padded):
            is_padding = np.arange(column.values.shape[1]) >= column.lengths[:, None]
            assert is_padding.any(0)[-1]
            arrays[name] = Padded(foreign(column.values, is_padding).astype(column.values.dtype), column.lengths)
        else:
            arrays[name] = foreign(column, ~real).astype(column.dtype)
    assert not real.all()
    return batch._replace(arrays=arrays)


def test_evaluate_says_what_the_result_says(run_dir, trained, capsys):
    assert evaluate.main([str(run_dir), "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    result = result_of(run_dir)
    task = trained.application.task(trained.config, trained.assets)
    for name in task.metrics:
        if f"test_{name}" in result:
            assert measured[name] == pytest.approx(result[f"test_{name}"], rel=1e-5), name
    assert measured[f"num_{task.unit}"] == result[f"test_{task.unit}"] > 0


def test_predict_answers_each_input_by_itself(run_dir, contract, data, capsys):
    inputs = contract.make_inputs(data.folder)

    def ask(*arguments):
        assert predict.main([str(run_dir), *arguments]) == 0
        return capsys.readouterr().out.splitlines()

    answers = [json.loads(line) for line in ask(*inputs, "--json")]
    contract.check_answers(answers)
    (alone,) = ask(inputs[0], "--json")
    assert_alike(json.loads(alone), answers[0])
    assert sum(map(bool, ask(*inputs))) >= len(inputs)  # lines that are not empty


def assert_alike(one, other):
    """Equal values, but for the rounding of numbers."""
    if isinstance(one, dict | list):
        assert len(one) == len(other)
        for key in one if isinstance(one, dict) else range(len(one)):
            assert_alike(one[key], other[key])
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-5)
    else:
        assert one == other


def test_the_report_shows_the_metrics_and_the_applications_own_part(run_dir, trained, contract, tmp_path, capsys):
    file = tmp_path / "report.html"
    assert report.main([str(run_dir), "--out", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}\n"
    page = file.read_text()
    for text in contract.REPORT:
        assert text in page, text
    recorded = validation_at_best(run_dir, trained)
    metrics = trained.application.task(trained.config, trained.assets).metrics
    assert {"loss"} <= recorded.keys() & metrics.keys()
    for name in recorded.keys() & metrics.keys():
        assert metrics[name].show(recorded[name]) in page, name
    assert "these are not the data" not in page


def test_keys_of_other_applications_are_refused_by_name(task):
    own = schema_of(applications.get(task).config).keys
    for other in set(TASKS) - {task}:
        foreign = {key: spec for key, spec in schema_of(applications.get(other).config).keys.items() if key not in own}
        assert foreign, f"{task} has all settings of {other}"
        for key, spec in foreign.items():
            with pytest.raises(InputError, match=f"unknown key '{key}' for task = {task}; .* setting of .*{other}"):
                applications.load_config(None, [f"task={task}", f"{key}={toml_value(spec.default)}"])


def test_resuming_on_changed_data_is_refused(run_dir, trained, contract, data, tmp_path):
    folder, copy = tmp_path / "data", tmp_path / "run"
    folder.mkdir()
    contract.write_data(folder, changed=True)
    shutil.copytree(run_dir, copy)
    (copy / "result.json").unlink()

    def moved(text):
        return text.replace(str(data.folder), str(folder)).replace(str(run_dir), str(copy))

    (copy / "config.toml").write_text(moved((copy / "config.toml").read_text()))
    config = applications.load_config(copy / "config.toml", [])
    assert trained.application.prepare(config).assets == trained.assets
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file() and path.name != ".lock"}
    with pytest.raises(InputError, match=r"the train examples of data.source have changed since this run began"):
        train.main([*map(moved, data.settings), f"run_dir={copy}"])
    assert {path: path.read_bytes() for path in before} == before


def test_files_that_cannot_be_trained_on_end_in_one_line(contract, data, tmp_path):
    run_dir = tmp_path / "run"
    settings = [each for each in data.settings if not each.startswith("data.source=")]
    (tmp_path / "empty").mkdir()
    bad = {tmp_path / "missing.jsonl": "missing", tmp_path / "empty": "empty"}
    for name, (content, pattern) in contract.BAD_FILES.items():
        (tmp_path / name).write_bytes(content)
        bad[tmp_path / name] = pattern
    for path, pattern in bad.items():
        with pytest.raises(InputError, match=pattern) as caught:
            train.main([*settings, f"data.source={path}", f"run_dir={run_dir}"])
        assert "\n" not in str(caught.value).strip()
        assert not run_dir.exists() or {each.name for each in run_dir.iterdir()} <= {".lock"}


def test_damaged_assets_are_named(run_dir, trained, tmp_path):
    names = tmp_path / "names"
    names.mkdir()
    trained.assets.save(names)
    files = [path.name for path in names.iterdir()]
    assert files
    assert type(trained.assets).load(names) == trained.assets
    for name in files:
        copy = tmp_path / f"run-{name}"
        shutil.copytree(run_dir, copy)
        for damage in (lambda file: file.write_bytes(b"\xff\x00 damaged"), Path.unlink):
            damage(copy / name)
            with pytest.raises(InputError, match=name):
                applications.load(copy)
