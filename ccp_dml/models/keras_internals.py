"""Parts of Keras outside its public interface that the models need.

`tests/models/test_keras_internals.py` fails when a new version of Keras no longer has them.
"""

import functools
from collections.abc import Callable

import keras
import tensorflow as tf


def flatten_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns a model and all layers in it, however deep they are nested.

    Args:
        model: The model.
    """
    return model._flatten_layers()


def count_steps(optimizer: keras.optimizers.Optimizer):
    """Returns the number of steps so far, an integer scalar.

    `optimizer.iterations` is the number of updates: with `gradient_accumulation_steps` it stays the
    same over several steps, which would then draw the same random numbers.

    Args:
        optimizer: A Keras optimizer.
    """
    return optimizer._iterations.value


def keep_logs_of_first_replica():
    """Makes `fit` and `evaluate` take the logs of a step from the first replica of this worker.

    Under a multi-worker strategy Keras averages the logs over their first axis, which scalars do
    not have (tensorflow issue 72388). Our losses are those of the global batch and therefore the
    same on all replicas; the logs of an epoch are computed from the metrics, over all replicas.
    """
    from keras.src.backend.tensorflow import trainer

    if hasattr(trainer.reduce_per_replica, "__wrapped__"):
        return

    @functools.wraps(trainer.reduce_per_replica)
    def reduce_per_replica(values, strategy, reduction):
        if reduction == "auto" and _is_multi_worker(strategy):
            reduction = "first"
        return reduce_per_replica.__wrapped__(values, strategy, reduction)

    trainer.reduce_per_replica = reduce_per_replica


def sync_variables(model: keras.Model):
    """Gives the variables of a model their values between two steps of an epoch.

    With JAX, Keras trains on values of its own and empties the variables until the epoch has ended.
    After this call they can be read, and the next step starts from what is written to them. With
    TensorFlow they always have their values.

    Args:
        model: The model.
    """
    if keras.backend.backend() == "jax":
        model.jax_state_sync()


def wrap_train_function(model: keras.Model, take_step: Callable) -> Callable:
    """Makes a function decide whether and how `fit` takes its next steps.

    Args:
        model: The model, within `fit`.
        take_step: Called with a function without arguments that takes a step, or
            `steps_per_execution` of them, and returns its logs; must return the logs of the step.
            If it does not call that function, nothing changes and no batch is read.

    Returns:
        The function that `fit` called so far, to be assigned to `model.train_function` again.
    """
    train_function = model.train_function

    def take_step_of_tensorflow(iterator):
        return take_step(lambda: train_function(iterator))

    def take_step_of_jax(state, iterator):
        def step():
            nonlocal state
            logs, state = train_function(state, iterator)
            return logs

        logs = take_step(step)
        return logs, state

    is_jax = keras.backend.backend() == "jax"
    model.train_function = take_step_of_jax if is_jax else take_step_of_tensorflow
    return train_function


def trace_predict_function(model: keras.Model, inputs: tf.data.Dataset):
    """Lets TensorFlow trace what `predict` computes once, for batches of any size.

    Keras has it traced for the size of the first batch, and again when another size comes. As
    TensorFlow counts the traces of all models together, a few models that predict a few batches
    each have it warn of frequent retracing.

    Nothing is done where `predict` has been traced before, does not trace, or takes something other
    than a batch at a time, or if shapes are not known.

    Args:
        model: The model, on a single device.
        inputs: Batches of its inputs.
    """
    was_traced = model.predict_function is not None
    if was_traced or not model.built or model.run_eagerly or model.steps_per_execution > 1:
        return
    if not all(
        isinstance(spec, tf.TensorSpec) and spec.shape[1:].is_fully_defined()
        for spec in tf.nest.flatten(inputs.element_spec)
    ):
        return
    batch = tf.nest.map_structure(
        lambda spec: tf.TensorSpec([None, *spec.shape[1:]], spec.dtype), inputs.element_spec
    )
    model.make_predict_function()
    model.predict_function.get_concrete_function([batch])


class SelfBuiltModel(keras.Model):
    """A model that Keras does not call before training, if it has built all its variables.

    To learn shapes, Keras calls the model and its loss with the first batch. Under a
    `tf.distribute` strategy it averages the replicas' shares of it, which fails when they differ in
    size.
    """

    def has_all_variables(self) -> bool:
        """Returns whether all variables are built, so that no batch is needed to build them."""
        return self.built

    def _symbolic_build(self, iterator=None, data_batch=None):
        if self.has_all_variables():
            return
        try:
            super()._symbolic_build(iterator=iterator, data_batch=data_batch)
        except RuntimeError as error:
            if self.built:
                raise
            raise ValueError(
                "the model has no weights yet: call model.build(input_shape) first"
            ) from error

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        if not self.has_all_variables():
            super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)


class StatelessModel(SelfBuiltModel):
    """A model that keeps its weights if the first step of `fit` with JAX fails.

    Keras empties the variables before a step, and afterwards, even after an error, restores what
    the last step returned; before the first step there is nothing to restore.
    """

    def _get_jax_state(self, *, purge_model_variables=False, **groups):
        state = super()._get_jax_state(purge_model_variables=purge_model_variables, **groups)
        if purge_model_variables:
            self._jax_state = dict(zip(groups, state, strict=True))
        return state


class DistributedModel(SelfBuiltModel):
    """A model that TensorFlow can train on several devices and machines."""

    def make_train_function(self, force=False):
        if _is_multi_worker(self.distribute_strategy):
            keep_logs_of_first_replica()
        return super().make_train_function(force)

    def make_test_function(self, force=False):
        if _is_multi_worker(self.distribute_strategy):
            keep_logs_of_first_replica()
        return super().make_test_function(force)


def _is_multi_worker(strategy):
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
