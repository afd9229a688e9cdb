"""Small models and data to test training on."""

import keras
import numpy as np

from ccp_dml.models import (
    ChanceConstrainedModel,
    EmbeddingModel,
    MetricLearningModel,
    ProxyModel,
    small_convnet,
)


def linear_model(kernel):
    inputs = keras.Input(kernel.shape[:1])
    dense = keras.layers.Dense(kernel.shape[1], use_bias=False)
    model = keras.Model(inputs, dense(inputs))
    dense.kernel.assign(kernel)
    return model


def convolutional_model(method="ccp", batch_norm=False, jit_compile=False):
    backbone = small_convnet((8, 8, 1), filters=(4, 8))
    if batch_norm:
        features = keras.layers.BatchNormalization()(backbone.output)
        backbone = keras.Model(backbone.input, features)
    embedding_model = EmbeddingModel(backbone, embedding_size=6)
    regularization = {"weight_decay": 0.01, "clip_norm": 1.0, "clip_value": 0.5}
    if method == "plain":
        model = MetricLearningModel(embedding_model, **regularization)
    else:
        model = ChanceConstrainedModel(embedding_model, 5, 3, **regularization)
    model.compile(keras.optimizers.Adam(0.01), loss="contrastive", jit_compile=jit_compile)
    return model


def images_and_labels(n=40):
    generator = np.random.default_rng(1)
    labels = np.arange(n) % 5
    images = generator.uniform(size=(n, 8, 8, 1)) + 0.2 * labels[:, None, None, None]
    return images.astype("float32"), labels


def proxy_model(optimizer, **arguments):
    keras.utils.set_random_seed(0)
    embedding_model = EmbeddingModel(small_convnet((8, 8, 1), filters=(4, 8)), embedding_size=6)
    model = ProxyModel(embedding_model, 5, 2, **arguments)
    model.compile(optimizer, loss="contrastive")
    return model


def steps_of(model, **fit):
    """How far each trainable weight moves in a short training, by its path."""
    images, labels = images_and_labels()
    before = [weight.numpy() for weight in model.trainable_variables]
    model.fit(images, labels, batch_size=40, shuffle=False, verbose=0, **fit)
    return {
        weight.path: weight.numpy() - old
        for weight, old in zip(model.trainable_variables, before, strict=True)
    }
