"""The copies of a variable on the replicas of a `tf.distribute` strategy."""

from collections.abc import Callable

import keras
import tensorflow as tf


def update_copies(variable: keras.Variable, update: Callable, *arguments):
    """Updates every replica's copy of a variable, inside and outside a replica context.

    For updates that `keras.Variable` does not support with copies, such as writing single rows.

    Args:
        variable: The variable.
        update: Function that is called with each copy, a `tf.Variable`, and the arguments of its
            replica.
        *arguments: Tensors; every replica has to pass equal ones if the copies are to stay equal.
    """

    def update_all(strategy, *arguments):
        strategy.extended.update(variable.value, update, args=arguments, group=False)

    strategy = getattr(variable.value, "distribute_strategy", tf.distribute.get_strategy())
    context = tf.distribute.get_replica_context()
    if context is not None and context.strategy is strategy:
        # Like Keras's optimizers: some strategies have no `merge_call`.
        tf.__internal__.distribute.interim.maybe_merge_call(update_all, strategy, *arguments)
        return
    with strategy.scope():
        update_all(strategy, *arguments)
