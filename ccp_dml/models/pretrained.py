"""Weights of backbones that were trained before."""

import pathlib

import keras

_FOLDER = pathlib.Path(__file__).parent / "weights"

SHIPPED: dict[str, pathlib.Path] = {"glyphs": _FOLDER / "small_convnet_glyphs.weights.h5"}
"""The weights of `small_convnet` that come with the package, made by
`experiments/pretrain_glyphs.py`."""


def load_backbone_weights(backbone: keras.Model, weights: str):
    """Sets the weights of a backbone.

    Args:
        backbone: The model.
        weights: `"none"`, which leaves them as they are; `"glyphs"`, those of a `small_convnet`
            trained to tell 500 letters apart, for grey images; or the path of a `.weights.h5` file
            that `backbone.save_weights` made.

    Raises:
        ValueError: If there is no such file, or its weights do not fit.

    Example:

    >>> load_backbone_weights(small_convnet((28, 28, 1)), "glyphs")
    """
    if weights == "none":
        return
    path = SHIPPED.get(weights) or pathlib.Path(weights)
    if not path.name.endswith(".weights.h5") or not path.is_file():
        raise ValueError(
            f"weights must be none, {', '.join(SHIPPED)} or the path of a .weights.h5 file; "
            f"got {weights!r}"
        )
    try:
        backbone.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        shapes = ", ".join(str(tuple(weight.shape)) for weight in backbone.weights)
        raise ValueError(
            f"weights {weights!r} do not fit the backbone {backbone.name}, whose weights have the "
            f"shapes {shapes}"
        ) from error
