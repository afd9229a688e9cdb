"""The private parts of Keras that the optimizers use still exist, and do what they did."""

import inspect

import keras
import numpy as np
import pytest
from keras import ops

from ccp_dml.optimizers.keras_internals import OptimizerWrapper

STEPS = 5
OPTIONS = {
    "none": {},
    "clipping": {"global_clipnorm": 0.1},
    "weight decay": {"weight_decay": 0.1},
    "moving average": {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2},
    "accumulation": {"gradient_accumulation_steps": 2},
}


def changed(name, advice):
    return (
        f"Keras {keras.version()} no longer has {name}, which "
        f"ccp_dml/optimizers/keras_internals.py needs: {advice}. Until then, require an earlier "
        "version of Keras in pyproject.toml."
    )


class Plain(OptimizerWrapper):
    """Takes the steps of its inner optimizer as they are."""

    def update_step(self, gradient, variable, learning_rate):
        if self.weight_decay and self.decays(variable):
            rate = ops.cast(learning_rate, variable.dtype)
            self.assign_sub(variable, variable * self.weight_decay * rate)
        self.inner_optimizer.update_step(gradient, variable, learning_rate)


def make_optimizer(name, options):
    return getattr(keras.optimizers, name)(0.1, **OPTIONS[options])


def train(optimizer, gradients):
    variables = [keras.Variable([1.0, -2.0], name="a"), keras.Variable([[3.0]], name="b")]
    optimizer.build(variables)
    for first, second in gradients:
        optimizer.apply([ops.convert_to_tensor(first), ops.convert_to_tensor(second)], variables)
    optimizer.finalize_variable_values(variables)
    return [each.numpy() for each in [*variables, *optimizer.variables]]


@pytest.mark.both_backends
@pytest.mark.parametrize(
    ("name", "options"),
    [
        *[(name, "none") for name in ("SGD", "Adam", "RMSprop", "Nadam", "Lion", "Adagrad")],
        *[("Adam", options) for options in OPTIONS if options != "none"],
    ],
)
def test_a_wrapper_takes_the_steps_of_what_it_wraps(name, options, generator):
    gradients = [
        (generator.standard_normal(2, "float32"), generator.standard_normal((1, 1), "float32"))
        for _ in range(STEPS)
    ]
    advice = "compare the methods of OptimizerWrapper with those of keras.optimizers.Optimizer"
    message = changed("what happens around the steps of its optimizers", advice)
    expected = train(make_optimizer(name, options), gradients)
    found = train(Plain(make_optimizer(name, options)), gradients)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, err_msg=message)


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("update_step", ["self", "gradient", "variable", "learning_rate"]),
        ("_backend_update_step", ["self", "grads", "trainable_variables", "learning_rate"]),
        ("_apply_weight_decay", ["self", "variables"]),
        ("_use_weight_decay", ["self", "variable"]),
        ("_get_variable_index", ["self", "variable"]),
    ],
)
def test_the_methods_that_are_needed_are_there(method, parameters):
    found = getattr(keras.optimizers.Optimizer, method, None)
    name = f"Optimizer.{method} of {parameters}"
    advice = "find in its new optimizers where a variable takes its step"
    assert found is not None, changed(name, advice)
    assert list(inspect.signature(found).parameters) == parameters, changed(name, advice)


def test_callbacks_of_moving_averages_find_them():
    optimizer = Plain(make_optimizer("Adam", "moving average"))
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile(optimizer, "mse")
    kernel = model.trainable_variables[0]
    seen = []

    class Look(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            seen.append(kernel.numpy())

    swap = keras.callbacks.SwapEMAWeights()
    data = np.ones((4, 2)), np.ones((4, 1))
    average = optimizer.inner_optimizer
    model.fit(*data, batch_size=4, epochs=1, verbose=0)
    averages = next(each for each in average.variables if each.name.endswith("kernel_average"))
    expected = averages.numpy()
    kernel.assign(kernel + 1.0)
    model.evaluate(*data, verbose=0, callbacks=[swap, Look()])
    np.testing.assert_allclose(seen[0], expected, atol=1e-6)
