"""Backbones from presets of KerasHub."""

import pathlib
from typing import Any

import keras

from ccp_dml.checks import suggest

PREFIX = "hub:"
# Errors that KerasHub and its downloaders raise for missing, damaged or unreachable files.
_PROBLEMS = (ValueError, TypeError, OSError, LookupError)


def load_preset(name: str, input_shape: tuple[int | None, int | None, int]) -> keras.Model:
    """Loads a network of KerasHub with its weights.

    For a network of images and texts, such as SigLIP, it is the part for images.

    Args:
        name: `"hub:"` and a preset: a name that KerasHub knows, such as `"hub:dinov2_base"`, which
            it downloads; an address, such as `"hub:hf://timm/resnet50.a1_in1k"`; or a folder.
        input_shape: Height, width and channels of the images. Vision transformers, other than
            DINOv2, take only the size of their preset.

    Returns:
        A `keras.Model` from images `(batch, height, width, channels)`, scaled as `find_rescaling`
        says, to the output of the network.

    Raises:
        ValueError: If KerasHub is not installed, the preset is unknown, cannot be downloaded, is
            damaged, is not for images, or takes images of another shape.
    """
    keras_hub = _import(name)
    network = _find_image_network(_load(keras_hub.models.Backbone, name), name)
    expected = _image_shape(network)
    if not _fits(input_shape, expected):
        try:
            network = type(network).from_preset(_preset_of(name), image_shape=tuple(input_shape))
        except _PROBLEMS as error:
            advice = f": choose image_size {expected[0]}" if expected[0] else ""
            raise ValueError(
                f"backbone {name} takes images of shape {expected}; got {tuple(input_shape)}"
                f"{advice}"
            ) from error
    inputs = keras.Input(input_shape)
    outputs = network({"images": inputs} if isinstance(network.input, dict) else inputs)
    return keras.Model(inputs, outputs, name=pathlib.PurePath(name[len(PREFIX) :]).name)


def find_rescaling(name: str) -> keras.layers.Rescaling:
    """Finds how the values of images, 0…255, are scaled for a preset.

    Args:
        name: As for `load_preset`.

    Returns:
        A layer that does it.

    Raises:
        ValueError: If KerasHub is not installed, the preset is unknown or cannot be downloaded, or
            it does not specify a scaling.
    """
    converter = _load(_import(name).layers.ImageConverter, name)
    if converter is None:
        raise ValueError(f"backbone {name} does not specify how to prepare images for it")
    scale = 1.0 if converter.scale is None else converter.scale
    offset = 0.0 if converter.offset is None else converter.offset
    return keras.layers.Rescaling(scale, offset, name="rescaling")


def _import(name):
    try:
        import keras_hub  # pyright: ignore[reportMissingImports] (of the extra `hub`)
    except ImportError as error:
        raise ValueError(
            f'backbone {name} requires KerasHub: pip install "ccp_dml[hub]"'
        ) from error
    preset = _preset_of(name)
    known = keras_hub.models.Backbone.presets
    if preset not in known and "://" not in preset and not pathlib.Path(preset).is_dir():
        raise ValueError(
            "a preset of KerasHub must be one of its names, such as dinov2_base, an address, such "
            f"as hf://timm/resnet50.a1_in1k, or a folder; got {preset!r}{suggest(preset, known)}"
        )
    return keras_hub


def _preset_of(name):
    preset = name[len(PREFIX) :]
    folder = pathlib.Path(preset).expanduser()
    return str(folder) if folder.is_dir() else preset


def _load(kind: Any, name: str) -> Any:
    """Loads a preset as an instance of a class of KerasHub."""
    preset = _preset_of(name)
    try:
        return kind.from_preset(preset)
    except _PROBLEMS as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if pathlib.Path(preset).is_dir():
            message = f"backbone {name} cannot be loaded from its folder: {reason}"
        else:
            message = (
                f"backbone {name} could not be downloaded: get the files of "
                f"{_address(kind, preset)} (config.json, image_converter.json and the weights), "
                f"put them into a folder, and choose the backbone {PREFIX}FOLDER ({reason})"
            )
        raise ValueError(message) from error


def _address(kind, preset):
    handle = kind.presets.get(preset, {}).get("kaggle_handle", preset)
    for scheme, site in _SITES.items():
        handle = handle.replace(f"{scheme}://", site)
    return handle


_SITES = {"kaggle": "https://www.kaggle.com/models/", "hf": "https://huggingface.co/"}


def _find_image_network(network, name):
    """Returns a network for images, or the image part of a network of images and texts."""
    network = getattr(network, "vision_encoder", network)
    if len(_image_shape(network)) != 3:
        raise ValueError(f"backbone {name} is not a network whose only inputs are images")
    return network


def _image_shape(network) -> tuple[int | None, ...]:
    """Returns the shape of the images that a network takes, empty if it takes anything else."""
    shape = network.input_shape
    if isinstance(shape, dict):
        shape = shape["images"] if list(shape) == ["images"] else ()
    return tuple(shape[1:])


def _fits(shape, expected):
    return all(allowed in (None, side) for side, allowed in zip(shape, expected, strict=True))
