"""Small networks for images."""

import keras

from ccp_dml.inference import ImageEmbedder


def small_embedder(seed: int = 0, size: int = 8, image_size: int = 8) -> ImageEmbedder:
    """A linear map of all pixels, with random weights that the seed fixes."""
    inputs = keras.Input((image_size, image_size, 3))
    initializer = keras.initializers.RandomNormal(stddev=0.3, seed=seed)
    # Pixels have a mean, which would make all embeddings alike.
    centered = keras.layers.Rescaling(1.0, offset=-0.5)(inputs)
    outputs = keras.layers.Dense(size, kernel_initializer=initializer)(
        keras.layers.Flatten()(centered)
    )
    return ImageEmbedder(keras.Model(inputs, outputs), "unit", resize_size=image_size)
