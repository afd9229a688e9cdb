"""Generalised sum pooling (GSP)."""

import math

import keras
from keras import ops

from ccp_dml.checks import check_above, check_fraction, check_whole_number
from ccp_dml.layers.feature_shapes import check_positions
from ccp_dml.layers.normalization import lipschitz_normalize

# An interval some tens wide is narrowed so far that a step of Newton's method from there is exact
# in float32. All shifts of a division are tried at once: loops take long to compile.
_SECTIONS, _DIVISIONS = 64, 3
_SMALLEST_SQUARE = 1e-12


@keras.saving.register_keras_serializable("ccp_dml")
class GeneralizedSumPooling(keras.layers.Layer):
    """Averages the features that are near learned prototypes.

    "Generalized Sum Pooling for Metric Learning" (Gürbüz, Şener and Alatan, ICCV 2023). The
    features fⱼ of n positions hold a mass of 1/n each. A total mass μ is transported to prototypes
    ωᵢ at the least cost, smoothed by entropy; the features are weighted with the mass that leaves
    them:

        min  Σᵢⱼ cᵢⱼ πᵢⱼ + (1/γ) (Σᵢⱼ πᵢⱼ log πᵢⱼ + Σⱼ ρⱼ log ρⱼ)
        with ρⱼ + Σᵢ πᵢⱼ = 1/n  and  Σᵢⱼ πᵢⱼ = μ,   cᵢⱼ = ‖ω̂ᵢ − f̂ⱼ‖,
        pooled = Σⱼ fⱼ Σᵢ πᵢⱼ / μ,

    where v̂ is the Lipschitz normalisation. Its solution is `Σᵢ πᵢⱼ = σ(s + aⱼ) / n` with `aⱼ = log
    Σᵢ exp(−γ cᵢⱼ)` and the logistic function σ; s is the number for which the mean of σ(s + aⱼ) is
    μ. It is found by dividing an interval, and its gradient is that of the implicit function. For
    equal costs, and in the limit μ → 1, this is the average.

    Costs are taken from the features of the backbone; the authors' code takes them after the
    projection to the embedding space and starts the prototypes from features. Here they start at
    random on the unit sphere. The paper's second part, a zero-shot loss that regularises the
    prototypes, is not included, nor is the maximum that its code can add.

    Args:
        num_prototypes: Number of prototypes. Defaults to 64, the value in the authors' code for
            small data sets; it is 128 for large ones.
        transported: The transported fraction μ of the mass, between 0 and 1. Defaults to 0.3.
        sharpness: The inverse γ of the weight of the entropy, above 0. Defaults to 5.

    Call arguments:
        inputs: A feature map `(batch, height, width, channels)` or a sequence of tokens `(batch,
            tokens, channels)`.

    Returns:
        Features `(batch, channels)`.

    Raises:
        ValueError: If an argument is out of its bounds, or the inputs have no positions to pool
            over.

    Example:

    >>> layer = GeneralizedSumPooling(num_prototypes=2)
    >>> layer(np.ones((1, 4, 3), "float32")).numpy()
    array([[1., 1., 1.]], dtype=float32)
    """

    def __init__(
        self,
        num_prototypes: int = 64,
        transported: float = 0.3,
        sharpness: float = 5.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_whole_number("num_prototypes", num_prototypes, 1)
        check_fraction("transported", transported)
        check_above("sharpness", sharpness, 0)
        self.num_prototypes = num_prototypes
        self.transported = transported
        self.sharpness = sharpness

    def build(self, input_shape):
        check_positions("gsp", input_shape)
        channels = input_shape[-1]
        self.prototypes = self.add_weight(
            shape=(self.num_prototypes, channels),
            # This gives prototypes a length of about 1.
            initializer=keras.initializers.RandomNormal(stddev=channels**-0.5),
            name="prototypes",
        )

    def call(self, inputs):
        # The positions of a map are on two axes.
        features = ops.reshape(inputs, (ops.shape(inputs)[0], -1, inputs.shape[-1]))
        costs = _distances(lipschitz_normalize(features), lipschitz_normalize(self.prototypes))
        attractions = ops.logsumexp(-self.sharpness * costs, axis=-1)
        weights = transported_parts(attractions, self.transported)
        weights /= ops.sum(weights, axis=1, keepdims=True)
        return ops.squeeze(ops.matmul(weights[:, None], features), axis=1)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[-1])

    def get_config(self):
        return {
            **super().get_config(),
            "num_prototypes": self.num_prototypes,
            "transported": self.transported,
            "sharpness": self.sharpness,
        }


def transported_parts(attractions, transported: float):
    """Computes the transported fraction of each position's mass, `σ(s + aⱼ)` with mean μ.

    Args:
        attractions: The aⱼ, float `(batch, n)`.
        transported: Their mean μ, between 0 and 1.

    Returns:
        `(batch, n)`, between 0 and 1.
    """
    fixed = ops.stop_gradient(attractions)
    # σ of this is μ, so that s lies between this minus the largest aⱼ and this minus the smallest.
    target = math.log(transported / (1 - transported))
    low = target - ops.max(fixed, axis=1, keepdims=True)
    width = target - ops.min(fixed, axis=1, keepdims=True) - low
    fractions = ops.arange(_SECTIONS, dtype=fixed.dtype) / _SECTIONS
    for _ in range(_DIVISIONS):
        shifts = low + width * fractions
        means = ops.mean(ops.sigmoid(shifts[:, :, None] + fixed[:, None]), axis=2)
        too_low = ops.sum(ops.cast(means < transported, fixed.dtype), axis=1, keepdims=True)
        low += width * ops.maximum(too_low - 1, 0) / _SECTIONS
        width /= _SECTIONS
    shift = low + width / 2
    # A step of Newton's method, whose derivative with respect to the aⱼ is that of the implicit
    # function.
    parts = ops.sigmoid(shift + attractions)
    slope = ops.mean(ops.stop_gradient(parts * (1 - parts)), axis=1, keepdims=True)
    excess = ops.mean(parts, axis=1, keepdims=True) - transported
    return ops.sigmoid(shift - ops.divide_no_nan(excess, slope) + attractions)


def _distances(vectors, references):
    """Euclidean distances `(batch, n, m)` of vectors of length at most 1, with finite gradients."""
    products = ops.matmul(vectors, ops.transpose(references))
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True) - 2 * products
    squares += ops.sum(ops.square(references), axis=-1)
    return ops.sqrt(ops.maximum(squares, _SMALLEST_SQUARE))
