"""BN-Inception, the network that the CCP paper fine-tunes, and its weights from PyTorch.

Converts the PyTorch file of the weights into one that can be read without PyTorch:

    python -m ccp_dml.models.backbones.bn_inception in.pth out.weights.h5
"""

import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from ccp_dml.models.backbones.state_dict import convert
from ccp_dml.models.backbones.torch_files import read_state_dict

_USAGE = "usage: python -m ccp_dml.models.backbones.bn_inception in.pth out.weights.h5"


class _Block(NamedTuple):
    """The channels of an inception block; a block without `direct` halves the resolution."""

    name: str
    direct: int | None
    single: tuple[int, int]
    double: tuple[int, int]
    pooling: str
    projection: int | None


_BLOCKS = (
    _Block("3a", 64, (64, 64), (64, 96), "average", 32),
    _Block("3b", 64, (64, 96), (64, 96), "average", 64),
    _Block("3c", None, (128, 160), (64, 96), "max", None),
    _Block("4a", 224, (64, 96), (96, 128), "average", 128),
    _Block("4b", 192, (96, 128), (96, 128), "average", 128),
    _Block("4c", 160, (128, 160), (128, 160), "average", 128),
    _Block("4d", 96, (128, 192), (160, 192), "average", 128),
    _Block("4e", None, (128, 192), (192, 256), "max", None),
    _Block("5a", 352, (192, 320), (160, 224), "average", 128),
    _Block("5b", 352, (192, 320), (192, 224), "max", 128),
)


def bn_inception(input_shape: tuple[int | None, int | None, int] = (227, 227, 3)) -> keras.Model:
    """BN-Inception without its classifier: 10,270,240 parameters and 1,024-d features.

    Inception with batch normalisation ("Batch Normalization: Accelerating Deep Network Training by
    Reducing Internal Covariate Shift", Ioffe and Szegedy, 2015), as it was trained with Caffe and
    ported to PyTorch. The weights are random; `load_backbone_weights` sets them. Those of ImageNet
    were trained on values scaled as `"bgr"`: blue, green and red in 0…255 minus their means. We
    subtract 255 · (0.406, 0.456, 0.485), as the code of the CCP paper does; the PyTorch port
    subtracts (104, 117, 128).

    Args:
        input_shape: Height, width and channels of the images. Heights and widths must be 32k − 1 to
            32k + 6 pixels, k ≥ 1: otherwise the branches of a block differ in size. `None` leaves
            them open. Defaults to `(227, 227, 3)`.

    Returns:
        A `keras.Model` from images `(batch, height, width, channels)` to a feature map `(batch, k,
        k', 1024)`, 7 × 7 for images of 224 or 227 pixels. Its layers have the same names as in the
        PyTorch port.

    Raises:
        ValueError: If there is no such network for the height or width.

    Example:

    >>> bn_inception((64, 64, 3)).output_shape
    (None, 2, 2, 1024)
    """
    for side in input_shape[:2]:
        if side is not None and (side < 31 or (side + 1) % 32 > 7):
            raise ValueError(
                "bn_inception takes heights and widths of 32k − 1 to 32k + 6 pixels, such as 224, "
                f"227 or 256; got {input_shape[0]} x {input_shape[1]}"
            )
    inputs = keras.Input(input_shape)
    features = _convolution(inputs, 64, 7, strides=2, name="conv1_7x7_s2")
    features = _downsample(features, name="pool1_3x3_s2")
    features = _convolution(features, 64, 1, name="conv2_3x3_reduce")
    features = _convolution(features, 192, 3, name="conv2_3x3")
    features = _downsample(features, name="pool2_3x3_s2")
    for block in _BLOCKS:
        features = _inception(features, block)
    return keras.Model(inputs, features, name="bn_inception")


def _convolution(features, channels, size, name, strides=1):
    """Applies a convolution padded by half its kernel, batch normalisation and ReLU."""
    if size > 1:
        # Keras's padding "same" is not symmetric when the resolution is halved.
        features = keras.layers.ZeroPadding2D(size // 2, name=f"{name}_padding")(features)
    features = keras.layers.Conv2D(
        channels, size, strides, kernel_initializer="he_normal", name=name
    )(features)
    # PyTorch's momentum of 0.1 is the weight of the new statistics, Keras's that of the old ones.
    features = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn")(
        features
    )
    return keras.layers.ReLU(name=f"{name}_relu")(features)


