"""Language models as users train, evaluate and ask them, and classifiers that start from one."""

import json
import math
import signal
from pathlib import Path

import jax
import numpy as np
import pytest
from small_data import SMALL, metrics_of, write_data

from jaxrnn import build, evaluate, generate, language, predict, pretrained, train
from jaxrnn.config import load_config
from jaxrnn.data import Vocabulary
from jaxrnn.errors import InputError
from jaxrnn.pretrained import Pretrained, load_pretrained

LANGUAGE = [
    *SMALL, "task=language_modelling", "model.bidirectional=false", "model.hidden=12", "train.window=9",
    "optim.sampled_words=6", "train.batch_size=8", "data.max_shapes=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = write_data(tmp_path_factory.mktemp("data"))
    (folder / "unsupervised.jsonl").write_text('{"text": "the film is nameless"}')
    return folder


@pytest.fixture(scope="module")
def arguments(data, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return lambda run_dir, *more: [
        f"data.source={data}",
        f"data.cache_dir={cache}",
        f"run_dir={run_dir}",
        *LANGUAGE,
        *more,
    ]


@pytest.fixture(scope="module")
def run_dir(arguments, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    assert train.main(arguments(path)) == 0
    return path


@pytest.fixture(scope="module")
def trained(run_dir):
    return language.load_language_model(run_dir)


def by_hand(trained, texts):
    """-log p of each word and end, one text at a time, from the logits of the whole text."""
    model, vocabulary = trained.model(), trained.vocabulary
    losses = []
    for text in texts:
        ids = vocabulary.encode(text.split())
        tokens = np.concatenate([[vocabulary.end_id], ids, [vocabulary.end_id]])
        log_p = jax.nn.log_softmax(np.asarray(model(tokens[None, :-1])[0][0], np.float64))
        losses += [-log_p[t, word] for t, word in enumerate(tokens[1:])]
    return losses


def test_a_run_learns_and_tells_its_perplexity(run_dir, data, trained, capsys):
    result = json.loads((run_dir / "result.json").read_text())
    texts = [json.loads(line)["text"] for line in (data / "test.jsonl").read_text().splitlines()]
    losses = by_hand(trained, texts)
    assert result["test_words"] == len(losses)
    assert result["test_loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert result["test_perplexity"] == pytest.approx(math.exp(np.mean(losses)), rel=1e-4)
    assert result["test_perplexity"] < 16 < len(trained.vocabulary)  # 15.3 by the words' frequencies alone
    assert "nameless" in trained.vocabulary.tokens  # of the texts without labels
    assert {"loss", "perplexity", "train_perplexity"} < metrics_of(run_dir)[-1].keys()
    assert (run_dir / "curves.png").stat().st_size > 10_000
    assert evaluate.main([str(run_dir), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "split": "test", "loss": pytest.approx(result["test_loss"], rel=1e-5), "num_words": len(losses),
        "perplexity": pytest.approx(result["test_perplexity"], rel=1e-5), "step": result["best_step"],
    }  # fmt: skip


def test_a_stopped_run_goes_on_with_its_state(run_dir, arguments, tmp_path, monkeypatch):
    """In the middle of an epoch, where the rows' states are not zero."""
    make_train_step = train.make_train_step
    states = []

    def stopping(*positional, **options):
        step = make_train_step(*positional, **options)

        def stop(state, batch):
            states.append(np.abs(state.carry.h).max())
            state, totals = step(state, batch)
            if int(state.step) == 5:
                signal.raise_signal(signal.SIGINT)
            return state, totals

        return stop

    monkeypatch.setattr(train, "make_train_step", stopping)
    assert train.main(arguments(tmp_path / "run")) == 130
    assert train.main(arguments(tmp_path / "run")) == 0
    assert states[0] == 0
    assert states[5] > 0.01
    assert metrics_of(tmp_path / "run") == metrics_of(run_dir)
    found = language.load_language_model(tmp_path / "run").parameters
    expected = language.load_language_model(run_dir).parameters
    assert jax.tree.all(jax.tree.map(np.array_equal, found, expected))


def test_greedy_text_is_the_likeliest_word_each_time(trained):
    prompt = ["the", "film"]
    words = list(generate.generate(trained, prompt, num_tokens=6, seed=0, temperature=0))
    vocabulary, model = trained.vocabulary, trained.model()
    ids = [vocabulary.end_id, *vocabulary.encode(prompt)]
    for _ in range(6):
        logits = np.array(model(np.array([ids]))[0][0, -1])
        logits[[Vocabulary.unknown_id, Vocabulary.pad_id]] = -np.inf
        if (best := int(logits.argmax())) == vocabulary.end_id:
            break
        ids.append(best)
    assert words == [vocabulary.tokens[i] for i in ids[1:]]
    assert len(words) > 2


def test_what_is_never_written_and_what_ends(trained):
    def write(number, bias, **options):
        parameters = trained.parameters | {"bias": trained.parameters["bias"].at[number].set(bias)}
        language_model = trained._replace(parameters=parameters)
        return list(generate.generate(language_model, ["film"], num_tokens=12, seed=0, **options))

    for special in (Vocabulary.unknown_id, Vocabulary.pad_id):
        assert set(write(special, 100.0)).isdisjoint({"<unk>", "<pad>"})
    assert write(trained.vocabulary.end_id, 100.0) == ["film"]
    words = write(trained.vocabulary.end_id, -1e30, temperature=1e6)  # all words equally probable, drawn anew each time
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
    text = "".join(generate._space(before, word) + word for before, word in zip(["", *words], words, strict=False))
    assert text == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tokens", "0"], "--tokens: expected at least 1"),
        (["--seed", "-1"], "--seed: expected 0 to"),
        (["--top-k", "0"], "--top-k: expected at least 1"),
        (["--temperature", "-1"], "--temperature: expected at least 0"),
        (["--top-p", "x"], "--top-p"),
        ([], "expected the folder of a run"),
    ],
)
def test_bad_arguments_are_one_line(options, message):
    with pytest.raises(InputError, match=message) as caught:
        generate.main(["/nowhere", *options])
    assert "\n" not in str(caught.value)


def test_a_run_of_the_other_task_is_refused(run_dir):
    with pytest.raises(InputError, match="expected a run of classification, it is one of language_modelling"):
        predict.main([str(run_dir), "text"])


CLASSIFIER = [*SMALL, "model.hidden=12"]


def test_a_classifier_starts_from_words_and_layers(run_dir, trained):
    """A bidirectional one from the forward direction; words by their spelling; the rest stays."""
    config = load_config(None, [*CLASSIFIER, f"model.init_from={run_dir}"])
    vocabulary = Vocabulary(["bright", "novel"]).extended(trained.vocabulary)
    assert vocabulary.tokens[:4] == ("<unk>", "<pad>", "bright", "novel")
    assert set(vocabulary.tokens) == set(trained.vocabulary.tokens) - {"<end>"} | {"novel"}
    first = build.split_model(build.build_model(config, vocabulary, num_classes=2)).parameters
    found = load_pretrained(config).put_into(first, vocabulary)
    assert found.keys() == first.keys()
    word = trained.vocabulary.tokens.index("bright")
    embedding = trained.parameters["embedding.embedding"]
    np.testing.assert_array_equal(found["embedding.embedding"][2], embedding[word])
    np.testing.assert_array_equal(found["embedding.embedding"][0], embedding[0])
    np.testing.assert_array_equal(found["embedding.embedding"][3], first["embedding.embedding"][3])
    for name, value in found.items():
        forward = trained.parameters.get(name) if name.startswith("layer.cells.0.") else None
        np.testing.assert_array_equal(value, first[name] if forward is None else forward) if name[0] != "e" else None
    assert not np.array_equal(found["layer.cells.0.w_h"], first["layer.cells.0.w_h"])
    assert Pretrained(None).put_into(first, vocabulary) is first


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model.hidden=13"], "model.hidden: expected 12, as in the language model .*got 13"),
        (["model.cell=gru"], 'model.cell: expected "lstm"'),
        (["data.lowercase=false"], "data.lowercase: expected true"),
        (["model.num_layers=2"], "model.num_layers: expected 1"),
        (["model.ratio_inputs=true"], "model.ratio_inputs: expected false, as in the language model .*got true"),
        (["model.init_from=/nowhere"], "model.init_from: /nowhere: expected the folder of a run"),
    ],
)
def test_a_language_model_that_does_not_fit_is_named(run_dir, settings, message):
    with pytest.raises(InputError, match=message):
        load_pretrained(load_config(None, [*CLASSIFIER, f"model.init_from={run_dir}", *settings]))


def test_two_layers_read_forward_alone(trained, monkeypatch):
    deep = [*CLASSIFIER, "model.num_layers=2", "model.init_from=deep"]
    config = load_config(None, [*deep, "model.bidirectional=false"])
    monkeypatch.setattr(pretrained, "load_language_model", lambda path: trained._replace(config=config))
    assert load_pretrained(config).language.config is config
    with pytest.raises(InputError, match=r"model.bidirectional: expected false with model.init_from and more than one"):
        load_pretrained(load_config(None, deep))


@pytest.mark.parametrize(
    "setting", ["model.bidirectional=true", "optim.label_smoothing=0.1", "optim.adversarial=1", "data.ngrams=2"]
)
def test_what_a_language_model_cannot_be(setting):
    with pytest.raises(InputError, match=f"{setting.partition('=')[0]}: expected .* with task = language_modelling"):
        load_config(None, [*LANGUAGE, setting])


def test_fine_tuning_trains_and_its_folder_stands_alone(run_dir, data, arguments, tmp_path, capsys):
    settings = [each for each in arguments(tmp_path / "run") if each not in LANGUAGE] + CLASSIFIER
    copy = tmp_path / "language"
    Path(run_dir).rename(copy)
    try:
        assert train.main([*settings, f"model.init_from={copy}", "train.epochs=1", "model.bidirectional=false"]) == 0
    finally:
        copy.rename(run_dir)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["test_accuracy"] > 0.9
    capsys.readouterr()
    assert predict.main([str(tmp_path / "run"), "a dull grey nameless film"]) == 0
    assert capsys.readouterr().out.startswith("bad")
