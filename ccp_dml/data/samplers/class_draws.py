"""One sample of every class at a time."""

import numpy as np
import tensorflow as tf

from ccp_dml.data.parallelism import disable_autotuning
from ccp_dml.data.samplers.samples_by_class import SamplesByClass, draw_least_used
from ccp_dml.data.samplers.seeds import stateless_seed


def class_draws(labels: np.ndarray, seed: int) -> tf.data.Dataset:
    """Yields endless draws of one sample of every class, in class order.

    The draws of a class are without replacement until its samples run out.

    Args:
        labels: Integer labels of the samples `(n,)`; any integers.
        seed: Determines the draws.

    Returns:
        A dataset of int64 vectors `(C,)`, indices into `labels`, in ascending order of the classes.

    Raises:
        ValueError: If there are no samples.
    """
    by_class = SamplesByClass(labels)

    def one_draw(uses, step):
        uses, draws = draw_least_used(by_class, uses, 1, stateless_seed(seed, "draws", step))
        return uses, draws[:, 0]

    with tf.device("CPU"):
        initial_uses = tf.zeros(by_class.num_samples, tf.int64)
    return disable_autotuning(tf.data.Dataset.counter().scan(initial_uses, one_draw))