def _downsample(features, name):
    """Takes the maximum over 3 × 3 with stride 2; the last window may extend over the edge."""
    # After a ReLU nothing is below the padding's 0. If the size is odd, no window contains padding.
    features = keras.layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_padding")(features)
    return keras.layers.MaxPooling2D(3, 2, name=name)(features)


def _pool(features, pooling, name):
    """Takes the average or the maximum over 3 × 3 with stride 1."""
    if pooling == "max":
        return keras.layers.MaxPooling2D(3, 1, padding="same", name=name)(features)
    # The padding counts in the mean; with Keras's padding "same" it would not.
    features = keras.layers.ZeroPadding2D(1, name=f"{name}_padding")(features)
    return keras.layers.AveragePooling2D(3, 1, name=name)(features)


def _inception(features, block):
    """Applies convolutions and a pooling in parallel."""
    name = f"inception_{block.name}"
    halves = block.direct is None
    strides = 2 if halves else 1

    reduced, channels = block.single
    single = _convolution(features, reduced, 1, name=f"{name}_3x3_reduce")
    single = _convolution(single, channels, 3, strides=strides, name=f"{name}_3x3")

    reduced, channels = block.double
    double = _convolution(features, reduced, 1, name=f"{name}_double_3x3_reduce")
    double = _convolution(double, channels, 3, name=f"{name}_double_3x3_1")
    double = _convolution(double, channels, 3, strides=strides, name=f"{name}_double_3x3_2")

    if halves:
        branches = [single, double, _downsample(features, name=f"{name}_pool")]
    else:
        direct = _convolution(features, block.direct, 1, name=f"{name}_1x1")
        pooled = _pool(features, block.pooling, name=f"{name}_pool")
        pooled = _convolution(pooled, block.projection, 1, name=f"{name}_pool_proj")
        branches = [direct, single, double, pooled]
    return keras.layers.Concatenate(name=f"{name}_output")(branches)


def convert_state_dict(state_dict: Mapping[str, Any]) -> list[np.ndarray]:
    """Converts weights of the PyTorch port to those of `bn_inception`.

    Args:
        state_dict: Arrays, or anything that `np.asarray` converts, by their names in the port:
            `conv1_7x7_s2.weight` `(out, in, height, width)`, `conv1_7x7_s2.bias`,
            `conv1_7x7_s2_bn.weight`, `.bias`, `.running_mean` and `.running_var`, and so on. Those
            of batch normalisation may be `(1, n)` instead of `(n,)`. Others, such as the classifier
            `last_linear`, are ignored.

    Returns:
        float32 arrays, as `bn_inception(…).set_weights` takes them.

    Raises:
        ValueError: If a name is missing or its array has another shape; the message names them.

    Example:

    ```python
    network = bn_inception()
    network.set_weights(convert_state_dict(np.load("bn_inception.npz")))
    ```
    """
    return convert(state_dict, bn_inception((None, None, 3)), "BN-Inception")


def main(argv: Sequence[str]):
    """Converts a file.

    Args:
        argv: The program's name, the PyTorch file and the `.weights.h5` file to be written, or
            `--help`.
    """
    if "--help" in argv[1:]:
        print(_USAGE)
        return
    try:
        _convert_file(argv[1:])
    except (ValueError, OSError) as error:
        print(f"ccp_dml: {error}", file=sys.stderr)
        sys.exit(2)


def _convert_file(arguments):
    if len(arguments) != 2 or not arguments[1].endswith(".weights.h5"):
        raise ValueError(f"{_USAGE}; got {' '.join(arguments) or 'nothing'}")
    source, target = map(pathlib.Path, arguments)
    weights = convert_state_dict(read_state_dict(source))
    network = bn_inception((None, None, 3))
    network.set_weights(weights)
    target.parent.mkdir(parents=True, exist_ok=True)
    network.save_weights(target, overwrite=True)
    print(f"wrote {target}: {network.count_params():,} numbers")


if __name__ == "__main__":
    main(sys.argv)
