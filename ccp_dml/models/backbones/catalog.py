"""Backbones by name, and the scaling of values that they expect."""

import inspect
import os
import pathlib
import re
import sys
from collections.abc import Callable

import keras
import numpy as np

from ccp_dml import identifiers
from ccp_dml.checks import suggest
from ccp_dml.data import SCALINGS
from ccp_dml.data.value_scaling import rescale
from ccp_dml.layers.feature_shapes import check_features
from ccp_dml.models.backbones import efficientnet, hub
from ccp_dml.models.backbones.pretrained import load_backbone_weights

# Their module and function, and the scaling they expect.
_OWN = {
    "small_convnet": ("ccp_dml.models.backbones.small_convnet:small_convnet", "unit"),
    "bn_inception": ("ccp_dml.models.backbones.bn_inception:bn_inception", "bgr"),
    "resnet50_v1_5": ("ccp_dml.models.backbones.resnet:resnet50_v1_5", "torch"),
    "vit_b16": ("ccp_dml.models.backbones.vision_transformer:vit_b16", "symmetric"),
}
_ALIASES = {"resnet50": "ResNet50"}
_SCALING_OF_OTHERS = "unit"
_SCALING_IN_NETWORK = "raw"
# Relative to the range of the values; Keras rounds ImageNet's mean differently.
_TOLERANCE = 0.01
# Keras caches these two under names that differ from the published ones.
_KEPT_AS = {
    "NASNet-mobile-no-top.h5": "nasnet_mobile_no_top.h5",
    "NASNet-large-no-top.h5": "nasnet_large_no_top.h5",
}


def get_backbone(
    name: str, input_shape: tuple[int | None, int | None, int], weights: str = "none"
) -> keras.Model:
    """Returns a backbone by its name.

    Args:
        name: `"small_convnet"`; `"bn_inception"`, the network of the CCP paper; `"resnet50_v1_5"`
            or `"vit_b16"`, for weights of timm; `"resnet50"` or any network of
            `keras.applications` by the name it has there, such as `"EfficientNetV2B0"`;
            `"hub:preset"`, a preset of KerasHub, see `ccp_dml.models.backbones.hub.load_preset`; or
            `"module:callable"`: your own function, which is called with `input_shape` and returns a
            `keras.Model`.
        input_shape: Height, width and channels of the images.
        weights: `"none"` (default), random weights or, for a preset, its own; `"imagenet"`, which
            Keras downloads for its networks; or anything else that `load_backbone_weights` takes,
            such as a path.

    Returns:
        A `keras.Model` from images `(batch, height, width, channels)`, with values scaled as
        `value_scaling` says, to a feature map `(batch, height, width, channels)`, tokens `(batch,
        tokens, channels)` or vectors `(batch, channels)`.

    Raises:
        ValueError: If the name is unknown (the message suggests others), the network does not take
            images of this shape, your function does not return a backbone, or the weights are
            missing or do not fit.

    Example:

    >>> get_backbone("MobileNetV2", (64, 64, 3)).output_shape
    (None, 2, 2, 1280)
    """
    name = _ALIASES.get(name, name)
    _check_name(name)
    if name in _list_applications():
        return _build_application(name, tuple(input_shape), weights)
    if name.startswith(hub.PREFIX):
        backbone = _load_preset(name, tuple(input_shape))
    else:
        address, _ = _OWN.get(name, (name, _SCALING_OF_OTHERS))
        backbone = _call_factory(address, tuple(input_shape), name)
    load_backbone_weights(backbone, weights)
    return backbone


def value_scaling(name: str) -> str:
    """Returns how the values of images are scaled for a backbone.

    For the networks of `keras.applications` and presets of KerasHub it is found by comparing their
    preprocessing of an image with each of our scalings.

    Args:
        name: As for `get_backbone`.

    Returns:
        One of `ccp_dml.data.SCALINGS`; for your own functions `"unit"`, 0…1; `"raw"` for a preset
        whose values are scaled in another way, which the backbone then does itself.

    Raises:
        ValueError: If the name is unknown or Keras scales values in another way.

    Example:

    >>> [value_scaling(name) for name in ("bn_inception", "DenseNet121", "EfficientNetV2B0")]
    ['bgr', 'torch', 'raw']
    """
    name = _ALIASES.get(name, name)
    _check_name(name)
    if name.startswith(hub.PREFIX):
        return _find_scaling(hub.find_rescaling(name)) or _SCALING_IN_NETWORK
    if name not in _list_applications():
        return _OWN[name][1] if name in _OWN else _SCALING_OF_OTHERS
    module = sys.modules[_list_applications()[name].__module__]
    scaling = _find_scaling(module.preprocess_input)
    if scaling is None:
        raise ValueError(
            f"{name} expects its inputs scaled in a way other than {', '.join(SCALINGS)}"
        )
    return scaling


