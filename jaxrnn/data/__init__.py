"""Examples, batches and splits as NumPy arrays: no JAX, and no application."""

from jaxrnn.data.batches import Batches as Batches
from jaxrnn.data.batches import BucketedBatches as BucketedBatches
from jaxrnn.data.buckets import choose_boundaries as choose_boundaries
from jaxrnn.data.examples import Batch as Batch
from jaxrnn.data.examples import Columns as Columns
from jaxrnn.data.examples import Examples as Examples
from jaxrnn.data.examples import Padded as Padded
from jaxrnn.data.examples import Ragged as Ragged
from jaxrnn.data.splits import SPLIT_NAMES as SPLIT_NAMES
from jaxrnn.data.splits import complete_splits as complete_splits
from jaxrnn.data.splits import pick_split as pick_split
from jaxrnn.data.splits import read_source as read_source
from jaxrnn.data.stream import StreamBatches as StreamBatches
