"""A network with the preprocessing of the samples it was trained on."""

import keras
import numpy as np
import pytest

from ccp_dml.data import ImageFiles, Preprocessing
from ccp_dml.evaluation import embed
from ccp_dml.inference import load, make_embedder
from ccp_dml.models import MetricLearningModel
from tests.data.pictures import encoded, gradient

pytestmark = pytest.mark.both_backends(slow=True)


def test_a_saved_embedder_prepares_files_as_evaluation_does(tmp_path):
    paths = []
    for number, (height, width) in enumerate([(31, 20), (17, 45), (24, 24)]):
        paths.append(str(tmp_path / f"{number}.png"))
        with open(paths[-1], "wb") as file:
            file.write(encoded(gradient(height, width, number), "PNG"))
    preprocessing = Preprocessing(8, resize_size=11, scaling="torch", background="red", fit="pad")
    data = ImageFiles(np.array(paths), np.arange(3), preprocessing)
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(4)]
    model = MetricLearningModel(keras.Sequential(layers))
    make_embedder(model, data).save(tmp_path / "model.keras")
    embeddings = load(tmp_path / "model.keras").embed(paths)
    np.testing.assert_allclose(embeddings, embed(model, data), atol=1e-5)
    assert np.ptp(embeddings, axis=0).max() > 0.01
