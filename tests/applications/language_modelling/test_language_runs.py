"""Language models as users train, evaluate and ask them; what the contract suite tests is not repeated here."""

import json
import math
import signal
from collections import Counter
from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest

from jaxrnn import applications, evaluate, generate, predict, train
from jaxrnn.applications.language_modelling.data import LanguageAssets
from jaxrnn.applications.language_modelling.generate import generate_words, space_between
from jaxrnn.applications.language_modelling.report import loss_by_class, loss_by_place
from jaxrnn.data.text import Vocabulary
from jaxrnn.errors import InputError
from jaxrnn.training import Devices, TrainState, make_train_step


@pytest.fixture(scope="module")
def data(load_contract, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    settings = load_contract("language_modelling").write_data(folder)
    (folder / "unsupervised.jsonl").write_text('{"text": "the film is nameless"}')
    common = [f"data.cache_dir={tmp_path_factory.mktemp('cache')}", "devices.per_process=1"]
    return SimpleNamespace(folder=folder, settings=[*settings, *common])


@pytest.fixture(scope="module")
def run_dir(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    assert train.main([*data.settings, f"run_dir={path}"]) == 0
    return path


@pytest.fixture(scope="module")
def trained(run_dir):
    return applications.load(run_dir)


def texts_of(data, split):
    return [json.loads(line)["text"] for line in (data.folder / f"{split}.jsonl").read_text().splitlines()]


def losses_by_hand(trained, text):
    """-log p of each word and of the end, from the logits of the whole text."""
    model, vocabulary = trained.model(), trained.assets.vocabulary
    ids = vocabulary.encode(text.split())
    tokens = np.concatenate([[vocabulary.end_id], ids, [vocabulary.end_id]])
    log_p = jax.nn.log_softmax(np.asarray(model(tokens[None, :-1])[0][0], np.float64))
    return [-float(log_p[t, word]) for t, word in enumerate(tokens[1:])]


def metrics_of(path):
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if "second" not in key} for line in lines]


