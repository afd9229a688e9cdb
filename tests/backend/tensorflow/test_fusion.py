import numpy as np
import pytest
import tensorflow as tf

from ccp_dml.backend import compute_with_gradients, fuse_if_any_large, fuse_if_large
from ccp_dml.backend.size import is_large


@pytest.mark.parametrize(
    ("shape", "expected"), [((2**10, 2**10), True), ((2**10, 1000), False), ((None, 2**20), False)]
)
def test_large_is_known_and_beyond_the_caches(shape, expected):
    assert is_large(shape) == expected


def compiled_calls(function, *arguments):
    """The number of XLA-compiled functions that a function calls."""
    graph = tf.function(function).get_concrete_function(*arguments).graph
    called = {op.get_attr("f").name for op in graph.get_operations() if "f" in op.node_def.attr}
    definitions = graph.as_graph_def().library.function
    return sum(
        each.attr["_XlaMustCompile"].b for each in definitions if each.signature.name in called
    )


@pytest.mark.parametrize(("rows", "expected"), [(4, 0), (2**20, 1)])
def test_only_large_tensors_are_compiled_for(rows, expected):
    @fuse_if_large(lambda vectors: vectors.shape)
    def double(vectors):
        return 2.0 * vectors

    vectors = tf.ones((rows, 1))
    assert compiled_calls(double, vectors) == expected
    np.testing.assert_array_equal(double(vectors), 2.0)


@pytest.mark.parametrize(("rows", "expected"), [(4, 0), (2**20, 1)])
def test_variables_are_updated_in_what_is_compiled(rows, expected):
    table, count = tf.Variable(tf.zeros((rows, 1))), tf.Variable(0)

    def update(first, second):
        table.assign_add(first)
        count.assign_add(tf.cast(second, tf.int32))

    tensors = tf.ones((rows, 1)), tf.constant(3.0)
    assert compiled_calls(fuse_if_any_large(update), *tensors) == expected
    tf.function(fuse_if_any_large(update))(*tensors)
    np.testing.assert_array_equal(table, 1.0)
    assert int(count) == 3


def test_sparse_tensors_are_not_compiled_for():
    rows = tf.IndexedSlices(tf.ones((2, 2**20)), tf.constant([0, 5]))

    def double(rows, others):
        return 2.0 * rows.values, 2.0 * others

    others = tf.ones((2**20, 1))
    assert compiled_calls(fuse_if_any_large(double), rows, others) == 0


@pytest.mark.parametrize(("rows", "expected"), [(4, 0), (2**20, 1)])
def test_gradients_come_with_the_value(rows, expected, generator):
    vectors, weights, constants = (
        tf.constant(generator.standard_normal(rows), tf.float32) for _ in range(3)
    )

    def function(vectors, options, constants):
        return tf.reduce_mean(tf.sin(vectors) * options["weights"] * constants)

    def fused(*arguments):
        return compute_with_gradients(function, arguments[:2], arguments[2:])

    def value_and_gradients(function):
        with tf.GradientTape() as tape:
            tape.watch([vectors, weights, constants])
            value = 3.0 * function(vectors, {"weights": weights}, constants)
        return value, *tape.gradient(value, [vectors, weights])

    assert compiled_calls(fused, vectors, {"weights": weights}, constants) == expected
    ours = tf.function(value_and_gradients)(fused)
    for our, plain in zip(ours, value_and_gradients(function), strict=True):
        np.testing.assert_allclose(our, plain, rtol=1e-4, atol=1e-9)


def test_what_does_not_matter_has_a_gradient_of_zero():
    used, unused = tf.constant(3.0), tf.ones(2**20)

    @tf.function
    def value_and_gradient():
        with tf.GradientTape() as tape:
            tape.watch(unused)
            value = compute_with_gradients(lambda used, _: used**2, [used, unused])
        return value, tape.gradient(value, unused)

    value, gradient = value_and_gradient()
    assert float(value) == 9.0
    np.testing.assert_array_equal(gradient, 0.0)
