"""A training step with TensorFlow; `jax_step.py` is the same with JAX."""

import tensorflow as tf

from ccp_dml import distribution
from ccp_dml.backend import fuse_if_any_large
from ccp_dml.models.keras_internals import DistributedModel


class TensorFlowStep(DistributedModel):
    """Takes the steps of a `MetricLearningModel` with TensorFlow.

    Under a `tf.distribute` strategy each replica takes the step with its share of the batch.
    """

    def compile(self, *args, **kwargs):
        replicas = self.distribute_strategy.num_replicas_in_sync
        if replicas > 1:
            _check_replicated_steps(replicas, **kwargs)
            kwargs["jit_compile"] = False
        super().compile(*args, **kwargs)

    def train_step(self, data):
        inputs, labels = self.unpack(data)
        all_labels = distribution.gather(labels)
        sample = self.sample_proxies(all_labels)
        values = [variable.value for variable in self.trainable_variables]
        if sample is not None:
            # Not a gradient of all rows that is zero but for these.
            values[self.index_of_proxies()] = sample.vectors
        with tf.GradientTape() as tape:
            if sample is not None:
                tape.watch(sample.vectors)
            loss, results = self.compute_objective(inputs, all_labels, sample)
        gradients = tape.gradient(loss, values, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        gradients = distribution.sum_over_replicas([*map(tf.convert_to_tensor, gradients)])

        def apply(*gradients):
            self.apply_gradients(gradients, sample)

        # XLA does not compile what replicas exchange, and gains nothing for single rows.
        if sample is None and distribution.num_replicas() == 1:
            apply = fuse_if_any_large(apply)
        apply(*gradients)
        return self.finish_step(labels, all_labels, results)

    def test_step(self, data):
        return self.evaluate_batch(*self.unpack(data))


def _check_replicated_steps(replicas, jit_compile="auto", steps_per_execution=1, **_):
    if jit_compile not in (False, "auto"):
        raise ValueError(
            f"XLA cannot compile the steps of several replicas, here {replicas}: use "
            "jit_compile=False, or one device"
        )
    if steps_per_execution > 1:
        raise ValueError(
            "steps_per_execution must be 1 with several replicas, for which TensorFlow cannot "
            f"run a loop of steps; got {steps_per_execution} with {replicas} replicas"
        )
