"""Conversion of a trained model to a network for unprocessed images."""

import keras

from ccp_dml.data import LabeledSamples
from ccp_dml.inference.image_embedder import ImageEmbedder
from ccp_dml.models import MetricLearningModel


def make_embedder(model: MetricLearningModel, data: LabeledSamples) -> ImageEmbedder:
    """Returns the part of a model that is used after training, with the preprocessing of its data.

    It shares its weights with the model. It can be saved, `embedder.save("model.keras")`, and
    loaded with `ccp_dml.inference.load`.

    Args:
        model: A model, usually trained.
        data: The samples it was trained on, or others with the same preprocessing.

    Returns:
        An embedder of image files and pixels.

    Example:

    >>> from ccp_dml.data import load
    >>> from ccp_dml.models import MetricLearningModel
    >>> network = EmbeddingModel(small_convnet((8, 8, 1)), embedding_size=4)
    >>> embedder = make_embedder(MetricLearningModel(network), load("digits").train)
    >>> embedder.embed([np.full((20, 30, 3), 255, "uint8")]).shape
    (1, 4)
    """
    inputs = keras.Input(data.image_shape)
    outputs = model.normalization(model.embedding_model(inputs, training=False))
    network = keras.Model(inputs, outputs, name="embedding")
    preprocessing = data.preprocessing
    return ImageEmbedder(
        network,
        preprocessing.scaling,
        preprocessing.shorter_side,
        preprocessing.background,
        preprocessing.fit,
    )
