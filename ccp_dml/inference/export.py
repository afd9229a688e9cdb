"""Export of trained networks to formats that need neither Keras nor this package."""

import importlib.resources
import json
import os
import pathlib
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from etils import epath

from ccp_dml.atomic_write import atomic_write
from ccp_dml.checks import check_one_of
from ccp_dml.data.decoding import decode_image
from ccp_dml.data.preprocessing import crop_center, evaluation_image
from ccp_dml.inference.image_embedder import ImageEmbedder
from ccp_dml.inference.onnx_conversion import write_onnx
from ccp_dml.inference.portable_preprocessing import crop_center_portably
from ccp_dml.layers import lipschitz_normalize

FORMATS = ("saved_model", "onnx", "tflite")
QUANTIZATIONS = ("none", "float16", "int8")

_UPRIGHT_PIXELS = (
    "pixels of any size, uint8 (batch, height, width, 3): it cannot decode images, whose "
    "orientation and transparency have to be applied before"
)
INPUTS = {
    "saved_model": "encoded images, or pixels with the signature pixels",
    "onnx": _UPRIGHT_PIXELS,
    "tflite": _UPRIGHT_PIXELS,
}
"""The inputs of a model in each format."""

_FILES = {"saved_model": "saved_model", "onnx": "model.onnx", "tflite": "model.tflite"}
_ENCODED = tf.TensorSpec((None,), tf.string, name="images")
_PIXELS = tf.TensorSpec((None, None, None, 3), tf.uint8, name="images")
_TOLERANCE, _QUANTIZED_TOLERANCE = 1e-4, 1e-2


class ExportedModel(NamedTuple):
    """The result of `export`.

    Attributes:
        path: Path of the model, a file or, for a SavedModel, a folder.
        example: A program beside it that embeds image files with it, without this package.
        num_images: Number of images that it was checked with.
        largest_difference: Largest difference between a value of its embeddings and that of Keras.
    """

    path: epath.Path
    example: epath.Path
    num_images: int
    largest_difference: float


