import json

import keras
import numpy as np
import pytest

from ccp_dml.layers import POOLINGS
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


def vectors(input_shape):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Flatten()])


def tokens(input_shape):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Conv2D(6, 2, strides=2, activation="relu"),
            keras.layers.Reshape((-1, 6)),
        ]
    )


def maps(input_shape):
    return small_convnet(input_shape, filters=(4,))


POOLED = [
    *[(maps, pooling) for pooling in ("average", "max", "sum", "gem", "gsp")],
    *[(tokens, pooling) for pooling in ("average", "gem", "gsp", "token")],
    (vectors, "none"),
]


def every_pooled():
    for backbone, pooling in POOLED:
        # JAX compiles every network; pooling layers are tested on their own in `tests/layers`.
        is_quick_on_jax = (backbone, pooling) in [(maps, "gem"), (tokens, "gsp"), (tokens, "token")]
        mark = pytest.mark.both_backends(slow=not is_quick_on_jax)
        yield pytest.param(backbone, pooling, marks=mark)


@pytest.mark.parametrize(("backbone", "pooling"), list(every_pooled()))
def test_every_pooling_trains_and_is_saved(backbone, pooling, tmp_path, generator):
    model = EmbeddingModel(backbone((8, 8, 1)), embedding_size=5, pooling=pooling)
    images = generator.uniform(size=(4, 8, 8, 1)).astype("float32")
    before = model.get_weights()
    is_compiled = keras.backend.backend() == "jax" or (
        backbone is maps and pooling in ("gem", "gsp")
    )
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=is_compiled)
    model.fit(images, np.ones((4, 5), "float32"), verbose=0)
    for weight, value in zip(model.weights, before, strict=True):
        assert np.any(np.asarray(weight.value) != value), weight.path
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(copy.predict(images, verbose=0), model.predict(images, verbose=0))
    assert copy.get_config()["pooling"] == pooling


def test_images_of_any_size(generator):
    for pooling in POOLINGS[:5]:
        model = EmbeddingModel(small_convnet((None, None, 3)), embedding_size=5, pooling=pooling)
        for size in (8, 12):
            assert model(np.ones((2, size, size, 3), "float32")).shape == (2, 5)


def test_wrong_arguments_are_named():
    with pytest.raises(
        ValueError, match="embedding_size must be a whole number of at least 1; got 0"
    ):
        EmbeddingModel(small_convnet((8, 8, 1)), embedding_size=0)
    with pytest.raises(ValueError, match=r"pooling average takes .*got \(None, 64\): .* none"):
        EmbeddingModel(vectors((8, 8, 1)))
    with pytest.raises(ValueError, match=r"pooling token takes .* got \(None, 2, 2, 128\)"):
        EmbeddingModel(small_convnet((8, 8, 1)), pooling="token")
    video = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Reshape((2, 2, 4, 4))])
    with pytest.raises(ValueError, match=r"the backbone must return .*got \(None, 2, 2, 4, 4\)"):
        EmbeddingModel(video)
    with pytest.raises(ValueError, match="at least one number of channels"):
        small_convnet((8, 8, 1), filters=())
