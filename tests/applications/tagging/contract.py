"""What the contract suite asks of tagging; see tests/applications/test_contract.py."""

import gzip

import numpy as np

PEOPLE = ["Ada", "Grace", "Alan", "Emmy", "Kurt", "Edsger"]
PLACES = ["Ashville", "Oakville", "Elmville", "Pineville"]  # the characters of a place tell it from a person
SETTINGS = [
    "task=tagging", "model.hidden=8", "model.word_features=8", "model.character_features=6", "model.character_hidden=5",
    "model.dropout_rate=0.1", "model.word_dropout_rate=0.1", "model.decoder=crf", "vectors.features=4",
    "data.max_characters=9", "data.max_shapes=1", "optim.learning_rate=0.03", "train.batch_size=8", "train.epochs=4",
]  # fmt: skip


def make_sentences(count, seed):
    """Such as "Ada Kurt visits New Oakville": lists of a token and its tag in BIO."""
    rng = np.random.default_rng(seed)
    sentences = []
    for _ in range(count):
        person, place = rng.choice(PEOPLE, rng.integers(1, 3)), rng.choice(PLACES)
        before = ["New"] if rng.random() < 0.5 else []
        tokens = [*person, rng.choice(["visits", "leaves"]), *before, place]
        tags = [*["B-person", "I-person"][: len(person)], "O", *["B-place", "I-place"][: len(before) + 1]]
        if rng.random() < 0.5:
            tokens, tags = ["today", ",", *tokens], ["O", "O", *tags]
        sentences.append(list(zip(map(str, tokens), tags, strict=True)))
    return sentences


def to_columns(sentences):
    return "\n".join("".join(f"{token}\t{tag}\n" for token, tag in sentence) for sentence in sentences)


def write_data(folder, *, changed=False):
    for split, count in {"train": 120, "dev": 30, "test": 45}.items():
        sentences = make_sentences(count, seed=count)
        if changed and split == "train":  # the same words and tags, in another order
            sentences[0], sentences[1] = sentences[1], sentences[0]
        (folder / f"{split}.conll").write_text(to_columns(sentences))
    vectors = np.random.default_rng(0).normal(size=(8, 4)).round(3)
    words = ["visits", "leaves", "today", ",", *PEOPLE[:4]]
    lines = (f"{word} {' '.join(map(str, vector))}\n" for word, vector in zip(words, vectors, strict=True))
    (folder / "vectors.txt").write_text("".join(lines))
    return [f"data.source={folder}", f"vectors.path={folder / 'vectors.txt'}", *SETTINGS]


def make_inputs(folder):
    return ["Ada Kurt leaves Oakville.", "today, Emmy visits New Elmville", "Grace  visits Mapleville"]


def check_answers(answers):
    assert [answer["text"] for answer in answers] == make_inputs(None)
    assert answers[0]["tokens"] == ["Ada", "Kurt", "leaves", "Oakville", "."]
    assert answers[0]["tags"][:4] == ["B-person", "I-person", "O", "B-place"]
    assert answers[1]["spans"] == [
        {"type": "person", "start": 7, "end": 11, "text": "Emmy"},
        {"type": "place", "start": 19, "end": 31, "text": "New Elmville"},
    ]
    assert answers[2]["tokens"] == ["Grace", "visits", "Mapleville"]
    assert answers[2]["spans"] == [  # training has never seen the place
        {"type": "person", "start": 0, "end": 5, "text": "Grace"},
        {"type": "place", "start": 14, "end": 24, "text": "Mapleville"},
    ]


REPORT = ["Types", "<td>person</td>", "<td>place</td>", "Confusions"]

BAD_FILES = {
    "columns.conll": (b"Ada\tB-person\nvisits\n", r"columns.conll:2: expected at least 2 columns separated by tabs"),
    "empty.conll": (b"\n\n", r"empty.conll: expected sentences, found no tokens"),
    "one_tag.conll": (
        b"".join(b"Ada\tO\n%d\tO\n\n" % i for i in range(20)),
        r"one_tag.conll.*two or more different tags, found O",
    ),
    "damaged.conll.gz": (gzip.compress(b"Ada\tO\n" * 1000, mtime=0)[:-12], r"damaged.conll.gz: cannot be read"),
    "lengths.jsonl": (b'{"tokens": ["Ada"], "tags": []}\n', r"lengths.jsonl:1: expected a tag for each token, found 1"),
    "columns.jsonl": (b'{"tokens": ["Ada"]}\n', r"columns.jsonl:1: the column 'tags' is missing, found tokens; name"),
    "table.parquet": (b"PAR1", r"table.parquet: cannot be read as a parquet file"),
}