def export(
    embedders: Sequence[ImageEmbedder],
    output: str | os.PathLike,
    format: str,
    images: Sequence[bytes] = (),
    quantization: str = "none",
) -> ExportedModel:
    """Writes networks with their preprocessing as one model, and checks its results.

    A SavedModel takes encoded images, the signature `serving_default`, or pixels, the signature
    `pixels`. ONNX and TFLite cannot decode images: their models take pixels, uint8 `(batch, height,
    width, 3)` of any size, whose orientation and transparency have been applied. All resize, crop
    and scale. The embeddings, float32 `(batch, d)`, are normalised; those of several networks are
    put side by side and normalised again, as the MLRC protocol does.

    Decoded pixels and the encoded image give slightly different embeddings for large JPEGs, because
    the network's own preprocessing decodes no more than it needs.

    Args:
        embedders: The networks, at least one.
        output: Folder for the model, and for a program that shows its use; an earlier export in the
            same format is replaced. Any path that `etils.epath` knows.
        format: `"saved_model"`, `"onnx"` or `"tflite"`.
        images: Encoded images to compare the model with Keras on. Defaults to none: two
            photographs that come with scikit-learn.
        quantization: Quantisation of the weights, for TFLite: `"none"` (default), `"float16"`, half
            of the size, or `"int8"`, a quarter.

    Returns:
        The files written, and the largest difference.

    Raises:
        ValueError: If Keras's backend is not TensorFlow, a name is unknown, the networks use
            different backgrounds, a package that the format requires is missing, the format lacks
            an operation of the networks, or the embeddings differ by more than 1e-4, or 1e-2 for a
            quantised model; nothing is written then.
        OSError: If `output` cannot be written to.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "networks can be exported only with the Keras backend tensorflow, which reads the same "
            f"files: set KERAS_BACKEND=tensorflow; got {keras.backend.backend()}"
        )
    check_one_of("format", format, FORMATS)
    check_one_of("quantization", quantization, QUANTIZATIONS)
    if quantization != "none" and format != "tflite":
        raise ValueError(f"quantization is for the format tflite; got {quantization} for {format}")
    backgrounds = {embedder.preprocessing.background for embedder in embedders}
    if len(backgrounds) > 1:
        raise ValueError(
            f"the networks must have the same background; got {', '.join(sorted(backgrounds))}"
        )
    images = list(images) or _read_photographs()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, _FILES[format])
        embed_with = _WRITERS[format](embedders, path, quantization)
        difference = _compare(embedders, embed_with, images)
        tolerance = _TOLERANCE if quantization == "none" else _QUANTIZED_TOLERANCE
        # NaN is not within the tolerance either.
        if not difference <= tolerance:
            raise ValueError(
                f"the {format} model was not written: its embeddings differ from those of Keras by "
                f"up to {difference:.2g}, and {tolerance:g} is allowed"
            )
        example = _place(pathlib.Path(folder), epath.Path(output), format, embedders)
    return ExportedModel(
        epath.Path(output) / _FILES[format], example, len(images), float(difference)
    )


def _embed(embedders, crop):
    """Embeds the results of `crop` for the `Preprocessing` of each network."""
    parts = [embedder.embed_crops(crop(embedder.preprocessing)) for embedder in embedders]
    return {"embeddings": _concatenate_parts(parts)}


def _concatenate_parts(parts):
    return parts[0] if len(parts) == 1 else lipschitz_normalize(tf.concat(parts, axis=1))


def _write_saved_model(embedders, path, quantization):
    del quantization

    @tf.function(input_signature=[_ENCODED])
    def embed_encoded(images):
        def crop(preprocessing):
            size = preprocessing.image_size
            return tf.map_fn(
                lambda contents: evaluation_image(contents, preprocessing),
                images,
                fn_output_signature=tf.TensorSpec((size, size, preprocessing.channels), tf.uint8),
            )

        return _embed(embedders, crop)

    @tf.function(input_signature=[_PIXELS])
    def embed_pixels(images):
        return _embed(embedders, lambda preprocessing: crop_center(images, preprocessing))

    signatures = {"serving_default": embed_encoded, "pixels": embed_pixels}
    model = tf.Module()
    # Not the networks themselves, for which Keras would save its own functions.
    model.weights = _list_weights(embedders)
    tf.saved_model.save(model, os.fspath(path), signatures=signatures)
    loaded = tf.saved_model.load(os.fspath(path)).signatures

    def embed(contents, pixels):
        return [
            loaded["serving_default"](tf.constant([contents]))["embeddings"],
            loaded["pixels"](tf.constant(pixels))["embeddings"],
        ]

    return embed


def _list_weights(embedders):
    return [variable.value for embedder in embedders for variable in embedder.network.variables]


def _trace_portably(embedders):
    @tf.function(input_signature=[_PIXELS])
    def embed(images):
        return _embed(embedders, lambda preprocessing: crop_center_portably(images, preprocessing))

    return embed.get_concrete_function()


def _write_onnx(embedders, path, quantization):
    del quantization
    try:
        import onnxruntime
    except ImportError as error:
        raise _missing_package_error("onnxruntime") from error
    write_onnx(_trace_portably(embedders), path, "images", "embeddings")
    session = onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    return lambda contents, pixels: session.run(None, {taken.name: pixels})


def _write_tflite(embedders, path, quantization):
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise _missing_package_error("ai-edge-litert") from error
    # Not exported by TensorFlow.
    from tensorflow.lite.python.convert_phase import ConverterError

    function, model = _trace_portably(embedders), tf.Module()
    model.weights = _list_weights(embedders)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], model)
    if quantization != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantization == "float16":
        converter.target_spec.supported_types = [tf.float16]
    try:
        path.write_bytes(converter.convert())
    except ConverterError as error:
        raise ValueError(
            "TFLite lacks an operation that the network needs; choose the format saved_model: "
            f"{str(error).splitlines()[0]}"
        ) from error
    interpreter = Interpreter(os.fspath(path))
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()

    def embed(contents, pixels):
        interpreter.resize_tensor_input(taken["index"], pixels.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(taken["index"], pixels)
        interpreter.invoke()
        return [interpreter.get_tensor(given["index"])]

    return embed


_WRITERS = {"saved_model": _write_saved_model, "onnx": _write_onnx, "tflite": _write_tflite}


def _missing_package_error(package):
    return ValueError(f'the format requires {package}: pip install "ccp_dml[export]"')


def _read_photographs():
    """Reads encoded photographs of sizes that no network takes."""
    folder = importlib.resources.files("sklearn.datasets.images")
    return [(folder / name).read_bytes() for name in ("china.jpg", "flower.jpg")]


def _compare(embedders, embed_with, images):
    """Computes the largest difference from Keras over encoded images and their pixels."""
    differences = []
    for contents in images:
        pixels = decode_image(contents, embedders[0].preprocessing.background_color).numpy()
        found = embed_with(contents, pixels[np.newaxis])
        # A model for pixels alone has one result.
        expected = [
            _concatenate_parts([embedder.embed([image]) for embedder in embedders])
            for image in (contents, pixels)[-len(found) :]
        ]
        differences += [
            np.abs(np.subtract(one, other)).max()
            for one, other in zip(found, expected, strict=True)
        ]
    return max(differences)


def _place(made, output, format, embedders):
    """Moves the model to its place, with a program that shows its use."""
    background = embedders[0].preprocessing.background_color
    example = importlib.resources.files("ccp_dml.inference") / "examples" / f"{format}.py"
    (made / f"{format}_example.py").write_bytes(example.read_bytes())
    if format != "saved_model":
        (made / f"{format}_input.json").write_text(json.dumps({"background": background}))
    if (output / "saved_model").exists() and format == "saved_model":
        (output / "saved_model").rmtree()
    for path in sorted(made.rglob("*")):
        if path.is_file():
            with atomic_write(output / path.relative_to(made)) as unfinished:
                unfinished.write_bytes(path.read_bytes())
    return output / f"{format}_example.py"
