"""A training step with TensorFlow; `jax_step.py` is the same with JAX."""

import tensorflow as tf

from ccp_dml import distribution
from ccp_dml.backend import fuse_if_any_large
from ccp_dml.models.gradient_cache import find_random_states, join_parts, split_batch, take_part
from ccp_dml.models.keras_internals import DistributedModel

_ZERO = tf.UnconnectedGradients.ZERO


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
        if replicas > 1 and self.optimizer.gradient_accumulation_steps:
            raise ValueError(
                "gradient_accumulation_steps must be None with several replicas, because "
                "TensorFlow then cannot apply gradients in only some of the steps; got "
                f"{self.optimizer.gradient_accumulation_steps} with {replicas} replicas"
            )

    def train_step(self, data):
        inputs, labels = self.unpack(data)
        all_labels = distribution.gather(labels)
        sample = self.sample_proxies(all_labels)
        values = [variable.value for variable in self.trainable_variables]
        if sample is not None:
            # Differentiates only these rows: the gradient of all others is zero.
            values[self.index_of_proxies()] = sample.vectors
        compute_gradients = (
            self._compute_gradients if self.gradient_cache_parts == 1 else self._cache_gradients
        )
        gradients, results = compute_gradients(inputs, all_labels, sample, values)
        gradients = distribution.sum_over_replicas([*map(tf.convert_to_tensor, gradients)])

        def apply(*gradients):
            self.apply_gradients(gradients, sample)

        # XLA cannot compile the exchange between replicas, and gains nothing for single rows.
        if sample is None and distribution.num_replicas() == 1:
            apply = fuse_if_any_large(apply)
        apply(*gradients)
        return self.finish_step(labels, all_labels, results)

    def _compute_gradients(self, inputs, labels, sample, values):
        with tf.GradientTape() as tape:
            if sample is not None:
                tape.watch(sample.vectors)
            loss, results = self.compute_objective(inputs, labels, sample)
        return tape.gradient(loss, values, unconnected_gradients=_ZERO), results

    def _cache_gradients(self, inputs, labels, sample, values):
        """Does the same as `_compute_gradients` for a network that sees the batch in parts."""
        parts = split_batch(inputs, self.gradient_cache_parts)
        random_states = [(state, tf.identity(state)) for state in find_random_states(self)]
        outputs = self._embed_parts(parts)
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            if sample is not None:
                tape.watch(sample.vectors)
            loss, results = self.compute_objective_from_outputs(outputs, labels, sample)
        gradients, output_gradients = tape.gradient(
            loss, (values, outputs), unconnected_gradients=_ZERO
        )
        # The same dropout as in the first pass.
        for state, value in random_states:
            state.assign(value)
        output_gradients = split_batch(output_gradients, self.gradient_cache_parts)

        def add_part(index, *sums):
            with tf.GradientTape() as part_tape:
                part_outputs = self.loss_inputs(take_part(parts, index), training=True)
            part_gradients = part_tape.gradient(
                part_outputs, values, output_gradients=take_part(output_gradients, index)
            )
            return index + 1, *(
                total if gradient is None else total + gradient
                for total, gradient in zip(sums, part_gradients, strict=True)
            )

        _, *gradients = self._repeat(add_part, 0, *map(tf.convert_to_tensor, gradients))
        return gradients, results

    def _embed_parts(self, parts):
        """Computes the network's output for the batch without storing anything for a gradient."""

        def embed(index):
            return self.loss_inputs(take_part(parts, index), training=True)

        first = embed(0)
        arrays = [
            tf.TensorArray(tensor.dtype, self.gradient_cache_parts, element_shape=tensor.shape)
            for tensor in tf.nest.flatten(first)
        ]

        def write(index, outputs, arrays):
            tensors = tf.nest.flatten(outputs)
            return [array.write(index, each) for array, each in zip(arrays, tensors, strict=True)]

        def embed_part(index, *arrays):
            return index + 1, *write(index, embed(index), arrays)

        _, *arrays = self._repeat(embed_part, 1, *write(0, first, arrays))
        return join_parts(tf.nest.pack_sequence_as(first, [each.stack() for each in arrays]))

    def _repeat(self, body, first_part, *state):
        """Processes the parts one after the other, so that memory holds a single one."""
        return tf.while_loop(
            lambda index, *state: index < self.gradient_cache_parts,
            body,
            (tf.constant(first_part), *state),
            parallel_iterations=1,
        )

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
            "steps_per_execution must be 1 with several replicas, because TensorFlow then "
            f"cannot run a loop of steps; got {steps_per_execution} with {replicas} replicas"
        )
