"""What the methods add to the time of a training step, with BN-Inception as in the paper.

    python experiments/benchmarks/methods.py
    python experiments/benchmarks/methods.py --methods=ccp_100x8,xbm_1400 --rounds=30
    python experiments/benchmarks/methods.py --backbone=small_convnet --image_size=32 \
      --methods=sop_contrastive,sop_cosine_contrastive,sop_multi_similarity,sop_triplet

Every step is as `fit` runs it: compiled, 8 classes × 4 samples, 128-d embeddings, frozen batch
normalisation, Adam with weight decay. The steps of all methods take turns in one process, with one
of the plain loss before and after each, and a method's time is compared with the mean of these two:
if the speed of the machine drifts, both are affected alike. While other programs run, processor
time, of all threads together, is more reliable than wall-clock time.

The cross-batch memory is timed when it is full. It is compared with the bare matrix products that
it adds: of the batch with the ring in float32, and of a gradient of that size with the ring, back
to the batch. The loss itself inevitably needs more: it normalises the ring and passes over batch ×
ring distances, forward and back.

A step against SOP's 33,952 proxies, with a small network that does not hide their cost, is compared
with the work that it cannot avoid: the matrix products of the batch with the proxies, in float32,
forward and back to both, and Keras's Adam over the proxies.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from tqdm import tqdm

from ccp_dml import losses
from ccp_dml.layers import CrossBatchMemory
from ccp_dml.models import (
    ChanceConstrainedModel,
    EmbeddingModel,
    MetricLearningModel,
    ProxyModel,
    VariationalModel,
    get_backbone,
)

_CLASSES, _SAMPLES, _SIZE = 8, 4, 128
_BATCH = _CLASSES * _SAMPLES


class Method(NamedTuple):
    """A method to time.

    Attributes:
        model: Function from an embedding network, and options of every model, to the model.
        loss: The loss that it is compiled with.
        requirement: The limit on its time, in words; as a multiple of the plain step unless it says
            otherwise.
        ring: Batches in its cross-batch memory, which may add the time of its product.
        proxies: Number of its proxies, if their products and their Adam are timed as well.
    """

    model: Callable[..., MetricLearningModel]
    loss: losses.PairwiseLoss | str = "contrastive"
    requirement: str = ""
    ring: int | None = None
    proxies: int | None = None


def with_ring(num_batches):
    """A model with a cross-batch memory, full."""

    def build(network, **options):
        memory = CrossBatchMemory(num_batches, _BATCH, start_step=0)
        memory.build((None, _SIZE))
        generator = np.random.default_rng(0)
        memory.embeddings.assign(generator.standard_normal(memory.embeddings.shape))
        memory.labels.assign(generator.integers(0, 100, memory.labels.shape))
        memory.steps.assign(num_batches)
        return MetricLearningModel(network, memory=memory, **options)

    return build


def with_proxies(num_classes, proxies_per_class=1):
    """A model with proxies."""
    return lambda network, **options: ProxyModel(network, num_classes, proxies_per_class, **options)


def make_chance_constrained(num_classes, proxies_per_class):
    """CCP after the first round, with a proximal term."""

    def build(network, **options):
        model = ChanceConstrainedModel(network, num_classes, proxies_per_class, **options)
        model.build(network.input_shape)
        model.proximal_weight.assign(2e-4)
        return model

    return build


def variational(network, **options):
    """DVML in its second phase, in which more gradients flow."""
    model = VariationalModel(network, num_samples=20, **options)
    model.build(network.input_shape)
    model.second_phase.assign(True)
    return model


METHODS = {
    "ccp_100x8": Method(make_chance_constrained(100, 8), requirement="below 1.03"),
    "ccp_8488x4": Method(make_chance_constrained(8_488, 4), requirement="below 1.10"),
    **{
        f"sop_{loss}": Method(
            make_chance_constrained(8_488, 4), loss, "below 2 × the bare sum", proxies=8_488 * 4
        )
        for loss in ("contrastive", "cosine_contrastive", "multi_similarity", "triplet")
    },
    "xbm_25": Method(with_ring(25), ring=25),
    "xbm_1400": Method(with_ring(1_400), ring=1_400),
    "dvml": Method(variational),
    "proxy_anchor": Method(with_proxies(100), "proxy_anchor"),
    "proxy_nca": Method(with_proxies(100), "proxy_nca"),
    "soft_triple": Method(with_proxies(100, 10), "soft_triple"),
}

_METHODS = flags.DEFINE_list(
    "methods",
    [name for name, method in METHODS.items() if not method.proxies],
    "Methods to compare with the plain loss.",
)
_BACKBONE = flags.DEFINE_string("backbone", "bn_inception", "The backbone.")
_ROUNDS = flags.DEFINE_integer("rounds", 15, "Steps of each method.", lower_bound=1)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 227, "Height and width of the images, in pixels.")
_JIT_COMPILE = flags.DEFINE_bool("jit_compile", False, "Whether steps are compiled by XLA.")


def training_step(build, loss="contrastive"):
    """A function that takes a training step, as `fit` does."""
    image_shape = (_IMAGE_SIZE.value, _IMAGE_SIZE.value, 3)
    backbone = get_backbone(_BACKBONE.value, image_shape)
    network = EmbeddingModel(backbone, _SIZE, freeze_batch_norm=True)
    model = build(network, weight_decay=1e-4)
    model.compile(keras.optimizers.Adam(1e-5), loss=loss, jit_compile=_JIT_COMPILE.value)
    images = np.random.default_rng(0).normal(0, 60, (_BATCH, *image_shape)).astype("float32")
    labels = np.repeat(np.arange(_CLASSES), _SAMPLES)
    batches = iter(tf.data.Dataset.from_tensors((images, labels)).repeat())
    model.make_train_function()
    return lambda: model.train_function(batches)


def bare_product(num_batches):
    """A function that does the two products with a ring, and nothing else."""
    generator = np.random.default_rng(0)
    rows = num_batches * _BATCH
    batch, ring, gradient = (
        tf.constant(generator.standard_normal(shape), tf.float32)
        for shape in [(_BATCH, _SIZE), (rows, _SIZE), (_BATCH, rows)]
    )
    return tf.function(
        lambda: (tf.matmul(batch, ring, transpose_b=True), tf.matmul(gradient, ring))
    )


def bare_step(num_proxies, with_adam):
    """A function that does the products of a batch with proxies, forward and back, and Adam."""
    generator = np.random.default_rng(0)
    proxies = keras.Variable(generator.standard_normal((num_proxies, _SIZE)), dtype="float32")
    batch, gradient = (
        tf.constant(generator.standard_normal(shape), tf.float32)
        for shape in [(_BATCH, _SIZE), (_BATCH, num_proxies)]
    )
    optimizer = keras.optimizers.Adam(1e-5)
    optimizer.build([proxies])

    def step():
        similarities = tf.matmul(batch, proxies.value, transpose_b=True)
        to_batch = tf.matmul(gradient, proxies.value)
        to_proxies = tf.matmul(gradient, batch, transpose_a=True)
        if with_adam:
            optimizer.apply([to_proxies], [proxies])
        return similarities, to_batch, to_proxies

    return tf.function(step)


def milliseconds_of(function) -> np.ndarray:
    """The time that a call takes, and the processor time of all its threads."""
    clocks = (time.perf_counter, time.process_time)
    start = np.array([clock() for clock in clocks])
    function()
    return 1e3 * (np.array([clock() for clock in clocks]) - start)


def quartiles(values, digits) -> str:
    """The median and, in brackets, the quartiles."""
    low, median, high = np.percentile(values, [25, 50, 75])
    return f"{median:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def main(_):
    """Runs the benchmark."""
    unknown = sorted(set(_METHODS.value) - set(METHODS))
    if unknown:
        raise app.UsageError(f"--methods must be of {', '.join(METHODS)}; got {unknown}")
    methods = {name: METHODS[name] for name in _METHODS.value}
    plain = training_step(MetricLearningModel)
    steps = {name: training_step(each.model, each.loss) for name, each in methods.items()}
    products = {name: bare_product(each.ring) for name, each in methods.items() if each.ring}
    bare = {
        (name, with_adam): bare_step(each.proxies, with_adam)
        for name, each in methods.items()
        if each.proxies
        for with_adam in (False, True)
    }
    for step in (plain, *steps.values(), *products.values(), *bare.values()):
        step()
        step()
    times = {name: [] for name in methods}
    product_times = {name: [] for name in products}
    bare_times = {key: [] for key in bare}
    beside = {name: [] for name in methods}
    for _ in tqdm(range(_ROUNDS.value), unit="round"):
        before = milliseconds_of(plain)
        for name in methods:
            times[name].append(milliseconds_of(steps[name]))
            if name in products:
                product_times[name].append(milliseconds_of(products[name]))
            for key, step in bare.items():
                if key[0] == name:
                    bare_times[key].append(milliseconds_of(step))
            after = milliseconds_of(plain)
            beside[name].append((before + after) / 2)
            before = after
    everywhere = np.concatenate(list(beside.values()))
    print(
        f"batches of {_BATCH} images of {_IMAGE_SIZE.value} pixels; medians (quartiles) of "
        f"{_ROUNDS.value} steps, compared with plain steps before and after; "
        f"{'with' if _JIT_COMPILE.value else 'without'} XLA"
    )
    print("| method | ms | × plain | × plain, processor | processor ms more | required |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    print(f"| plain | {np.median(everywhere[:, 0]):.0f} | 1 | 1 | | |")
    for name, method in methods.items():
        method_times, plain_times = np.array(times[name]), np.array(beside[name])
        ratios, more = method_times / plain_times, method_times - plain_times
        required = method.requirement
        if method.ring:
            product = np.array(product_times[name])[:, 1]
            required = f"its product: {quartiles(product, 1)} ms more"
        print(
            f"| {name} | {np.median(method_times[:, 0]):.0f} | {quartiles(ratios[:, 0], 3)} | "
            f"{quartiles(ratios[:, 1], 3)} | {quartiles(more[:, 1], 1)} | {required} |"
        )
    if bare:
        print_beside_bare({name: (times[name], beside[name]) for name, _ in bare}, bare_times)


def print_beside_bare(method_times, bare_times):
    """Prints how much longer steps with proxies take than plain ones, beside the bare work."""
    print()
    print("| method | ms | more than plain | bare products | and bare Adam | more / both |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for name, (steps, plain) in method_times.items():
        more = np.array(steps) - np.array(plain)
        products, both = (np.array(bare_times[name, with_adam]) for with_adam in (False, True))
        for column, clock in enumerate(["clock", "processor"]):
            numbers = [quartiles(each[:, column], 1) for each in (more, products, both)]
            ratio = quartiles((more / both)[:, column], 2)
            print(f"| {name} | {clock} | {' | '.join([*numbers, ratio])} |")


if __name__ == "__main__":
    app.run(main)
