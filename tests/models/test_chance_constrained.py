import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from ccp_dml import losses
from ccp_dml.models import ChanceConstrainedModel
from ccp_dml.projections import greedy_k_center
from tests.models.small_models import convolutional_model, images_and_labels, linear_model

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


@pytest.mark.both_backends
@pytest.mark.parametrize(
    "jit_compile",
    # Without compiling, JAX runs a step operation by operation.
    [pytest.param(False, marks=pytest.mark.both_backends(slow=True)), True],
)
def test_golden_trajectory(golden, jit_compile):
    """Two rounds of a linear embedding: the kernel and the proxies after each of 24 steps."""
    settings = json.loads((GOLDEN / "projection_trajectory.json").read_text())
    arrays = golden("projection_trajectory.npz")
    embedding_model = linear_model(arrays["initial_kernel"])
    num_classes, k = settings["num_classes"], settings["proxies_per_class"]
    model = ChanceConstrainedModel(
        embedding_model,
        num_classes,
        k,
        proxy_loss_weight=settings["proxy_loss_weight"],
        batch_loss_weight=settings["batch_loss_weight"],
        weight_decay=settings["weight_decay"],
        clip_norm=settings["clip_norm"],
        clip_value=settings["clip_value"],
    )
    adam = {key: settings[key] for key in ("learning_rate", "beta_1", "beta_2", "epsilon")}
    loss = losses.get(
        settings["loss"],
        positive_margin=settings["params"]["pos_margin"],
        negative_margin=settings["params"]["neg_margin"],
    )
    model.compile(keras.optimizers.Adam(**adam), loss=loss, jit_compile=jit_compile)
    model.proxies.vectors.assign(arrays["initial_proxies"])
    total = settings["first_problem_steps"] + settings["second_problem_steps"]
    for step in range(total):
        if step == settings["first_problem_steps"]:
            model.set_reference_point(embedding_model.trainable_variables)
            model.proximal_weight.assign(settings["regularization"])
            inputs = arrays["pool_inputs"]
            pool = embedding_model.predict(inputs.reshape(-1, inputs.shape[-1]), verbose=0)
            pool = pool.reshape(settings["pool_size"], num_classes, -1).swapaxes(0, 1)
            taken = greedy_k_center(pool, model.proxies.by_class(), k)
            model.proxies.assign_by_class(np.take_along_axis(pool, taken[:, :, None], axis=1))
        history = model.fit(
            arrays["inputs"][step], arrays["labels"][step], batch_size=12, verbose=0
        ).history
        assert history["loss"][0] == pytest.approx(arrays["losses"][step], rel=1e-4)
        kernel = embedding_model.get_weights()[0]
        np.testing.assert_allclose(kernel, arrays["kernels"][step], atol=5e-5)
        np.testing.assert_allclose(model.proxies.vectors, arrays["proxies"][step], atol=5e-5)


def test_the_proximal_term_holds_the_network_and_not_the_proxies():
    model = convolutional_model()
    model.weight_decay = 0.0
    model.clip_norm = model.clip_value = None
    moved = [variable.numpy() + 1 for variable in model.embedding_model.trainable_variables]
    model.set_reference_point(moved)
    model.proximal_weight.assign(0.5)
    variables = model.trainable_variables
    zeros = [tf.zeros(variable.shape) for variable in variables]
    for variable, gradient in zip(
        variables, model.transform_gradients(zeros, variables), strict=True
    ):
        expected = 0.0 if variable is model.proxies.vectors else -0.5
        np.testing.assert_allclose(gradient, np.full(variable.shape, expected), atol=1e-6)
    images, labels = images_and_labels(10)
    count = sum(weight.size for weight in moved)
    history = model.fit(images, labels, batch_size=10, verbose=0).history
    assert history["proximal_term"][0] == pytest.approx(0.25 * count, rel=1e-4)


def test_the_loss_is_the_weighted_sum_of_its_parts():
    images, labels = images_and_labels()
    model = convolutional_model()
    history = model.fit(images, labels, batch_size=40, verbose=0).history
    assert history["loss"][0] == pytest.approx(
        1.0 * history["proxy_loss"][0] + 0.1 * history["batch_loss"][0], rel=1e-6
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight_decay": -1}, "weight_decay must be at least 0; got -1"),
        ({"clip_norm": 0}, "clip_norm must be above 0 or None; got 0"),
        ({"batch_loss_weight": -0.1}, "batch_loss_weight must be at least 0; got -0.1"),
        ({"num_classes": 0}, "num_classes must be a whole number of at least 1; got 0"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, message):
    embedding_model = linear_model(np.ones((3, 2), "float32"))
    with pytest.raises(ValueError, match=message):
        ChanceConstrainedModel(embedding_model, **{"num_classes": 2, **arguments})
