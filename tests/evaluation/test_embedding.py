import keras
import numpy as np

from ccp_dml.evaluation import embed, embedding_spread
from tests import naive


def test_embeddings_are_normalized(generator):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, use_bias=False)])
    inputs = (generator.standard_normal((40, 3)) + np.arange(40)[:, None] % 4).astype("float32")
    expected = naive.normalize(model.predict(inputs, verbose=0))
    np.testing.assert_allclose(embed(model, inputs), expected, rtol=1e-5)


def test_spread():
    assert embedding_spread(np.ones((5, 3))) == 0
    assert embedding_spread(np.array([[0.0, 0.0], [0.0, 2.0]])) == 1
