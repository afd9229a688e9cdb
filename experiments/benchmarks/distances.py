"""How accurate and how fast the ways to compute distances are.

    python experiments/benchmarks/distances.py
    python experiments/benchmarks/distances.py --shapes=32x33952 --repeats=30

Errors are those of Euclidean distances, and of the directions `(a − b)/‖a − b‖` that make up
gradients, between every vector and the one that was placed near it; they are compared with float64
differences of the same float32 vectors. Products are computed as on this machine and, to show the
rounding of accelerators, from factors rounded to 10 bits after the leading one, as in TF32, and to
7, as in bfloat16, added up in float32.

Times are those of the distances and both their gradients in one function, without and with XLA. The
forms take turns; while other programs run, processor time, of all threads together, is more
reliable than wall-clock time. Ratios are to the first form.

The forms:

- float64: `‖a‖² + ‖b‖² − 2aᵀb` and its gradients in float64. Used by the package on CPUs.
- mixed: distances as before, gradients in float32. Used by the package on CPUs, for many
  references.
- differences: `Σ(a − b)²`. Used by the package on other devices.
- expansion: as the first, in float32.
- centred: likewise, after subtracting the mean of the vectors from all.
- sliced_2 to sliced_4: vectors are centred, scaled into the unit ball by a power of two, and cut
  into slices of so few bits that products of two slices add up exactly in float32, by the
  inequality of Cauchy and Schwarz; then `Σ_pq (a_p − b_p)ᵀ(a_q − b_q)` is exactly 0 for equal
  vectors, on all hardware. Gradients are products of factors cut in two. (After Ozaki, Ogita,
  Oishi and Rump, Numerical Algorithms 59, 2012.)
"""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import app, flags

from ccp_dml.losses.distance_forms import (
    DIFFERENCES,
    EXPANSION,
    squared_distances_by_expansion,
)

_SIZE = 128
_SHAPES = flags.DEFINE_list(
    "shapes", ["32x32", "640x640", "32x33952", "32x44800"], "Numbers of vectors and references."
)
_REPEATS = flags.DEFINE_integer("repeats", 15, "Number of timed repetitions.", lower_bound=1)

Product = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def round_to(bits):
    """A function that rounds float32 numbers to `bits` bits after the leading one."""
    dropped = 23 - bits

    def apply(values):
        integers = tf.bitcast(values, tf.int32)
        odd = tf.bitwise.bitwise_and(tf.bitwise.right_shift(integers, dropped), 1)
        integers = integers + odd + (1 << (dropped - 1)) - 1
        return tf.bitcast(tf.bitwise.bitwise_and(integers, -1 << dropped), tf.float32)

    return apply


def make_rounded_product(bits) -> Product:
    """A matrix product of rounded float32 factors."""
    apply = round_to(bits)

    def product(left, right):
        if left.dtype == tf.float64:
            return tf.matmul(left, right)
        return tf.matmul(apply(left), apply(right))

    return product


PRODUCTS = {
    "float32": tf.matmul,
    "TF32": make_rounded_product(10),
    "bfloat16": make_rounded_product(7),
}


def squares(vectors):
    """Squared lengths `(n, 1)`."""
    return tf.reduce_sum(tf.square(vectors), axis=1, keepdims=True)


def expand(left, right, product):
    """`(n, r)`: `‖a‖² + ‖b‖² − 2aᵀb`."""
    return squares(left) + tf.transpose(squares(right)) - 2.0 * product(left, tf.transpose(right))


def offsets(weights, left, right, product):
    """`Σᵣ wᵢᵣ(aᵢ − bᵣ)` and `Σᵢ wᵢᵣ(bᵣ − aᵢ)`."""
    return (
        tf.reduce_sum(weights, 1)[:, None] * left - product(weights, right),
        tf.reduce_sum(weights, 0)[:, None] * right - product(tf.transpose(weights), left),
    )


class Form(NamedTuple):
    """Distances and gradients, as `ccp_dml.losses.distance_forms.DistanceForm`, from a product."""

    squared: Callable[[tf.Tensor, tf.Tensor, Product], tf.Tensor]
    weighted_offsets: Callable[..., tuple[tf.Tensor, tf.Tensor]] = offsets


