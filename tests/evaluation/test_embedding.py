import numpy as np

from ccp_dml.evaluation import embed, embedding_spread
from tests import naive
from tests.callbacks.matrix_network import make_model


def test_embeddings_are_normalized(generator):
    model = make_model()
    inputs = generator.standard_normal((40, 3)).astype("float32")
    expected = naive.normalize(model.predict(inputs, verbose=0))
    np.testing.assert_allclose(embed(model, inputs), expected, rtol=1e-5)


def test_spread():
    assert embedding_spread(np.ones((5, 3))) == 0
    assert embedding_spread(np.array([[0.0, 0.0], [0.0, 2.0]])) == 1
