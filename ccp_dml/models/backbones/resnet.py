"""ResNet-50, as in PyTorch."""

import keras

# Blocks and channels of the stages.
_STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
_EXPANSION = 4


def resnet50_v1_5(input_shape: tuple[int | None, int | None, int] = (224, 224, 3)) -> keras.Model:
    """ResNet-50 v1.5 without its classifier: 23,508,032 trained weights and 2,048-d features.

    "Deep Residual Learning for Image Recognition" (He et al., CVPR 2016), as in timm and
    torchvision: the 3 × 3 convolution of a block halves the resolution, whereas in
    `keras.applications.ResNet50` the 1 × 1 convolution before it does. Images are scaled as
    `"torch"`.

    Args:
        input_shape: Height, width and channels of the images; `None` leaves heights and widths
            open. Defaults to `(224, 224, 3)`.

    Returns:
        A `keras.Model` from images `(batch, height, width, channels)` to a feature map `(batch,
        ⌈height / 32⌉, ⌈width / 32⌉, 2048)`. Its layers have the same names as the modules of timm's
        and torchvision's `resnet50`, so that `load_backbone_weights` reads their weights.

    Example:

    >>> resnet50_v1_5((64, 64, 3)).output_shape
    (None, 2, 2, 2048)
    """
    inputs = keras.Input(input_shape)
    features = _convolution(inputs, 64, 7, "conv1", "bn1", strides=2)
    features = keras.layers.ReLU(name="act1")(features)
    # After a ReLU nothing is below the padding's 0.
    features = keras.layers.ZeroPadding2D(1, name="maxpool.padding")(features)
    features = keras.layers.MaxPooling2D(3, 2, name="maxpool")(features)
    for stage, (num_blocks, channels) in enumerate(_STAGES, start=1):
        for block in range(num_blocks):
            strides = 2 if stage > 1 and block == 0 else 1
            features = _bottleneck(features, channels, strides, f"layer{stage}.{block}")
    return keras.Model(inputs, features, name="resnet50_v1_5")


def _convolution(features, channels, size, name, norm_name, strides=1):
    """Applies a convolution without bias, padded by half its kernel, and batch normalisation."""
    if size > 1:
        # Keras's padding "same" is not symmetric when the resolution is halved.
        features = keras.layers.ZeroPadding2D(size // 2, name=f"{name}.padding")(features)
    features = keras.layers.Conv2D(
        channels, size, strides, use_bias=False, kernel_initializer="he_normal", name=name
    )(features)
    # PyTorch's momentum of 0.1 is the weight of the new statistics, Keras's that of the old ones.
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=norm_name)(features)


def _bottleneck(features, channels, strides, name):
    """Applies three convolutions with a residual connection."""
    past = features
    wide = _EXPANSION * channels
    if features.shape[-1] != wide:
        past = _convolution(
            features, wide, 1, f"{name}.downsample.0", f"{name}.downsample.1", strides
        )
    features = _convolution(features, channels, 1, f"{name}.conv1", f"{name}.bn1")
    features = keras.layers.ReLU(name=f"{name}.act1")(features)
    features = _convolution(features, channels, 3, f"{name}.conv2", f"{name}.bn2", strides)
    features = keras.layers.ReLU(name=f"{name}.act2")(features)
    features = _convolution(features, wide, 1, f"{name}.conv3", f"{name}.bn3")
    features = keras.layers.Add(name=f"{name}.add")([features, past])
    return keras.layers.ReLU(name=f"{name}.act3")(features)
