"""Tags new sentences, and shows them as columns, as JSON with character offsets, or as a page of HTML."""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from markupsafe import escape

from jaxrnn.applications.base import Trained
from jaxrnn.applications.tagging.conll import Sentence, parse_columns
from jaxrnn.applications.tagging.data import encode
from jaxrnn.applications.tagging.schemes import convert, find_spans
from jaxrnn.data.text import tokenize_with_spaces


class Token(NamedTuple):
    """A token of a text.

    Attributes:
      text: The token.
      start: Characters of the text before it.
    """

    text: str
    start: int

    @property
    def end(self) -> int:
        """Characters of the text up to its end."""
        return self.start + len(self.text)


class TaggedText(NamedTuple):
    """A text with the tags that a model gives it.

    Attributes:
      text: The text. That of a sentence in columns is its tokens with a space between them.
      tokens: Its tokens.
      tags: The tag of each token, in the scheme of the model's training data.
      has_spans: Whether tags mark spans, such as names.
    """

    text: str
    tokens: Sequence[Token]
    tags: Sequence[str]
    has_spans: bool

    def line(self) -> str:
        """CoNLL columns: a token and its tag a line, and an empty line at the end."""
        return "".join(f"{token.text}\t{tag}\n" for token, tag in zip(self.tokens, self.tags, strict=True))

    def json(self) -> dict[str, Any]:
        """Text, tokens and tags, and where tags mark spans these with their offsets in characters."""
        answer = {"text": self.text, "tokens": [token.text for token in self.tokens], "tags": list(self.tags)}
        return answer | {"spans": self.spans()} if self.has_spans else answer

    def spans(self) -> list[dict[str, Any]]:
        """Each span by type, start and end in characters, and text; without spans each token by its tag."""
        if self.has_spans:
            spans = [
                (each.type, self.tokens[each.start].start, self.tokens[each.end - 1].end)
                for each in find_spans(self.tags)
            ]
        else:
            spans = [(tag, token.start, token.end) for token, tag in zip(self.tokens, self.tags, strict=True)]
        return [{"type": name, "start": start, "end": end, "text": self.text[start:end]} for name, start, end in spans]


def add_arguments(group: argparse._ArgumentGroup) -> None:
    """Adds the arguments of `predict`."""
    group.add_argument(
        "--columns",
        action="store_true",
        help="inputs are lines of CoNLL columns, of which the first is the token, with an empty line between sentences",
    )


def tag_texts(trained: Trained, inputs: Sequence[str], *, columns: bool = False) -> Iterator[TaggedText]:
    """Tags texts, in their order.

    Args:
      trained: The model.
      inputs: Texts, which are cut into spaCy's tokens; with `columns`, lines of CoNLL columns.
      columns: Whether the inputs are such lines.

    Raises:
      InputError: With `columns`, there are no tokens.
    """
    texts = _parse(inputs) if columns else _tokenize(inputs)
    sentences = [Sentence([token.text for token in tokens], []) for _, tokens in texts]
    assets = trained.assets
    outputs = trained.evaluate(encode(trained.config, assets, sentences, "the input")).outputs if sentences else []
    for (text, tokens), numbers in zip(texts, outputs, strict=True):
        tags, _ = convert([assets.tags[number] for number in numbers], assets.inner_scheme, assets.scheme)
        yield TaggedText(text, tokens, tags, assets.has_spans)


def tagged_page(trained: Trained, inputs: Sequence[str], *, columns: bool = False) -> str:
    """The tagged texts as a page of HTML by spaCy's displaCy; arguments as of `tag_texts`."""
    from spacy import displacy  # here, not above: it takes 2 s

    # displaCy escapes texts, but not labels.
    documents = [
        {
            "text": answer.text,
            "ents": [{**span, "label": str(escape(span["type"]))} for span in answer.spans()],
        }
        for answer in tag_texts(trained, inputs, columns=columns)
    ]
    return displacy.render(documents, style="ent", manual=True, page=True, jupyter=False)


def _tokenize(texts: Sequence[str]) -> list[tuple[str, list[Token]]]:
    """Each text with its tokens that are not white space."""
    found = []
    for parts in tokenize_with_spaces(texts):
        tokens, start = [], 0
        for token, space in parts:
            if not token.isspace():
                tokens.append(Token(token, start))
            start += len(token) + len(space)
        found.append(("".join(token + space for token, space in parts), tokens))
    return found


def _parse(lines: Sequence[str]) -> list[tuple[str, list[Token]]]:
    """Each sentence with its tokens."""
    found = []
    for sentence in parse_columns(lines, "standard input", tag_column=None):
        tokens, start = [], 0
        for token in sentence.tokens:
            tokens.append(Token(token, start))
            start = tokens[-1].end + 1
        found.append((" ".join(sentence.tokens), tokens))
    return found