def test_a_run_learns_and_says_its_perplexity(run_dir, data, trained, capsys):
    result = json.loads((run_dir / "result.json").read_text())
    texts = texts_of(data, "test")
    losses = np.concatenate([losses_by_hand(trained, text) for text in texts])
    assert result["test_words"] == len(losses)
    assert result["test_loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert result["test_perplexity"] == pytest.approx(math.exp(np.mean(losses)), rel=1e-4)
    # Far better than the best model that knows only how frequent the words of the test texts are.
    counts = np.array([*Counter(" <end> ".join([*texts, ""]).split()).values()])
    shares = counts / counts.sum()
    assert result["test_perplexity"] < 0.6 * math.exp(-(shares * np.log(shares)).sum())
    assert "nameless" in trained.assets.vocabulary.tokens  # it occurs only in a text without a label
    assert {"loss", "perplexity", "train_perplexity"} < metrics_of(run_dir)[-1].keys()
    assert (run_dir / "curves.png").stat().st_size > 10_000
    assert evaluate.main([str(run_dir), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "split": "test", "loss": pytest.approx(result["test_loss"], rel=1e-5), "num_words": len(losses),
        "perplexity": pytest.approx(result["test_perplexity"], rel=1e-5), "step": result["best_step"],
    }  # fmt: skip


def test_predict_gives_the_perplexity_of_each_text(run_dir, trained, capsys):
    texts = ["the cast is grey and dull", "grey the nameless"]
    assert predict.main([str(run_dir), *texts, "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for text, answer in zip(texts, answers, strict=True):
        losses = losses_by_hand(trained, text)
        mean = np.mean(losses)
        assert answer == {
            "text": text, "words": len(losses), "loss": pytest.approx(mean, rel=1e-4),
            "perplexity": pytest.approx(math.exp(mean), rel=1e-4),
        }  # fmt: skip
    assert predict.main([str(run_dir), "the cast is grey and dull", ""]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=3)[:3] for line in lines] == [
        [f"{answers[0]['perplexity']:,.1f}", "7", "words"],
        [f"{math.exp(losses_by_hand(trained, '')[0]):,.1f}", "1", "word"],
    ]
    assert lines[0].endswith(" words  the cast is grey and dull")


def test_a_stopped_run_goes_on_with_its_state(run_dir, data, trained, tmp_path, monkeypatch):
    """It stops in the middle of an epoch, where the rows' states are not zero."""
    make_train_step = train.make_train_step
    states = []

    def stopping(*positional, **options):
        step = make_train_step(*positional, **options)

        def stop(state, batch):
            states.append(np.abs(state.carry.h).max())
            result = step(state, batch)
            if int(result.state.step) == 5:
                signal.raise_signal(signal.SIGINT)
            return result

        return stop

    monkeypatch.setattr(train, "make_train_step", stopping)
    arguments = [*data.settings, f"run_dir={tmp_path / 'run'}"]
    assert train.main(arguments) == 130
    assert len(states) == 5
    assert train.main(arguments) == 0
    assert states[0] == 0
    assert states[5] > 0.01
    assert metrics_of(tmp_path / "run") == metrics_of(run_dir)
    resumed = applications.load(tmp_path / "run").parameters
    assert jax.tree.all(jax.tree.map(np.array_equal, resumed, trained.parameters))


def test_the_carried_state_is_divided_by_rows(trained):
    """Each of eight devices keeps the state of its own rows, so that no step gathers it."""
    devices = Devices.of(8)
    application, config, assets = trained.application, trained.config, trained.assets
    task = application.task(config, assets)
    train_examples = application.prepare(config).train
    batches = application.train_batches(config, assets, train_examples, devices)
    optimizer = optax.sgd(0.1)
    state = TrainState.initial(trained.split.parameters, optimizer, task.initial_carry(trained.model(), 8))
    step = make_train_step(trained.split, optimizer, config.seed, task=task, devices=devices)
    state = step(state.put(trained.split, devices), next(batches.epoch(0))).state
    for part in jax.tree.leaves(state.carry):
        assert part.shape == (8, 1, 12)
        assert {shard.data.shape for shard in part.addressable_shards} == {(1, 1, 12)}
        assert np.abs(part).max() > 0


def test_greedy_text_is_the_most_probable_word_each_time(trained):
    prompt = ["the", "film"]
    words = list(generate_words(trained, prompt, num_tokens=6, seed=0, temperature=0))
    vocabulary, model = trained.assets.vocabulary, trained.model()
    ids = [vocabulary.end_id, *vocabulary.encode(prompt)]
    for _ in range(6):
        logits = np.array(model(np.array([ids]))[0][0, -1])
        logits[[Vocabulary.unknown_id, Vocabulary.pad_id]] = -np.inf
        if (best := int(logits.argmax())) == vocabulary.end_id:
            break
        ids.append(best)
    assert words == [vocabulary.tokens[i] for i in ids[1:]]
    assert words[2] == "is"  # as in every text


def test_what_is_never_written_and_what_ends(trained):
    def write(number, bias, **options):
        parameters = trained.parameters | {"bias": trained.parameters["bias"].at[number].set(bias)}
        changed = trained._replace(parameters=parameters)
        return list(generate_words(changed, ["film"], num_tokens=12, seed=0, **options))

    for special in (Vocabulary.unknown_id, Vocabulary.pad_id):
        assert set(write(special, 100.0)).isdisjoint({"<unk>", "<pad>"})
    end_id = trained.assets.end_id
    assert write(end_id, 100.0) == ["film"]
    words = write(end_id, -1e30, temperature=1e6)  # all words are equally probable, and each is drawn anew
    assert len(words) == 13
    assert len(set(words)) > 4


def test_the_same_seed_writes_the_same_text(run_dir, capsys):
    texts = []
    for seed in ("5", "5", "6"):
        assert generate.main([str(run_dir), "The film", "--tokens", "30", "--seed", seed, "--top-p", "0.99"]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2]
    assert all(text.startswith("the film ") and text.endswith("\n") and "<" not in text for text in texts)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["i", "do", "n't", "(", "really", ")", "like", "it", "."], "i don't (really) like it."),
        (["jane", "'s", ",", "$", "5", "!"], "jane's, $5!"),
    ],
)
def test_words_stand_as_they_are_written(words, expected):
    text = "".join(space_between(before, word) + word for before, word in zip(["", *words], words, strict=False))
    assert text == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tokens", "0"], "--tokens: expected an integer from 1 to 2147483647, got '0'"),
        (["--seed", "-1"], "--seed: expected an integer from 0 to"),
        (["--top-k", "0"], "--top-k: expected an integer from 1"),
        (["--temperature", "nan"], "--temperature: expected a finite number of at least 0"),
        (["--top-p", "x"], "--top-p: expected a number above 0 and at most 1, got 'x'"),
    ],
)
def test_bad_arguments_are_one_line_before_the_model_is_loaded(run_dir, options, message, monkeypatch):
    monkeypatch.setattr(applications, "load", lambda path: pytest.fail("the model was loaded"))
    with pytest.raises(InputError, match=message) as caught:
        generate.main([str(run_dir), *options])
    assert "\n" not in str(caught.value)


def test_a_vocabulary_without_an_end_is_refused(tmp_path):
    Vocabulary(["film"]).save(tmp_path / "vocabulary.txt")
    with pytest.raises(InputError, match=r"vocabulary.txt: expected <end> as the first word"):
        LanguageAssets.load(tmp_path)


def test_the_report_divides_the_loss_by_frequency_and_by_place():
    assets = LanguageAssets(Vocabulary(["<end>", *map(str, range(150))]))
    end, ranks = assets.end_id, np.array([1, 10, 11, 100, 101, 150])
    targets = np.array([end, Vocabulary.unknown_id, *(ranks + end), end, end])
    losses = np.array([1.0, 9, 2, 4, 3, 5, 7, 8, 3, 5])
    assert loss_by_class(losses, targets, assets) == [
        ("<end>", 3.0, 0.3), ("<unk>", 9.0, 0.1), ("≤ 10", 3.0, 0.2), ("≤ 100", 4.0, 0.2), ("≤ 1,000", 7.5, 0.2),
    ]  # fmt: skip
    assert loss_by_place(np.array([1.0, 2, 4, 5, 9]), np.array([1, 2, 3, 8, 12])) == [(1, 1), (2.5, 3), (10, 7)]
