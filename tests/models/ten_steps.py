"""Ten steps of every method, on which Keras's backends have to agree.

KERAS_BACKEND=jax python -m tests.models.ten_steps OUTPUT CASE…
"""

import argparse

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from ccp_dml import backend
from ccp_dml.callbacks import ReduceLROnPlateau
from ccp_dml.experiment.methods import make_model
from ccp_dml.experiment.settings import METHODS
from ccp_dml.models import EmbeddingModel
from ccp_dml.optimizers import LazyAdam
from tests.cases import AROUND_LOSSES, OF_LOSSES, settings_of

STEPS, BATCH_SIZE, CLASSES = 10, 15, 12

# By name: the method, the case, and changes to the settings of the case.
OF_METHODS = {method: (method, "contrastive", {}) for method in METHODS}
LOSSES = {name: ("ccp", name, {}) for name in {**OF_LOSSES, **AROUND_LOSSES}}
VARIANTS = {
    "warm-up": ("ccp", "contrastive", {}),
    "second phase": ("ccp+dvml", "contrastive", {}),
    "sampled classes with SGD": ("ccp", "multi_similarity", {"sampled_classes": 2}),
    "sampled classes with LazyAdam": ("ccp+xbm", "multi_similarity", {"sampled_classes": 2}),
    "sampled classes of dvml": ("ccp+dvml", "contrastive", {"sampled_classes": 2}),
    "batch normalisation": ("ccp", "contrastive", {}),
    "frozen batch normalisation": ("ccp", "contrastive", {}),
    "held backbone": ("ccp", "contrastive", {}),
    # With all methods together: the case for a quick test.
    "frozen batch normalisation and sampled classes with LazyAdam": (
        "ccp+xbm+dvml",
        "multi_similarity",
        {"sampled_classes": 2},
    ),
    "multipliers": (
        "ccp",
        "margin",
        {"learning_rate_multipliers": {"proxies": 5.0, "loss_weights": 2.0}},
    ),
    "clipping": ("ccp", "contrastive", {"clip_norm": 0.1, "clip_value": 0.02}),
    "plateau": ("plain", "contrastive", {}),
    "two steps per execution": (
        "ccp+xbm+dvml",
        "contrastive",
        {"steps_per_execution": 2, "steps_per_validation": 10},
    ),
}
# Outside training, their seed depends on all bits of the embeddings, and thus on rounding.
RANDOM_EVALUATION = ("proxy_synthesis", "distance_weighted")
CASES = {**OF_METHODS, **LOSSES, **VARIANTS}


def train(name):
    """The weights before and after ten steps, and the losses, as arrays by name."""
    method, case, changes = CASES[name]
    settings = settings_of(case, **{"weight_decay": 1e-3, **changes})
    model = make_model(method, settings, make_network(name), CLASSES)
    optimizer = keras.optimizers.SGD(0.05)
    if name.endswith("LazyAdam"):
        # Epsilon is so large that the sign of a gradient near zero does not decide the step.
        optimizer = LazyAdam(0.01, epsilon=1e-2)
    model.compile(
        optimizer,
        loss=model.loss,
        jit_compile=settings.jit_compile,
        steps_per_execution=settings.steps_per_execution,
    )
    start(model, name)
    before = [weight.numpy() for weight in model.weights]
    history = model.fit(
        make_batches(),
        epochs=STEPS // 2,
        steps_per_epoch=2,
        shuffle=False,
        verbose=0,
        callbacks=[ReduceLROnPlateau("loss", min_delta=10.0, patience=2)]
        if name == "plateau"
        else [],
    ).history
    results = {
        **{f"before/{number}": array for number, array in enumerate(before)},
        **{f"after/{number}": each.numpy() for number, each in enumerate(model.weights)},
        **{f"history/{key}": np.array(values, "float64") for key, values in history.items()},
        "predictions": model.predict(one_batch()[0], verbose=0),
    }
    if name not in RANDOM_EVALUATION:
        loss = model.evaluate(*one_batch(), batch_size=BATCH_SIZE, verbose=0)
        results["evaluation"] = np.array(loss)
    return results


