import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrnn.data import BucketedBatches
from jaxrnn.models import TextClassifier
from jaxrnn.tasks import class_probabilities
from jaxrnn.training import ensemble_of, make_evaluate, split_model
from jaxrnn.training.ensemble import mean_prediction


@pytest.mark.parametrize("num_logits", [1, 3])
def test_the_mean_of_probabilities(num_logits):
    logits = np.random.default_rng(0).normal(scale=3, size=(4, 5, num_logits)).astype(np.float32)
    found = class_probabilities(mean_prediction(jnp.asarray(logits)))
    expected = np.mean([class_probabilities(each) for each in logits], 0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_members_predict_as_each_alone():
    model = split_model(
        TextClassifier(
            vocabulary_size=12,
            num_classes=3,
            embedding_features=4,
            cell="elman",
            hidden_features=3,
            num_layers=1,
            bidirectional=False,
            dropout_rate=0.5,
            pooling="mean",
            init="orthogonal",
            rngs=nnx.Rngs(0),
        )
    )
    members = [model.parameters, jax.tree.map(lambda each: 2 * each, model.parameters)]
    token_ids = [np.arange(2, 2 + n, dtype=np.int32) for n in (5, 0, 3)]
    batches = BucketedBatches(token_ids, np.array([0, 2, 1], np.int32), boundaries=(5,), batch_size=3, seed=0)
    alone = [make_evaluate(model)(each, batches.in_order()).logits for each in members]
    ensemble = ensemble_of(model, members)
    together = make_evaluate(ensemble)(ensemble.parameters, batches.in_order())
    expected = np.mean([class_probabilities(each) for each in alone], 0)
    np.testing.assert_allclose(class_probabilities(together.logits), expected, rtol=1e-5)
    assert np.abs(class_probabilities(alone[0]) - expected).max() > 0.01
    np.testing.assert_allclose(together.totals.loss, -np.log(expected[[0, 1, 2], [0, 2, 1]]).sum(), rtol=1e-5)
