import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from ccp_dml import losses
from ccp_dml.losses.row_sums import normalize_rows, reduce_rows, sum_rows
from tests import naive
from tests.losses.pair_cases import TOLERANCE, against, finite_differences, values_and_gradients


@pytest.mark.parametrize("size", [1, 7, 8, 9, 128, 1031])
def test_rows_of_any_length_are_reduced(size, generator):
    terms = generator.standard_normal((5, size))
    np.testing.assert_allclose(sum_rows(terms), terms.sum(1, keepdims=True), rtol=TOLERANCE)
    smallest = reduce_rows(ops.convert_to_tensor(terms), ops.minimum, ops.min)
    np.testing.assert_array_equal(smallest, terms.min(1, keepdims=True))


def test_rows_are_normalized_as_by_definition_and_so_is_the_gradient(generator):
    vectors = np.concatenate([np.zeros((1, 9)), generator.standard_normal((6, 9))])
    vectors[1] *= 0.1 / np.linalg.norm(vectors[1])
    weights = generator.standard_normal(vectors.shape)
    values = tf.constant(vectors)
    with tf.GradientTape() as tape:
        tape.watch(values)
        normalized = normalize_rows(values)
    np.testing.assert_allclose(normalized, naive.normalize(vectors), rtol=1e-14)
    numeric = finite_differences(lambda v: np.sum(weights * naive.normalize(v)), vectors)
    gradient = tape.gradient(normalized, values, output_gradients=tf.constant(weights))
    np.testing.assert_allclose(gradient, numeric, atol=1e-8)


@pytest.mark.parametrize("name", ["contrastive", "triplet"])
def test_losses_against_many_references_are_those_of_float64(name, generator):
    r, d = 33_000, 32  # what counts as large, with vectors and with distances
    labels, reference_labels = generator.integers(0, 9_000, 32), np.arange(r) % 9_000
    references = generator.standard_normal((r, d))
    embeddings = references[labels] + 0.1 * generator.standard_normal((32, d))
    embeddings[0] = references[labels[0]]  # at distance 0
    single, double = (
        values_and_gradients(
            losses.get(name),
            labels,
            embeddings.astype(dtype),
            **against(references.astype(dtype), reference_labels),
        )
        for dtype in ("float32", "float64")
    )
    assert single[0] == pytest.approx(double[0], rel=1e-6)
    for gradient, expected in zip(single[1], double[1], strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-5 * abs(expected).max())
