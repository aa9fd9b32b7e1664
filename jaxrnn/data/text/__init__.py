"""Texts: where they come from, their tokens, the vocabulary, and word vectors."""

from jaxrnn.data.text.corpus import Corpus as Corpus
from jaxrnn.data.text.corpus import Texts as Texts
from jaxrnn.data.text.markup import strip_html as strip_html
from jaxrnn.data.text.sources import load_corpus as load_corpus
from jaxrnn.data.text.sources import load_split as load_split
from jaxrnn.data.text.sources import load_unlabelled as load_unlabelled
from jaxrnn.data.text.tokens import tokenize as tokenize
from jaxrnn.data.text.tokens import tokenize_with_spaces as tokenize_with_spaces
from jaxrnn.data.text.truncation import truncate as truncate
from jaxrnn.data.text.vectors import Vectors as Vectors
from jaxrnn.data.text.vectors import load_vectors as load_vectors
from jaxrnn.data.text.vectors import vector_words as vector_words
from jaxrnn.data.text.vectors import with_vectors as with_vectors
from jaxrnn.data.text.vocabulary import Vocabulary as Vocabulary
