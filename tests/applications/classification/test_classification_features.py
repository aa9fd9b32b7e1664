"""A run with everything that a text classifier can be asked for, all at once."""

import json

import numpy as np
import pytest
from small_data import SMALL, make_texts

from jaxrnn import applications, evaluate, train
from jaxrnn.applications.classification.explain import explain
from jaxrnn.applications.classification.ratios import NUM_FOLDS
from jaxrnn.errors import InputError

EVERYTHING = [
    "data.strip_html=true", "data.truncate=both", "data.max_tokens=8", "data.head_fraction=0.4", "data.min_count=2",
    "data.vocabulary_size=0", "data.ngrams=3", "data.ngram_min_count=2", "model.pooling=max,mean,last,attention",
    "model.word_dropout_rate=0.1", "model.embedding_dropout_rate=0.2", "model.ratio_inputs=true",
    "model.bag_of_words=true", "loss.label_smoothing=0.02",
]  # fmt: skip


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    data, cache = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("cache")
    for split, count in {"train": 100, "validation": 30, "test": 30}.items():
        records = make_texts(count, seed=count)
        for number, record in enumerate(records):
            record["text"] += f" <br /><br />rare{number} &amp; <b>done</b>"
        (data / f"{split}.jsonl").write_text("\n".join(map(json.dumps, records)))

    def arguments(run_dir, *more):
        small = [*SMALL, "data.max_shapes=1", "model.cell=elman", "model.bidirectional=false"]
        return [f"data.source={data}", f"data.cache_dir={cache}", f"run_dir={run_dir}", *small, *more]

    return arguments


def test_the_folder_is_all_that_evaluation_needs(arguments, tmp_path, capsys):
    run_dir = tmp_path / "run"
    assert train.main(arguments(run_dir, *EVERYTHING)) == 0
    result = json.loads((run_dir / "result.json").read_text())
    assert result["test_accuracy"] > 0.8
    capsys.readouterr()
    assert evaluate.main([str(run_dir), "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert evaluated["accuracy"] == result["test_accuracy"]
    assert evaluated["loss"] == pytest.approx(result["test_loss"], rel=1e-5)

    trained = applications.load(run_dir)
    vocabulary, ngrams = trained.assets.vocabulary, trained.assets.ngrams
    assert ngrams.longest == 3
    assert trained.parameters["embedding.embedding"].shape == (len(vocabulary), 8)
    assert trained.parameters["head.kernel"].shape == (4 * 8, 1)
    ratios, weights = trained.assets.ratios, trained.parameters["bag.weight"]
    assert ratios.shape == (NUM_FOLDS + 1, len(vocabulary) + len(ngrams), 1)
    assert weights.shape == ratios.shape[1:]
    good, bad = (vocabulary.tokens.index(word) for word in ("lovely", "dreary"))
    sign = 1 if trained.assets.label_names == ("bad", "good") else -1
    assert sign * ratios[-1, good, 0] > 1  # each word is in texts of one class alone
    assert sign * ratios[-1, bad, 0] < -1
    assert weights[good, 0] > 0  # in units of the ratio
    assert weights[bad, 0] > 0
    assert "br" not in vocabulary.words

    # Three tokens of the beginning and five of the end are read, without tags.
    start, end = "fine warm clever", "the dull cold film grey"
    texts = [
        f"{start} {end}",
        f"{start} is and film {end}",
        f"{start} <br />bad and film {end}",
        f"warm {start} {end}",
        "",
    ]
    answers = trained.predict(texts)
    short, *same, other, empty = (np.log(each.probabilities["good"] / each.probabilities["bad"]) for each in answers)
    np.testing.assert_allclose(same[0], same[1], rtol=1e-5)  # the n-grams at the cut are those of the whole text
    assert abs(other - short) > 1e-3
    assert np.isfinite(empty)

    # What words have to do with an answer includes what the bag says.
    (explanation,) = explain(trained, texts[:1])
    total = sum(word.attribution for word in explanation.words if word.attribution is not None)
    difference = explanation.log_odds - explanation.baseline_log_odds
    assert total == pytest.approx(difference, rel=0.05)

    # Other n-grams are other assets.
    path = run_dir / "ngrams.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    (run_dir / "result.json").unlink()
    with pytest.raises(InputError, match=r"ngrams\.txt"):
        train.main(arguments(run_dir, *EVERYTHING))
