"""A small convolutional backbone for small images."""

import keras


def small_convnet(
    input_shape: tuple[int, int, int], filters: tuple[int, ...] = (32, 64, 128)
) -> keras.Model:
    """3×3 convolutions with ReLU that halve the resolution between them.

    The convolutions are called `block_1_conv`, `block_2_conv` and so on, the names to use for
    learning rate multipliers.

    Args:
        input_shape: Height, width and channels of the images, whose values are in 0…1.
        filters: Channels of the convolutions. Defaults to `(32, 64, 128)`.

    Returns:
        A `keras.Model` from images `(batch, height, width, channels)` to a feature map
        `(batch, ⌈height / 2ⁿ⌉, ⌈width / 2ⁿ⌉, filters[-1])`, n = `len(filters) − 1`.

    Raises:
        ValueError: If `filters` is empty.

    Example:

    >>> small_convnet((8, 8, 1)).output_shape
    (None, 2, 2, 128)
    """
    if not filters:
        raise ValueError("filters must hold at least one number of channels; got ()")
    inputs = keras.Input(input_shape)
    features = inputs
    for number, channels in enumerate(filters, start=1):
        if number > 1:
            features = keras.layers.MaxPooling2D(padding="same", name=f"block_{number}_pool")(
                features
            )
        features = keras.layers.Conv2D(
            channels,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            name=f"block_{number}_conv",
        )(features)
    return keras.Model(inputs, features, name="small_convnet")
