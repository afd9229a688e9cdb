"""Batches in passes over all classes: which groups a batch visits, and what a visit draws.

A pass is a number of batches that depend only on the seed and the number of the pass, so that a
resumed training draws nothing of earlier passes.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from ccp_dml.checks import check_whole_number
from ccp_dml.data.samplers.seeds import make_generator

# Groups that appear in almost every batch do so in every one.
_ALWAYS = 1 - 1e-9


class Groups:
    """Members of groups, such as the samples of classes or the classes of super-classes.

    Args:
        group_of: The group of each member, any labels `(n,)`.

    Attributes:
        names: The labels of the groups, ascending `(G,)`; elsewhere groups are their positions
            here.
        group_of: The group of each member `(n,)`.
        sizes: Number of members of each group `(G,)`.
    """

    def __init__(self, group_of: np.ndarray):
        group_of = np.asarray(group_of)
        if group_of.ndim != 1 or not group_of.size:
            raise ValueError(f"labels must be (n,) with at least one sample; got {group_of.shape}")
        self.names, self.group_of, self.sizes = np.unique(
            group_of, return_inverse=True, return_counts=True
        )
        self._starts = np.cumsum(self.sizes) - self.sizes
        self._members = np.argsort(self.group_of, kind="stable")

    def choose(self, group: int, count: int, generator: np.random.Generator) -> np.ndarray:
        """Chooses members of a group at random.

        Args:
            group: The group.
            count: Number of members, all different if the group has enough.
            generator: Random numbers.

        Returns:
            Members `(count,)`.
        """
        start, size = self._starts[group], self.sizes[group]
        places = generator.permutation(size)[np.arange(count) % size]
        return self._members[start + places]

    def deal(self, visits: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
        """Draws members for each visit of a group.

        The visits of a group go through its members in random order and start over when these run
        out, so that a visit repeats no member if the group has enough.

        Args:
            visits: The groups that are visited, of any shape.
            count: Number of members that a visit draws.
            generator: Random numbers.

        Returns:
            Members `(*visits.shape, count)`.
        """
        shuffled = np.lexsort((generator.random(len(self.group_of)), self.group_of))
        flat = visits.ravel()
        order = np.argsort(flat, kind="stable")
        counts = np.unique(flat, return_counts=True)[1]
        starts = np.repeat(np.cumsum(counts) - counts, counts)
        number = np.empty_like(order)
        number[order] = np.arange(len(flat)) - starts
        places = (number[:, None] * count + np.arange(count)) % self.sizes[flat][:, None]
        return shuffled[self._starts[flat][:, None] + places].reshape(*visits.shape, count)


def inclusion_probabilities(weights: np.ndarray, per_batch: int) -> np.ndarray:
    """Computes the fraction of the batches that contain each group.

    Args:
        weights: Positive numbers `(G,)`.
        per_batch: Number of groups in a batch, at most G.

    Returns:
        Fractions with the sum `per_batch`, proportional to the weights except for groups whose
        share would exceed 1, which appear in every batch.

    Example:

    >>> inclusion_probabilities(np.array([1.0, 1.0, 6.0]), per_batch=2)
    array([0.5, 0.5, 1. ])
    """
    weights = np.asarray(weights, "float64")
    in_all = np.zeros(len(weights), bool)
    while True:
        share = (per_batch - in_all.sum()) * weights / max(weights[~in_all].sum(), 1e-300)
        exceeds = ~in_all & (share >= _ALWAYS)
        if not exceeds.any():
            return np.where(in_all, 1.0, share)
        in_all |= exceeds


def visit_groups(
    probabilities: np.ndarray, num_batches: int, generator: np.random.Generator
) -> np.ndarray:
    """Chooses which groups the batches of a pass visit.

    A group is visited by its fraction of the batches, rounded up or down at random (systematic
    sampling), and no batch visits one twice. Which groups meet in a batch is random.

    Args:
        probabilities: As `inclusion_probabilities` returns them `(G,)`.
        num_batches: Number of batches T.
        generator: Random numbers.

    Returns:
        Groups `(T, per_batch)`.
    """
    always = np.flatnonzero(probabilities == 1)
    others = generator.permutation(np.flatnonzero(probabilities < 1))
    per_batch = round(probabilities.sum()) - len(always)
    ends = np.cumsum(probabilities[others]) * num_batches
    ends[-1:] = per_batch * num_batches
    visits = np.diff(np.ceil(ends - generator.random()), prepend=0).astype("int64")
    # Visits of a group are next to each other. A row of as many visits as there are batches gives
    # one to each batch, in any order; a group whose visits continue in the next row is kept out of
    # the batches that already contain it.
    rows = np.repeat(others, visits).reshape(per_batch, num_batches)
    chosen = np.empty((num_batches, per_batch + len(always)), "int64")
    chosen[:, per_batch:] = always
    for number, row in enumerate(rows):
        columns = generator.permutation(num_batches)
        shared = np.count_nonzero(row == row[0]) if number else 0
        if shared and row[0] == rows[number - 1][-1]:
            is_taken = chosen[columns, number - 1] == row[0]
            free = columns[~is_taken]
            columns = np.concatenate(
                [free[:shared], generator.permutation(np.r_[free[shared:], columns[is_taken]])]
            )
        chosen[columns, number] = row
    return chosen


def batches_of_passes(
    draw_pass: Callable[[np.random.Generator], np.ndarray],
    batches_per_pass: int,
    batch_size: int,
    seed: int,
    purpose: str,
    first_step: int = 0,
) -> tf.data.Dataset:
    """Yields the batches of one pass after the other, without end.

    Args:
        draw_pass: Function from random numbers to indices of samples `(batches_per_pass,
            batch_size)`.
        batches_per_pass: Number of batches of a pass.
        batch_size: Number of samples of a batch.
        seed: The seed of the experiment.
        purpose: What is drawn; every purpose has its own random numbers.
        first_step: Number of batches to skip, which takes no time. Defaults to 0.

    Returns:
        A dataset of int64 vectors `(batch_size,)`.
    """
    check_whole_number("first_step", first_step, 0)
    first_pass, passed_over = divmod(first_step, batches_per_pass)

    def draw(number):
        return draw_pass(make_generator(seed, purpose, int(number))).astype("int64")

    def one_pass(number):
        batches = tf.numpy_function(draw, [number], tf.int64)
        return tf.ensure_shape(batches, [batches_per_pass, batch_size])

    with tf.device("CPU"):
        passes = tf.data.Dataset.counter(first_pass).map(one_pass)
    return passes.unbatch().skip(passed_over)
