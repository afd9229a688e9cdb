import keras
import numpy as np
import pytest

from ccp_dml.models import EmbeddingModel, MetricLearningModel, freeze_batch_norm, get_backbone
from ccp_dml.models.backbones.bn_inception import bn_inception
from tests.cases import slow_except

pytestmark = pytest.mark.both_backends(slow=True)


@keras.saving.register_keras_serializable("tests")
class OwnBackbone(keras.Model):
    """Makes its own layers, so that its configuration does not hold what was set on them."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.convolution = keras.layers.Conv2D(4, 3)
        self.normalization = keras.layers.BatchNormalization()

    def build(self, input_shape):
        self.convolution.build(input_shape)
        self.normalization.build(self.convolution.compute_output_shape(input_shape))
        self.built = True

    def call(self, inputs, training=None):
        return self.normalization(self.convolution(inputs), training=training)

    def compute_output_shape(self, input_shape):
        return self.convolution.compute_output_shape(input_shape)

    def build_from_config(self, config):
        self.build(config["input_shape"])


def nested(input_shape):
    """Batch normalisation in a model, a nested model, a wrapper and a user's own model."""
    inner_inputs = keras.Input((None, None, 4))
    inner = keras.Model(inner_inputs, keras.layers.BatchNormalization()(inner_inputs))
    sequential = keras.Sequential(
        [keras.layers.Conv2D(4, 1), keras.layers.BatchNormalization(), inner]
    )
    inputs = keras.Input(input_shape)
    features = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, strides=6)(inputs))
    features = keras.layers.TimeDistributed(keras.layers.BatchNormalization())(sequential(features))
    return keras.Model(inputs, OwnBackbone()(features))


def own(input_shape):
    backbone = OwnBackbone()
    backbone.build((None, *input_shape))
    return backbone


BACKBONES = {
    "bn_inception": lambda: bn_inception((32, 32, 3)),
    "application": lambda: get_backbone("MobileNetV2", (32, 32, 3)),
    "nested": lambda: nested((32, 32, 3)),
    "own": lambda: own((32, 32, 3)),
}


# Compiling a step of these takes longer than the two steps of a test. Steps of the others, which
# have batch normalisation in more places, are compiled.
LARGE = ("bn_inception", "application")


@pytest.mark.both_backends
def test_the_backbone_has_no_dropout_while_batch_norm_is_frozen(generator):
    inputs = keras.Input((8, 8, 3))
    features = keras.layers.Dropout(0.5, seed=1)(keras.layers.Conv2D(4, 3)(inputs))
    backbone = keras.Model(inputs, keras.layers.BatchNormalization()(features))
    images = generator.uniform(size=(2, 8, 8, 3)).astype("float32")

    def embed(training, **arguments):
        keras.utils.set_random_seed(0)
        model = EmbeddingModel(backbone, 5, **arguments)
        return keras.ops.convert_to_numpy(model(images, training=training))

    assert np.abs(embed(True) - embed(False)).max() > 1e-3
    frozen = {"freeze_batch_norm": True}
    np.testing.assert_array_equal(embed(True, **frozen), embed(False, **frozen))


def batch_norm_layers(model):
    """The layers, found without Keras's own traversal."""
    if isinstance(model, keras.layers.BatchNormalization):
        return [model]
    children = [model.layer] if hasattr(model, "layer") else getattr(model, "layers", [])
    return [layer for child in children for layer in batch_norm_layers(child)]


def embedding_model_of(backbone, **kwargs):
    model = EmbeddingModel(backbone, embedding_size=8, **kwargs)
    if not model.built:
        model.build((None, 32, 32, 3))
    return model


def values_of(layers):
    return [np.array(weight) for layer in layers for weight in layer.weights]


def trained(embedding_model, images, **arguments):
    model = MetricLearningModel(embedding_model, weight_decay=1e-2)
    model.compile(keras.optimizers.SGD(0.01), loss="triplet", **arguments)
    model.fit(images, np.arange(len(images)) % 4, batch_size=16, epochs=2, verbose=0)


@pytest.fixture
def images(generator):
    return generator.uniform(-3, 3, (16, 32, 32, 3)).astype("float32")


# An application is trained after loading, below.
@pytest.mark.parametrize("name", slow_except(["bn_inception", "nested", "own"], list(BACKBONES)))
def test_training_leaves_frozen_batch_normalisation_alone(name, images):
    backbone = BACKBONES[name]()
    model = embedding_model_of(backbone, freeze_batch_norm=True)
    layers = batch_norm_layers(backbone)
    assert len(layers) == {"bn_inception": 69, "application": 52, "nested": 5, "own": 1}[name]
    trainable = set(map(id, model.trainable_variables))
    assert trainable
    assert not trainable & {id(weight) for layer in layers for weight in layer.weights}
    np.testing.assert_array_equal(model(images, training=True), model(images, training=False))
    before, others = values_of(layers), model.projection.get_weights()
    trained(model, images, run_eagerly=name in LARGE)
    for one, other in zip(before, values_of(layers), strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.abs(others[0] - model.projection.get_weights()[0]).max() > 0


@pytest.mark.parametrize("name", ["nested", "own"])
def test_batch_normalisation_that_is_not_frozen_learns(name, images):
    backbone = BACKBONES[name]()
    model = embedding_model_of(backbone)
    assert np.abs(model(images, training=True) - model(images, training=False)).max() > 1e-3
    before = values_of(batch_norm_layers(backbone))
    trained(model, images)
    # Offsets before another normalisation have no gradient.
    changed = [
        np.abs(one - other).max() > 0
        for one, other in zip(before, values_of(batch_norm_layers(backbone)), strict=True)
    ]
    assert np.mean(changed) > 0.7
    assert changed[2]
    assert changed[3]


@pytest.mark.parametrize("name", ["application", "nested", "own"])
def test_what_was_frozen_is_frozen_when_it_is_loaded(name, images, tmp_path):
    model = embedding_model_of(BACKBONES[name](), freeze_batch_norm=True)
    # As an experiment saves it.
    inputs = keras.Input((32, 32, 3))
    network = keras.Model(inputs, keras.layers.UnitNormalization()(model(inputs, training=False)))
    network.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        loaded(images, training=False), network(images, training=False), atol=1e-6
    )
    embedding_model = loaded.layers[1]
    assert embedding_model.freeze_batch_norm
    assert len(loaded.trainable_variables) == len(network.trainable_variables)
    before = values_of(batch_norm_layers(embedding_model.backbone))
    trained(embedding_model, images, run_eagerly=name in LARGE)
    for one, other in zip(
        before, values_of(batch_norm_layers(embedding_model.backbone)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_other_layers_stay_trainable():
    model = nested((32, 32, 3))
    freeze_batch_norm(model)
    # Three convolutions with kernel and bias.
    assert len(model.trainable_variables) == 6
