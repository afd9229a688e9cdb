"""Conversion of a TensorFlow function to ONNX."""

import contextlib
import logging
import os

import numpy as np
import tensorflow as tf

from ccp_dml.checks import list_first

# From the end of 2022: supported by current runtimes.
_OPSET = 18


def write_onnx(
    function: tf.types.experimental.ConcreteFunction,
    path: str | os.PathLike,
    input_name: str,
    output_name: str,
):
    """Writes a function with its weights as an ONNX model.

    Args:
        function: Function from one tensor to one tensor.
        path: The file.
        input_name: Name of the input tensor of the model.
        output_name: Name of its output tensor.

    Raises:
        ValueError: If tf2onnx is not installed, or ONNX lacks an operation of the function, which
            the message names.
    """
    try:
        import onnx
        import tf2onnx
    except ImportError as error:
        raise ValueError('format onnx requires tf2onnx: pip install "ccp_dml[export]"') from error
    # Unlike `tf2onnx.convert.from_function` this also turns tensors of a layer that are not
    # variables into constants, such as those of `keras.layers.Normalization`.
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    with _silence("tf2onnx"), _silence("tensorflow"):
        frozen = convert_variables_to_constants_v2(
            function, lower_control_flow=False, aggressive_inlining=True
        )
        model, _ = tf2onnx.convert.from_graph_def(
            frozen.graph.as_graph_def(),
            input_names=[tensor.name for tensor in frozen.inputs],
            output_names=[tensor.name for tensor in frozen.outputs],
            opset=_OPSET,
            custom_op_handlers={"Erfc": (_convert_erfc, [])},
        )
    unknown = {node.op_type for node in model.graph.node if not onnx.defs.has(node.op_type)}
    if unknown:
        raise ValueError(
            f"ONNX has no {list_first(sorted(unknown), 3)}, which the network needs: choose the "
            "format saved_model"
        )
    _rename_tensor(model.graph, model.graph.input[0], input_name)
    _rename_tensor(model.graph, model.graph.output[0], output_name)
    onnx.save(model, os.fspath(path))


def _rename_tensor(graph, tensor, name):
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [name if each == tensor.name else each for each in names]
    tensor.name = name


def _convert_erfc(context, node, name, _):
    """Replaces the complementary error function, which GELU uses, by 1 − erf(x)."""
    (output,) = node.output
    consumers = context.find_output_consumers(output)
    node.type = "Erf"
    one = context.make_const(f"{name}_one", np.array(1, "float32"))
    difference = context.make_node(
        "Sub",
        [one.output[0], output],
        dtypes=[context.get_dtype(output)],
        shapes=[context.get_shape(output)],
    )
    context.replace_all_inputs(output, difference.output[0], ops=consumers)


@contextlib.contextmanager
def _silence(name):
    """Hides the warnings of a library, many of which concern things that work."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
