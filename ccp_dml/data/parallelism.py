"""Parallel work in tf.data pipelines, without autotuning.

While a pipeline runs, a TensorFlow thread tunes everything that is set to `tf.data.AUTOTUNE`, at
first every 10 ms and later every minute. A pipeline ends only when that thread does; on busy
processors the thread misses the call to end and sleeps until it would tune again: up to a minute
after every training and every validation. With fixed numbers there is no such thread, and the first
images do not have to wait until their parallelism is found.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from ccp_dml.processor_count import count_processors

PREFETCHED_BATCHES = 2


def map_in_parallel(dataset: tf.data.Dataset, function: Callable[..., Any]) -> tf.data.Dataset:
    """Maps a function over the elements of a dataset on all processors, and keeps their order.

    Args:
        dataset: The dataset.
        function: The function.
    """
    return dataset.map(function, num_parallel_calls=count_processors())


def disable_autotuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns the dataset without autotuning, which holds for every dataset made from it.

    Args:
        dataset: A dataset without `tf.data.AUTOTUNE`, which would mean 1.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
