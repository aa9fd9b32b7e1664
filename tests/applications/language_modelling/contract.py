"""What the contract suite asks of language modelling; see tests/applications/test_contract.py."""

import json

import numpy as np

ADJECTIVES = (["fine", "warm", "clever", "lovely", "bright"], ["dull", "cold", "stupid", "dreary", "grey"])
SETTINGS = [
    "task=language_modelling", "model.embedding=8", "model.hidden=12", "model.dropout_rate=0.1",
    "loss.sampled_words=12", "optim.learning_rate=0.03", "data.window=9", "data.max_shapes=1",
    "train.batch_size=8", "train.epochs=3",
]  # fmt: skip


def make_texts(count, seed):
    """Clauses such as "the film is warm and bright", whose order can be learnt and whose adjectives agree."""
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(count):
        clauses = []
        for _ in range(rng.integers(1, 4)):
            first, second = rng.choice(ADJECTIVES[rng.integers(2)], 2)
            clauses.append(f"the {rng.choice(['film', 'plot', 'cast'])} is {first} and {second}")
        texts.append(" but ".join(clauses))
    return texts


def write_data(folder, *, changed=False):
    for split, count in {"train": 150, "validation": 30, "test": 45}.items():
        texts = make_texts(count, seed=count)
        if changed and split == "train":  # the same words as often, so the same vocabulary
            texts[3] = " ".join(reversed(texts[3].split()))
        (folder / f"{split}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return [f"data.source={folder}", *SETTINGS]


def make_inputs(folder):
    return ["the film is warm and bright", "bright and warm is film the", "", "the plot is nameless"]


def check_answers(answers):
    assert [answer["text"] for answer in answers] == make_inputs(None)
    assert [answer["words"] for answer in answers] == [7, 7, 1, 5]  # with the end of the text
    assert answers[0]["perplexity"] < 6  # 10.6 for a model that knows only how frequent the words are
    assert answers[1]["perplexity"] > 10 * answers[0]["perplexity"]
    for answer in answers:
        np.testing.assert_allclose(np.exp(answer["loss"]), answer["perplexity"], rtol=1e-6)


REPORT = ["Hardest texts", "the film is", "A sample"]

BAD_FILES = {
    "texts.jsonl": (b'{"text": "fine"}\n{"text": \n', "texts.jsonl"),
    "texts.csv": (b"title,label\na,1\n", "texts.csv"),
    "empty.jsonl": (b"", "empty.jsonl"),
}
