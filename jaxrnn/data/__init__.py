"""From texts on disk to padded batches of token numbers: numpy, datasets and spaCy, no JAX."""

from jaxrnn.data.batching import Batch as Batch
from jaxrnn.data.batching import BucketedBatches as BucketedBatches
from jaxrnn.data.batching import WithUnlabelled as WithUnlabelled
from jaxrnn.data.batching import choose_boundaries as choose_boundaries
from jaxrnn.data.batching import truncate as truncate
from jaxrnn.data.corpus import Corpus as Corpus
from jaxrnn.data.corpus import Examples as Examples
from jaxrnn.data.markup import strip_html as strip_html
from jaxrnn.data.ngrams import NGrams as NGrams
from jaxrnn.data.ratios import NUM_FOLDS as NUM_FOLDS
from jaxrnn.data.ratios import folds_of as folds_of
from jaxrnn.data.ratios import log_count_ratios as log_count_ratios
from jaxrnn.data.sources import load_corpus as load_corpus
from jaxrnn.data.sources import load_examples as load_examples
from jaxrnn.data.sources import load_texts as load_texts
from jaxrnn.data.stream import StreamBatches as StreamBatches
from jaxrnn.data.text import tokenize as tokenize
from jaxrnn.data.text import tokenize_with_spaces as tokenize_with_spaces
from jaxrnn.data.vectors import Vectors as Vectors
from jaxrnn.data.vectors import load_vectors as load_vectors
from jaxrnn.data.vocabulary import Vocabulary as Vocabulary