def make_centred_form(form):
    """The form, applied after subtracting the mean of the first set from both sets."""

    def center(vectors, references):
        mean = tf.reduce_mean(vectors, axis=0)
        return vectors - mean, references - mean

    return Form(
        lambda *sets_and_product: form.squared(*center(*sets_and_product[:2]), sets_and_product[2]),
        lambda weights, left, right, product: form.weighted_offsets(
            weights, *center(left, right), product
        ),
    )


def weighted_offsets_in_float64(weights, vectors, references, _):
    """Gradients in float64."""
    weights, vectors, references = (
        tf.cast(each, tf.float64) for each in (weights, vectors, references)
    )
    found = offsets(weights, vectors, references, tf.matmul)
    return tuple(tf.cast(each, tf.float32) for each in found)


def slice_bits(dimensions):
    """Bits of a slice: four inner products of d products of two slices add up to at most 2²⁴."""
    return min(8, (24 - math.ceil(math.log2(dimensions))) // 2)


def cut(vectors, count, bits):
    """`count` slices of `bits` bits, whose sum is within 2^-(count·bits + 1) of the vectors."""
    slices = []
    for place in range(1, count + 1):
        grid = 2.0 ** (place * bits)
        slices.append(tf.round(vectors * grid) / grid)
        vectors = vectors - slices[-1]
    return slices


def make_sliced_form(count):
    """The form in slices."""

    def square(vectors, references, product):
        bits = slice_bits(vectors.shape[1])
        longest = tf.maximum(tf.reduce_max(squares(vectors)), tf.reduce_max(squares(references)))
        exponent = tf.math.ceil(0.5 * tf.math.log(tf.maximum(longest, 1e-30)) / math.log(2.0))
        scale = tf.pow(2.0, exponent)
        left, right = (cut(each / scale, count, bits) for each in (vectors, references))
        total = 0.0
        for p in reversed(range(count)):
            for q in reversed(range(p, count)):
                if p == q:
                    total += expand(left[p], right[p], product)
                    continue
                own = [
                    tf.reduce_sum(each[p] * each[q], axis=1, keepdims=True)
                    for each in (left, right)
                ]
                crossed = product(
                    tf.concat([left[p], left[q]], axis=1),
                    tf.transpose(tf.concat([right[q], right[p]], axis=1)),
                )
                total += 2.0 * (own[0] + tf.transpose(own[1]) - crossed)
        return tf.nn.relu(total) * tf.square(scale)

    return make_centred_form(
        Form(
            square,
            lambda weights, vectors, references, product: offsets(
                weights, vectors, references, cut_product(product)
            ),
        )
    )


def cut_product(product):
    """A product of factors cut in three, each piece of 8 bits: as float32 has it, from bfloat16."""
    apply = round_to(7)

    def pieces(values):
        high = apply(values)
        middle = apply(values - high)
        return high, middle, values - high - middle

    def compute(left, right):
        (a, b, c), (x, y, z) = pieces(left), pieces(right)
        return product(tf.concat([c, a, b, b, a, a], axis=1), tf.concat([x, z, y, x, y, x], axis=0))

    return compute


FORMS = {
    "float64": Form(
        lambda a, b, _: squared_distances_by_expansion(a, b), weighted_offsets_in_float64
    ),
    "mixed": Form(lambda a, b, _: EXPANSION.squared(a, b)),
    "differences": Form(
        lambda a, b, _: DIFFERENCES.squared(a, b),
        lambda weights, a, b, _: DIFFERENCES.weighted_offsets(weights, a, b),
    ),
    "expansion": Form(lambda a, b, product: tf.nn.relu(expand(a, b, product))),
    "centred": make_centred_form(Form(lambda a, b, product: tf.nn.relu(expand(a, b, product)))),
    **{f"sliced_{count}": make_sliced_form(count) for count in (2, 3, 4)},
}


def unit(generator, n):
    """Random unit vectors."""
    vectors = generator.standard_normal((n, _SIZE))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def adversarial_vectors(generator, n=64) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pairs of sets by name: vectors, and a vector near each of them."""
    vectors = unit(generator, n)
    lengths = 10.0 ** generator.uniform(-3, 0, (n, 1))
    collapsed = unit(generator, 1) + 1e-3 * unit(generator, n)
    return {
        "1e-3 apart": (vectors, vectors + 1e-3 * unit(generator, n)),
        "1e-5 apart": (vectors, vectors + 1e-5 * unit(generator, n)),
        "far from the origin": (vectors + 100, vectors + 100 + 1e-3 * unit(generator, n)),
        "mixed lengths": (
            lengths * vectors,
            lengths * (vectors + 1e-3 * unit(generator, n)),
        ),
        "collapsed": (collapsed, collapsed + 1e-3 * unit(generator, n)),
    }


def errors(form, product, vectors, near):
    """Errors of distances (largest, mean) and directions; number of equal vectors not at 0."""
    vectors, near = vectors.astype("float32"), near.astype("float32")
    found = np.sqrt(form.squared(tf.constant(vectors), tf.constant(near), product))
    differences = vectors[:, None].astype("float64") - near[None]
    exact = np.linalg.norm(differences, axis=2)
    twins = np.arange(len(vectors))
    weights = np.divide(1.0, found, out=np.zeros_like(found), where=found > 0)
    weights = tf.constant(np.where(np.eye(len(twins)), weights, 0).astype("float32"))
    slopes = form.weighted_offsets(weights, tf.constant(vectors), tf.constant(near), product)[0]
    directions = differences[twins, twins] / exact[twins, twins, None]
    itself = form.squared(tf.constant(vectors), tf.constant(vectors), product).numpy()
    return (
        np.abs(found - exact).max(),
        np.abs(found - exact)[twins, twins].mean(),
        np.linalg.norm(slopes - directions, axis=1).max(),
        np.count_nonzero(itself[twins, twins]),
    )


def milliseconds_of(function, *arguments) -> np.ndarray:
    """The time that a call takes, and the processor time of all its threads."""
    clocks = (time.perf_counter, time.process_time)
    start = np.array([clock() for clock in clocks])
    function(*arguments)
    return 1e3 * (np.array([clock() for clock in clocks]) - start)


def print_errors():
    """Prints the errors of all forms, with all products."""
    for name, sets in adversarial_vectors(np.random.default_rng(0)).items():
        apart = np.linalg.norm(sets[0] - sets[1], axis=1)
        print(f"\n{name}, {apart.min():.0e} to {apart.max():.0e} between the nearest")
        print("| form | product | largest error | mean, nearest | direction | equal, not at 0 |")
        print("| --- | --- | ---: | ---: | ---: | ---: |")
        for form_name, form in FORMS.items():
            for product_name, product in PRODUCTS.items():
                if form_name in ("float64", "differences") and product_name != "float32":
                    continue  # without such products
                largest, mean, direction, nonzero = errors(form, product, *sets)
                print(
                    f"| {form_name} | {product_name} | {largest:.1e} | {mean:.1e} | "
                    f"{direction:.1e} | {nonzero} |"
                )


def print_times(shape, jit_compile):
    """Prints the times of all forms."""
    n, r = map(int, shape.split("x"))
    generator = np.random.default_rng(0)
    arguments = [
        tf.constant(values, tf.float32)
        for values in (unit(generator, n), unit(generator, r), generator.standard_normal((n, r)))
    ]

    def compile_form(form):
        def compute(vectors, references, upstream):
            distances = tf.sqrt(form.squared(vectors, references, tf.matmul))
            weights = tf.math.divide_no_nan(upstream, distances)
            return distances, *form.weighted_offsets(weights, vectors, references, tf.matmul)

        return tf.function(compute, jit_compile=jit_compile, autograph=False)

    functions = {name: compile_form(form) for name, form in FORMS.items()}
    times = {name: [] for name in functions}
    for repeat in range(_REPEATS.value + 2):
        for name, function in functions.items():
            elapsed = milliseconds_of(function, *arguments)
            if repeat >= 2:
                times[name].append(elapsed)
    print(f"\n{n} × {r:,} vectors of size {_SIZE}, {'with' if jit_compile else 'without'} XLA")
    print("| form | ms | ms, processor | × float64, processor |")
    print("| --- | ---: | ---: | ---: |")
    reference = np.array(times["float64"])[:, 1]
    for name, each in times.items():
        clock, processor = np.median(each, axis=0)
        ratio = np.median(np.array(each)[:, 1] / reference)
        print(f"| {name} | {clock:.1f} | {processor:.1f} | {ratio:.2f} |")


def main(_):
    """Runs the benchmark."""
    print_errors()
    for shape in _SHAPES.value:
        for jit_compile in (False, True):
            print_times(shape, jit_compile)


if __name__ == "__main__":
    app.run(main)
