import keras
import numpy as np
import pytest
from scipy.optimize import brentq, minimize

from ccp_dml.layers import GeneralizedSumPooling
from tests.automatic_gradients import value_and_gradients

pytestmark = pytest.mark.both_backends
# JAX compiles operations anew for each shape, although they solve the same problem.
ON_JAX_WHERE_SLOW = pytest.mark.both_backends(slow=True)


def normalized(vectors):
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1)


def transport(features, prototypes, transported, sharpness):
    """The plan that solves the paper's problem, found by a general solver: `(1 + m, n)`."""
    n, m = len(features), len(prototypes)
    offsets = normalized(prototypes)[:, None] - normalized(features)
    costs = np.concatenate([np.zeros((1, n)), np.linalg.norm(offsets, axis=-1)])

    def objective(flat):
        plan = flat.reshape(1 + m, n)
        return np.sum(costs * plan) + np.sum(plan * np.log(plan)) / sharpness

    constraints = [
        {"type": "eq", "fun": lambda flat: flat.reshape(1 + m, n).sum(0) - 1 / n},
        {"type": "eq", "fun": lambda flat: flat.reshape(1 + m, n)[1:].sum() - transported},
    ]
    start = np.concatenate(
        [np.full((1, n), (1 - transported) / n)] + [np.full((1, n), transported / n / m)] * m
    )
    found = minimize(
        objective,
        start.ravel(),
        method="SLSQP",
        bounds=[(1e-9, 1)] * start.size,
        constraints=constraints,
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    assert found.success
    return found.x.reshape(1 + m, n)


def built(layer, shape, prototypes=None):
    layer.build(shape)
    if prototypes is not None:
        layer.set_weights([prototypes])
    return layer


@pytest.mark.parametrize(("transported", "sharpness"), [(0.3, 5.0), (0.7, 2.0), (0.05, 10.0)])
def test_the_weights_solve_the_transport_problem(transported, sharpness, generator):
    features = generator.standard_normal((2, 5, 3))
    prototypes = generator.standard_normal((2, 3))
    layer = GeneralizedSumPooling(2, transported, sharpness, dtype="float64")
    pooled = built(layer, features.shape, prototypes)(features)
    for found, each in zip(np.asarray(pooled), features, strict=True):
        plan = transport(each, prototypes, transported, sharpness)
        expected = plan[1:].sum(0) @ each / transported
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@ON_JAX_WHERE_SLOW
def test_maps_and_tokens_are_pooled_alike(generator):
    features = generator.standard_normal((2, 3, 4, 5)).astype("float32")
    layer = built(GeneralizedSumPooling(4), features.shape)
    np.testing.assert_allclose(layer(features), layer(features.reshape(2, 12, 5)), rtol=1e-6)
    assert layer.compute_output_shape(features.shape) == (2, 5)


@ON_JAX_WHERE_SLOW
def test_equal_costs_give_the_average(generator):
    features = generator.standard_normal((3, 6, 4)).astype("float32")
    zeros = built(GeneralizedSumPooling(3), features.shape, np.zeros((3, 4)))
    # After normalisation, all features are equally far from the origin: on the unit sphere.
    long = 10 * features
    np.testing.assert_allclose(zeros(long), long.mean(1), rtol=1e-4, atol=1e-4)
    nearly_all = built(GeneralizedSumPooling(3, transported=0.9999), features.shape)
    np.testing.assert_allclose(nearly_all(features), features.mean(1), rtol=1e-2, atol=2e-3)


@ON_JAX_WHERE_SLOW
def test_features_far_from_the_prototypes_are_left_out():
    features = np.repeat(np.eye(4, dtype="float32"), 2, axis=0)[None]
    prototypes = np.eye(4, dtype="float32")[:1]
    layer = GeneralizedSumPooling(1, transported=0.25, sharpness=100.0)
    pooled = built(layer, features.shape, prototypes)(features)
    np.testing.assert_allclose(pooled, [[1, 0, 0, 0]], atol=1e-4)


def pool_in_float64(prototypes, features):
    """What the layer computes for one image, with the number s found by SciPy."""
    offsets = normalized(prototypes) - normalized(features)[:, None]
    attractions = np.log(np.exp(-5 * np.linalg.norm(offsets, axis=-1)).sum(-1))

    def parts(shift):
        return 1 / (1 + np.exp(-shift - attractions))

    shift = brentq(lambda shift: parts(shift).mean() - 0.3, -30, 30, xtol=1e-14)
    return parts(shift) @ features / (0.3 * len(features))


def test_gradients_are_those_of_finite_differences(generator):
    features = generator.standard_normal((4, 3))
    prototypes = generator.standard_normal((2, 3))
    layer = built(GeneralizedSumPooling(2), (1, 4, 3))
    weights = generator.standard_normal(3).astype("float32")

    def total(prototypes, features):
        pooled = layer.stateless_call([prototypes], [], features[None])[0]
        return keras.ops.sum(pooled[0] * weights)

    inputs = [prototypes, features]
    _, gradients = value_and_gradients(total, *[each.astype("float32") for each in inputs])
    step = 1e-5
    for position, values in enumerate(inputs):
        for index in np.ndindex(values.shape):
            offset = np.zeros_like(values)
            offset[index] = step
            above, below = (
                [*inputs[:position], each, *inputs[position + 1 :]]
                for each in (values + offset, values - offset)
            )
            expected = (pool_in_float64(*above) - pool_in_float64(*below)) @ weights / (2 * step)
            found = np.asarray(gradients[position])[index]
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "scale",
    [
        0.0,
        pytest.param(1e-20, marks=ON_JAX_WHERE_SLOW),
        pytest.param(1.0, marks=ON_JAX_WHERE_SLOW),
        1e10,
    ],
)
def test_values_and_gradients_are_finite(scale, generator):
    features = (scale * generator.standard_normal((2, 4, 3))).astype("float32")
    layer = built(GeneralizedSumPooling(2, sharpness=50.0), features.shape)
    # One prototype coincides with a feature.
    prototypes = np.stack([features[0, 0], np.ones(3, "float32")])

    def total(prototypes, features):
        return keras.ops.sum(layer.stateless_call([prototypes], [], features)[0])

    value, gradients = value_and_gradients(total, prototypes, features)
    for array in (value, *gradients):
        assert np.all(np.isfinite(array))


def test_config_and_arguments():
    config = GeneralizedSumPooling(3, 0.4, 2.0).get_config()
    copy = GeneralizedSumPooling.from_config(config)
    assert (copy.num_prototypes, copy.transported, copy.sharpness) == (3, 0.4, 2.0)
    for arguments, message in [
        ({"num_prototypes": 0}, "num_prototypes must be a whole number of at least 1; got 0"),
        ({"transported": 1.0}, "transported must be between 0 and 1; got 1.0"),
        ({"sharpness": 0.0}, "sharpness must be above 0; got 0.0"),
    ]:
        with pytest.raises(ValueError, match=message):
            GeneralizedSumPooling(**arguments)