def make_network(name):
    layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(8, 3, strides=2, name="convolution")]
    if "batch normalisation" in name:
        layers.append(keras.layers.BatchNormalization(name="batch_normalization"))
    # Smooth, so that rounding does not decide which units are active.
    layers.append(keras.layers.Activation("softplus"))
    return EmbeddingModel(
        keras.Sequential(layers),
        embedding_size=8,
        freeze_batch_norm="frozen batch normalisation" in name,
    )


def start(model, name):
    """Sets the weights, to the same values on every backend, and the flags."""
    generator = np.random.default_rng(0)
    for weight in model.trainable_variables:
        # Moves vectors from their initial values: those that a loss learns are not zero.
        size = 0.3 / np.sqrt(weight.shape[0]) if len(weight.shape) > 1 else 0.05
        scaled = size * generator.standard_normal(weight.shape)
        base = weight.numpy() if len(weight.shape) == 1 else 0.0
        weight.assign((base + scaled).astype("float32"))
    if hasattr(model, "reference_point"):
        model.proximal_weight.assign(0.5)
        model.set_reference_point([0.9 * each.numpy() for each in model.proximal_variables])
    if name == "warm-up":
        model.warming_up.assign(True)
    if name == "second phase":
        model.second_phase.assign(True)
    if name == "held backbone":
        model.backbone_frozen.assign(True)


def one_batch():
    generator = np.random.default_rng(1)
    labels = np.arange(BATCH_SIZE) % 5
    images = generator.uniform(size=(BATCH_SIZE, 8, 8, 1)) + 0.2 * labels[:, None, None, None]
    return images.astype("float32"), labels


def make_batches():
    generator = np.random.default_rng(2)
    labels = np.stack(
        [np.repeat(generator.permutation(CLASSES)[:5], 3) for _ in range(STEPS)]
    ).reshape(-1)
    prototypes = generator.standard_normal((CLASSES, 8, 8, 1))
    images = prototypes[labels] + generator.standard_normal((len(labels), 8, 8, 1))
    data = tf.data.Dataset.from_tensor_slices((images.astype("float32"), labels))
    return data.batch(BATCH_SIZE, drop_remainder=True)


def share_random_numbers():
    """Makes the backends draw the same numbers, which they otherwise draw in different ways."""
    backend.integers = integers
    backend.uniform = uniform
    backend.normal = normal


def integers(shape, seeds):
    """Mixes the bits of counters, as `splitmix` does; int32 and not negative."""
    # Of zeros, because the shape may be a tensor on TensorFlow and must not become one on JAX.
    count = ops.size(ops.zeros(shape))
    bits = ops.reshape(ops.arange(count, dtype="int32"), shape)
    for seed in seeds:
        bits = ops.bitwise_xor(bits, ops.cast(seed, "int32")) * -1640531535
        bits = ops.bitwise_xor(bits, ops.right_shift(bits, 15)) * 2146121005
        bits = ops.bitwise_xor(bits, ops.right_shift(bits, 13))
    return ops.bitwise_and(bits, 0x7FFFFFFF)


def uniform(shape, seeds):
    # 24 bits, which float32 holds exactly.
    return ops.cast(ops.right_shift(integers(shape, seeds), 7), "float32") * 2.0**-24


def normal(shape, seeds):
    """Normal numbers by the Box–Muller transform."""
    first, second = (uniform(shape, (*seeds, which)) for which in (1, 2))
    return ops.sqrt(-2.0 * ops.log(1.0 - first)) * ops.cos(2.0 * np.pi * second)


def train_all(names):
    share_random_numbers()
    return {f"{name}/{key}": array for name in names for key, array in train(name).items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("output")
    parser.add_argument("names", nargs="+")
    arguments = parser.parse_args()
    np.savez(arguments.output, **train_all(arguments.names))


if __name__ == "__main__":
    main()
