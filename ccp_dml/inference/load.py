"""Loading of networks saved by training."""

import importlib.util
import os
import zipfile
import zlib

import keras
from absl import logging
from etils import epath

from ccp_dml.data import SCALINGS
from ccp_dml.data.image_index import is_regular_file
from ccp_dml.data.preprocessing import parse_color
from ccp_dml.inference.image_embedder import ImageEmbedder

# Errors that Keras raises for files that are damaged or not its own.
_NOT_A_NETWORK = (
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    OSError,
    EOFError,
    RecursionError,
    zipfile.BadZipFile,
    zlib.error,
)
# A hundred times the largest of keras.applications.
_MAX_CONFIG_BYTES = 2**26


def load(
    path: str | os.PathLike,
    scaling: str | None = None,
    resize_size: int | None = None,
    background: str | None = None,
    fit: str | None = None,
) -> ImageEmbedder:
    """Loads a network saved by training, with the preprocessing of its images.

    Args:
        path: The file, `model.keras`.
        scaling: The values that the network takes, for a network that was saved without its
            preprocessing; see `ccp_dml.data.value_scaling.rescale`. Defaults to `None`: as saved.
        resize_size: Size of the shorter side of an image after resizing, before the centre crop,
            for such a network. Defaults to `None`: as saved, or else 256 / 227 of the size that the
            network takes.
        background: The colour behind transparent pixels, for such a network. Defaults to `None`: as
            saved, or else white.
        fit: `"crop"` or `"pad"`, for such a network. Defaults to `None`: as saved, or else
            `"crop"`.

    Returns:
        The network with its preprocessing; `.network` is the network alone.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a network for images, if it was saved without its preprocessing and
            `scaling` is not given, or if an argument contradicts the saved preprocessing.

    Example:

    ```python
    embedder = ccp_dml.inference.load("/tmp/run/model.keras")
    embeddings = embedder.embed(["cat.jpg", "dog.png"])
    ```
    """
    model = read_network(path)
    if isinstance(model, ImageEmbedder):
        saved = model.preprocessing
        _check_same(path, "scaling", scaling, saved.scaling)
        _check_same(path, "resize_size", resize_size, saved.shorter_side)
        # A colour has several names.
        if background and parse_color("background", background) != saved.background_color:
            _check_same(path, "background", background, saved.background)
        _check_same(path, "fit", fit, saved.fit)
        return model
    if scaling is None:
        raise ValueError(
            f"{path} was saved without its preprocessing: pass scaling, one of "
            f"{', '.join(SCALINGS)}, and resize_size, as they were in training"
        )
    try:
        embedder = ImageEmbedder(model, scaling, resize_size, background or "white", fit or "crop")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    logging.warning(
        "%s was saved without its preprocessing: using the given scaling %s and resize_size %d.",
        path,
        scaling,
        embedder.preprocessing.shorter_side,
    )
    return embedder


def read_network(path: str | os.PathLike) -> keras.Model:
    """Reads a network with or without its preprocessing.

    Args:
        path: The file.

    Returns:
        An `ImageEmbedder`, or a model from preprocessed images to embeddings; for a saved model
        with a training step, as from a notebook, the network that it trains.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a network saved by Keras, or has a backbone of KerasHub, which is
            not installed.
    """
    path = os.fspath(path)
    if not epath.Path(path).exists():
        raise FileNotFoundError(f"the network {path} does not exist")
    if not is_regular_file(path):
        raise ValueError(f"{path} is not a network saved by Keras: it is not a file")
    try:
        _check_archive(path)
        model = keras.models.load_model(path)
    except _NOT_A_NETWORK as error:
        if "keras_hub" in str(error) and importlib.util.find_spec("keras_hub") is None:
            raise ValueError(f'{path} requires KerasHub: pip install "ccp_dml[hub]"') from error
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} is not a network saved by Keras: {reason}") from error
    return getattr(model, "embedding_model", model)


def _check_archive(path):
    """Raises an error if a file was damaged after saving, which Keras does not always notice."""
    with epath.Path(path).open("rb") as file:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                for member in archive.infolist():
                    if member.filename.endswith(".json") and member.file_size > _MAX_CONFIG_BYTES:
                        raise ValueError(f"{member.filename} in it has {member.file_size:,} bytes")
                damaged = archive.testzip()
            if damaged:
                raise ValueError(f"{damaged} in it is damaged")


def _check_same(path, name, given, saved):
    if given is not None and given != saved:
        raise ValueError(f"{name} must be {saved!r}, as in the training of {path}; got {given!r}")
