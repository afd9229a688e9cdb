import json

import keras
import numpy as np
import pytest

from ccp_dml.models import EmbeddingModel, small_convnet


def test_embedding_is_a_projection_of_pooled_features(generator):
    backbone = small_convnet((9, 7, 3), filters=(4, 6))
    assert backbone.output_shape == (None, 5, 4, 6)
    model = EmbeddingModel(backbone, embedding_size=5, pooling="sum")
    images = generator.uniform(size=(3, 9, 7, 3)).astype("float32")
    features = backbone.predict(images, verbose=0)
    pooled = features.mean((1, 2)) + features.max((1, 2))
    (kernel,) = model.projection.get_weights()
    np.testing.assert_allclose(model(images), pooled @ kernel, rtol=1e-4, atol=1e-5)
    assert model.compute_output_shape((3, 9, 7, 3)) == (3, 5)


def test_save_and_load_predict_the_same(tmp_path, generator):
    model = EmbeddingModel(small_convnet((8, 8, 1)), embedding_size=5, pooling="max")
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    images = generator.uniform(size=(3, 8, 8, 1)).astype("float32")
    np.testing.assert_array_equal(copy.predict(images, verbose=0), model.predict(images, verbose=0))
    assert json.dumps(copy.get_config()) == json.dumps(model.get_config())


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="embedding_size must be at least 1; got 0"):
        EmbeddingModel(small_convnet((8, 8, 1)), embedding_size=0)
    flat = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match=r"feature map .*got \(None, 64\)"):
        EmbeddingModel(flat)
    with pytest.raises(ValueError, match="at least one number of channels"):
        small_convnet((8, 8, 1), filters=())
