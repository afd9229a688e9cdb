"""Synthetic classes between the real ones."""

import keras
import numpy as np
from keras import ops
from scipy import stats

from ccp_dml.checks import check_above, check_at_most
from ccp_dml.losses.distances import inner_products, lengths
from ccp_dml.losses.pairwise import Pairs, PairwiseLoss
from ccp_dml.losses.wrapper import LossWrapper, require_one_reference_per_class
from ccp_dml.randomness import seed_of, uniform

# How many equally likely values the mixing weight takes; there is no Beta sampler under XLA.
_NUM_QUANTILES = 1024


@keras.saving.register_keras_serializable("ccp_dml")
class ProxySynthesis(LossWrapper):
    """A loss with synthetic classes (proxy synthesis; Gu, Ko and Kim, AAAI 2021).

    A synthetic class mixes a sample x with a random sample x′ of another class, and their proxies
    p and p′ with the same weight: its sample is `m x + (1 − m) x′`, its proxy `m p + (1 − m) p′`,
    with m ~ Beta(a, a). The wrapped loss is computed from the real and the synthetic samples
    against the real and the synthetic proxies, every synthetic class being different from all
    others. They stand for classes not seen in training. Mixtures are scaled to the mixture of the
    two lengths, so that unit vectors give unit vectors, as in the paper.

    The proxy of a sample is the nearest of its positive references: of its class's proxies, or, in
    a batch without references, the nearest other sample of its class.

    Args:
        loss: The `PairwiseLoss` to wrap.
        alpha: a. Defaults to 0.4.
        ratio: Number of synthetic classes relative to the number of samples, above 0 and at most 1.
            Defaults to 1.
        **kwargs: See `LossWrapper`.

    Call arguments:
        seed: See `PairwiseLoss`; it determines everything that is drawn.

    Raises:
        ValueError: If `alpha` or `ratio` is out of range or `loss` needs several proxies per
            class.

    Example:

    >>> from ccp_dml.losses import NormalizedSoftmax
    >>> loss = ProxySynthesis(NormalizedSoftmax(temperature=1.0))
    >>> embeddings, labels = np.eye(4, dtype="float32"), np.arange(4)
    >>> value = loss(labels, embeddings, references=embeddings, reference_labels=labels, seed=1)
    >>> bool(value > NormalizedSoftmax(temperature=1.0)(
    ...     labels, embeddings, references=embeddings, reference_labels=labels))
    True
    """

    def __init__(self, loss: PairwiseLoss, alpha: float = 0.4, ratio: float = 1.0, **kwargs):
        super().__init__(loss, **kwargs)
        require_one_reference_per_class(self)
        check_above("alpha", alpha, 0)
        check_above("ratio", ratio, 0)
        check_at_most("ratio", ratio, 1)
        self.alpha = alpha
        self.ratio = ratio
        probabilities = [(k + 0.5) / _NUM_QUANTILES for k in range(_NUM_QUANTILES)]
        self._quantiles = stats.beta.ppf(probabilities, alpha, alpha)

    def draw(self, labels, seed):
        """Draws which samples are mixed, and how.

        Args:
            labels: `(n,)`.
            seed: An integer.

        Returns:
            Indices of the samples x `(m,)` and x′ `(m,)`, and mixing weights `(m,)`. Where all
            samples are of one class, x′ is any of them.
        """
        n = ops.shape(labels)[0]
        differs = ops.not_equal(labels[:, None], labels[None, :])
        partners = ops.argmax(ops.where(differs, uniform((n, n), seed, 0), -1.0), axis=1)
        # In float32, whether the size is known before the step or not.
        if isinstance(n, int):
            count = int(np.float32(self.ratio) * np.float32(n))
        else:
            count = ops.cast(self.ratio * ops.cast(n, "float32"), "int32")
        first = ops.argsort(uniform((n,), seed, 1))[:count]
        which = ops.cast(uniform((n,), seed, 2) * _NUM_QUANTILES, "int32")
        mixing = ops.take(ops.convert_to_tensor(self._quantiles), which)
        return first, ops.take(partners, first), ops.take(mixing, first)

    def labeled_loss(self, embeddings, references, pairs, seed, **weights):
        seed = seed_of(embeddings) if seed is None else seed
        first, second, mixing = self.draw(pairs.class_numbers("ProxySynthesis"), seed)
        mixing = ops.cast(mixing, embeddings.dtype)[:, None]

        def mix(vectors):
            one, other = ops.take(vectors, first, axis=0), ops.take(vectors, second, axis=0)
            mixture = mixing * one + (1.0 - mixing) * other
            length = mixing * lengths(one) + (1.0 - mixing) * lengths(other)
            return mixture * (length / lengths(mixture))

        similarities = inner_products(embeddings, references)
        nearest = ops.argmax(ops.where(pairs.positives, similarities, -1e30), axis=1)
        has_positive = ops.any(pairs.positives, axis=1)
        is_valid = ops.logical_and(ops.take(has_positive, first), ops.take(has_positive, second))
        first_labels, second_labels = ops.take(pairs.labels, first), ops.take(pairs.labels, second)
        is_valid = ops.logical_and(is_valid, ops.not_equal(first_labels, second_labels))
        pairs = _add_classes(pairs, is_valid, first_labels)
        proxies = mix(ops.take(references, nearest, axis=0))
        embeddings = ops.concatenate([embeddings, mix(embeddings)], axis=0)
        references = ops.concatenate([references, proxies], axis=0)
        return self.loss.labeled_loss(embeddings, references, pairs, seed, **weights)

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha, "ratio": self.ratio}


def _add_classes(pairs, is_valid, labels):
    """Adds an anchor and its reference, of a class of their own, for each label.

    The new classes take part where `is_valid`. The labels only say whose class weights they share.
    """
    n, r = ops.shape(pairs.positives)[0], ops.shape(pairs.positives)[1]
    m = ops.shape(is_valid)[0]
    old_rows, old_columns = ops.ones((n,), dtype="bool"), ops.ones((r,), dtype="bool")
    is_own = ops.eye(m, dtype="bool")

    def add_border(mask, corner, border):
        new_columns = ops.logical_and(old_rows[:, None], is_valid[None, :])
        new_rows = ops.logical_and(is_valid[:, None], old_columns[None, :])
        both_valid = ops.logical_and(is_valid[:, None], is_valid[None, :])
        top = ops.concatenate([mask, ops.logical_and(new_columns, border)], axis=1)
        new_corner = ops.logical_and(corner, both_valid)
        bottom = ops.concatenate([ops.logical_and(new_rows, border), new_corner], axis=1)
        return ops.concatenate([top, bottom], axis=0)

    return Pairs(
        add_border(pairs.positives, is_own, False),
        add_border(pairs.negatives, ops.logical_not(is_own), True),
        ops.concatenate([pairs.labels, labels], axis=0),
        ops.concatenate([pairs.reference_labels, labels], axis=0),
        pairs.extend_negative_counts(m),
    )
