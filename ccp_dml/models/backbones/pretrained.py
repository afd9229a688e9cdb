"""Weights of pretrained backbones."""

import pathlib

import keras

from ccp_dml.checks import list_first
from ccp_dml.data import cache_folder
from ccp_dml.models.backbones.state_dict import convert
from ccp_dml.models.backbones.torch_files import read_state_dict

_FOLDER = pathlib.Path(__file__).parent / "weights"

SHIPPED: dict[str, pathlib.Path] = {"glyphs": _FOLDER / "small_convnet_glyphs.weights.h5"}
"""The weights of `small_convnet` that come with the package, made by
`experiments/pretrain_glyphs.py`."""

IMAGENET_FILES = ("bn_inception_imagenet.weights.h5", "bn_inception-52deb4733.pth")
"""What `"imagenet"` stands for, in the folder `weights` of `ccp_dml.data.cache_folder()`: the first
of the weights of `bn_inception` that is there, ours or the public file of the PyTorch port."""

_PYTORCH_PORT = (
    "http://data.lip6.fr/cadene/pretrainedmodels/bn_inception-52deb4733.pth (45 MB, 11,295,240 "
    "parameters; the file of the PyTorch package pretrainedmodels)"
)
_KERAS_ENDING = ".h5"
_TORCH_ENDINGS = (".pth", ".pt", ".bin")
# Readers of PyTorch weights.
_TORCH_NETWORKS = {
    "bn_inception": "BN-Inception",
    "resnet50_v1_5": "ResNet-50",
    "vit_b16": "ViT-B/16 for images of this size",
}
_MAX_LISTED = 8


def load_backbone_weights(backbone: keras.Model, weights: str):
    """Sets the weights of a backbone.

    Args:
        backbone: The model.
        weights: `"none"`, which leaves them as they are; `"glyphs"`, those of a `small_convnet`
            trained to classify 500 letters, for grey images; `"imagenet"`, those of a
            `bn_inception` from `IMAGENET_FILES`; or a path: of a `.weights.h5` file that
            `backbone.save_weights` made (or an older `.h5` file of Keras), or of a `.pth` file
            (`.pt`, `.bin`) with weights from PyTorch: of pretrainedmodels for `bn_inception`, of
            timm or torchvision for `resnet50_v1_5`, of timm for `vit_b16`. These require the extra
            `ccp_dml[torch]`.

    Raises:
        ValueError: If there is no such file, or its weights do not fit.

    Example:

    >>> load_backbone_weights(small_convnet((28, 28, 1)), "glyphs")
    """
    if weights == "none":
        return
    path = _find_imagenet_file(backbone) if weights == "imagenet" else _find_file(weights)
    if path.suffix in _TORCH_ENDINGS:
        backbone.set_weights(_read_torch_weights(path, backbone))
        return
    try:
        backbone.load_weights(path)
    except (ValueError, OSError, LookupError) as error:
        shapes = [tuple(weight.shape) for weight in backbone.weights]
        raise ValueError(
            f"weights {str(path)!r} do not fit the backbone {backbone.name}, whose {len(shapes)} "
            f"weights have the shapes {list_first(shapes, _MAX_LISTED)}"
        ) from error


def _find_file(weights):
    path = SHIPPED.get(weights) or pathlib.Path(weights).expanduser()
    if path.suffix not in (_KERAS_ENDING, *_TORCH_ENDINGS) or not path.is_file():
        raise ValueError(
            f"weights must be none, imagenet, {', '.join(SHIPPED)} or the path of a .weights.h5 or "
            f".pth file; got {weights!r}"
        )
    return path


def _read_torch_weights(path, backbone):
    if backbone.name not in _TORCH_NETWORKS:
        raise ValueError(
            f"{path} has PyTorch weights, which only the backbones {', '.join(_TORCH_NETWORKS)} "
            f"take; got the backbone {backbone.name}"
        )
    state_dict = read_state_dict(path)
    try:
        return convert(state_dict, backbone, _TORCH_NETWORKS[backbone.name])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _find_imagenet_file(backbone):
    if backbone.name != "bn_inception":
        raise ValueError(
            "imagenet weights exist only for bn_inception and the networks of "
            f"keras.applications; got the backbone {backbone.name}"
        )
    folder = cache_folder() / "weights"
    for name in IMAGENET_FILES:
        if (folder / name).is_file():
            return folder / name
    raise ValueError(
        f"the imagenet weights of bn_inception are missing: get {_PYTORCH_PORT} and put it at "
        f"{folder / IMAGENET_FILES[-1]}"
    )