def _find_scaling(prepare):
    """Finds which of our scalings a function of images in 0…255 applies, if any."""
    probe = np.random.default_rng(0).uniform(0, 255, (1, 4, 4, 3)).astype("float32")
    expected = keras.ops.convert_to_numpy(prepare(probe.copy()))
    for scaling in SCALINGS:
        if np.abs(rescale(probe, scaling) - expected).max() < _TOLERANCE * np.ptp(expected):
            return scaling
    return None


def _load_preset(name, input_shape):
    """Loads a preset, with a layer that scales values if none of our scalings does."""
    backbone = hub.load_preset(name, input_shape)
    rescaling = hub.find_rescaling(name)
    if _find_scaling(rescaling) is None:
        inputs = keras.Input(input_shape)
        backbone = keras.Model(inputs, backbone(rescaling(inputs)), name=backbone.name)
    return _fix_shapes(backbone, input_shape, name)


def _check_name(name):
    known = (*_OWN, *_ALIASES, *_list_applications())
    if name not in known and ":" not in name:
        raise ValueError(
            f"backbone must be one of {', '.join(known)}, or of the form hub:preset or "
            f"module:callable; got {name!r}{suggest(name, known)}"
        )


def _list_applications() -> dict[str, Callable[..., keras.Model]]:
    return dict(inspect.getmembers(keras.applications, inspect.isfunction))


def _build_application(name, input_shape, weights):
    from_keras = weights == "imagenet"
    if from_keras and input_shape[-1] != 3:
        raise ValueError(
            f"the imagenet weights of {name} take images with 3 channels, red, green and blue; got "
            f"{input_shape[-1]}"
        )
    try:
        backbone = _list_applications()[name](
            include_top=False, weights=weights if from_keras else None, input_shape=input_shape
        )
    except ValueError as error:
        raise ValueError(
            f"{name} cannot be made for images of shape {input_shape}: {_join_lines(error)}"
        ) from error
    # If a download fails, Keras raises `Exception` itself; its subclasses are other errors.
    except Exception as error:
        if not from_keras or type(error) is not Exception:
            raise
        raise ValueError(_explain_failed_download(name, error)) from error
    if not from_keras:
        load_backbone_weights(backbone, weights)
        if name in efficientnet.NAMES:
            efficientnet.correct_normalization(backbone)
    return backbone


def _explain_failed_download(name, error):
    home = pathlib.Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    address = re.search(r"https?://\S+\.h5", str(error))
    if address is None:
        return f"the imagenet weights of {name} could not be loaded: {_join_lines(error)}"
    file_name = address.group().rpartition("/")[2]
    path = home / "models" / _KEPT_AS.get(file_name, file_name)
    return (
        f"the imagenet weights of {name} could not be downloaded: get {address.group()} and put it "
        f"at {path}"
    )


def _call_factory(address, input_shape, name):
    """Calls a function, given by its module and name, with `input_shape`."""
    function = identifiers.load("backbone", address, "module:callable")
    if not callable(function):
        raise ValueError(f"backbone {name!r} must be callable; got {function!r}")
    try:
        backbone = function(input_shape)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"backbone {name!r} cannot be made for images of shape {input_shape}: "
            f"{_join_lines(error)}"
        ) from error
    if not isinstance(backbone, keras.Model):
        raise ValueError(f"backbone {name!r} must return a keras.Model; got {backbone!r}")
    return _fix_shapes(backbone, input_shape, name)


def _fix_shapes(backbone, input_shape, name):
    """Returns the model with known shapes of its inputs and outputs, which are checked."""
    try:
        if not hasattr(backbone, "input_shape"):
            inputs = keras.Input(input_shape)
            backbone = keras.Model(inputs, backbone(inputs), name=backbone.name)
        output_shape = backbone.compute_output_shape((None, *input_shape))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"backbone {name!r} does not take images of shape {input_shape}: {_join_lines(error)}"
        ) from error
    check_features(output_shape, f"backbone {name!r}")
    return backbone


def _join_lines(error):
    return " ".join(str(error).split())
