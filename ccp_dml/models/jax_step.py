"""A training step with JAX; `tensorflow_step.py` is the same with TensorFlow."""

import itertools

import jax
import keras
import numpy as np

from ccp_dml.distribution import count_shares, num_workers
from ccp_dml.distribution.jax.strategies import distribution_scope
from ccp_dml.models.batch_checks import DEFAULT_BATCH_SIZE, BatchChecks
from ccp_dml.models.gradient_cache import join_parts, split_batch, take_part
from ccp_dml.models.keras_internals import StatelessModel


class JaxStep(StatelessModel):
    """Takes the steps of a `MetricLearningModel` with JAX.

    Under a `keras.distribution` the batch is that of all devices, and XLA divides the work. A step
    takes the values of all variables and returns those that they have after it.

    Attributes:
        distribution: The distribution in whose scope the model was created and is trained; `None`
            without one.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.distribution = keras.distribution.distribution()

    def compile(self, *args, **kwargs):
        # There are no graphs: without compilation, Python runs operation by operation. To debug a
        # step there is `run_eagerly`.
        super().compile(*args, **{**kwargs, "jit_compile": not kwargs.get("run_eagerly", False)})

    def train_step(self, state, data):
        inputs, labels = self.unpack(data)
        trainable, others = list(state[0]), [*itertools.chain(*state[1:])]
        with self._scope_of(trainable, others):
            sample = self.sample_proxies(labels)

        count = len(self.non_trainable_variables)

        def apply(compute, values, changed, *arguments):
            """Computes the objective, and the new values of the non-trainable variables."""
            current, rows = list(values), sample
            if sample is not None:
                proxies = self.index_of_proxies()
                current[proxies] = trainable[proxies]
                rows = sample._replace(vectors=values[proxies])
            variable_values = current, [*changed, *others[count:]]
            with self._scope_of(*variable_values, collect_losses=True) as scope:
                result = compute(*arguments, sample=rows)
            return result, [scope.get_current_value(each) for each in self.non_trainable_variables]

        values = list(trainable)
        if sample is not None:
            # Differentiates only these rows: the gradient of all others is zero.
            values[self.index_of_proxies()] = sample.vectors
        compute_gradients = (
            self._compute_gradients if self.gradient_cache_parts == 1 else self._cache_gradients
        )
        gradients, results, others[:count] = compute_gradients(
            inputs, labels, apply, values, others[:count]
        )
        with self._scope_of(trainable, others) as scope:
            self.apply_gradients(gradients, sample)
            logs = self.finish_step(labels, labels, results)
        return logs, tuple(
            [scope.get_current_value(variable) for variable in group]
            for group in self._variable_groups()
        )

    def _compute_gradients(self, inputs, labels, apply, values, changed):
        def compute_objective(values):
            (loss, results), aside = apply(self.compute_objective, values, changed, inputs, labels)
            return loss, (results, aside)

        gradients, (results, changed) = jax.grad(compute_objective, has_aux=True)(values)
        return gradients, results, changed

    def _cache_gradients(self, inputs, labels, apply, values, initial):
        """Does the same as `_compute_gradients` for a network that sees the batch in parts."""
        parts = split_batch(inputs, self.gradient_cache_parts)
        indices = jax.numpy.arange(self.gradient_cache_parts)

        def embed(values, changed, index):
            def embed_part(sample):
                return self.loss_inputs(take_part(parts, index), training=True)

            return apply(embed_part, values, changed)

        def embed_next(changed, index):
            outputs, changed = embed(values, changed, index)
            return changed, outputs

        # One part after the other, so that memory holds the activations of a single part.
        changed, outputs = jax.lax.scan(embed_next, initial, indices)

        def compute_objective(values, outputs):
            (loss, results), aside = apply(
                self.compute_objective_from_outputs, values, changed, outputs, labels
            )
            return loss, (results, aside)

        (gradients, output_gradients), (results, changed) = jax.grad(
            compute_objective, argnums=(0, 1), has_aux=True
        )(values, join_parts(outputs))
        output_gradients = split_batch(output_gradients, self.gradient_cache_parts)

        def add_next(state, index):
            # The same dropout as in the first pass.
            present, sums = state
            _, pull_back, present = jax.vjp(
                lambda values: embed(values, present, index), values, has_aux=True
            )
            (part_gradients,) = pull_back(take_part(output_gradients, index))
            sums = [total + each for total, each in zip(sums, part_gradients, strict=True)]
            return (present, sums), None

        (_, gradients), _ = jax.lax.scan(add_next, (initial, gradients), indices)
        return gradients, results, changed

    def test_step(self, state, data):
        trainable, non_trainable, metrics = state
        optimizer = [variable.value for variable in self.optimizer.variables]
        with self._scope_of(trainable, [*non_trainable, *optimizer, *metrics]) as scope:
            logs = self.evaluate_batch(*self.unpack(data))
        trainable, non_trainable, _, metrics = (
            [scope.get_current_value(variable) for variable in group]
            for group in self._variable_groups()
        )
        return logs, (trainable, non_trainable, metrics)

    def fit(self, *args, **kwargs):
        """Trains the model; see `keras.Model.fit`.

        Raises:
            ValueError: If the optimizer was not created in the scope of the model.
        """
        if self.distribution is not None:
            devices = self.distribution.device_mesh.devices.size
            for variable in self.optimizer.variables:
                if len(variable.value.sharding.device_set) != devices:
                    raise ValueError(
                        f"{variable.path} is not on all of the {devices} devices of the model: "
                        "make the optimizer, and compile the model, in the scope of its strategy"
                    )
        with distribution_scope(self.distribution):
            return super().fit(*args, **kwargs)

    def predict(self, x, batch_size=None, *args, **kwargs):
        """Predicts embeddings; see `keras.Model.predict`.

        Arrays may have any number of rows. The size of every batch of a data set must be a multiple
        of the number of devices; `ccp_dml.evaluation.embed` has no such restriction.

        Raises:
            ValueError: On several hosts, whose parts Keras cannot put together.
        """
        if num_workers() > 1:
            raise ValueError(
                "predict gives each host its own part of the embeddings: use "
                "ccp_dml.evaluation.embed, which gives all of them to every host"
            )
        shares, count = count_shares(self), None
        if shares > 1 and isinstance(x, np.ndarray):
            batch_size = _round_up(batch_size or DEFAULT_BATCH_SIZE, shares)
            count = len(x)
            filling = np.zeros((_round_up(count, shares) - count, *x.shape[1:]), x.dtype)
            x = np.concatenate([x, filling])
        with distribution_scope(self.distribution):
            return super().predict(x, batch_size, *args, **kwargs)[:count]

    def evaluate(self, x=None, y=None, batch_size=None, *args, **kwargs):
        """Computes the loss of batches; see `keras.Model.evaluate`.

        Raises:
            ValueError: If they are arrays and the size of a batch is not a multiple of the number
                of devices.
        """
        if isinstance(y, np.ndarray):
            checks = BatchChecks(count_shares(self), equal_shares=True)
            checks.check_arrays(y, batch_size or DEFAULT_BATCH_SIZE, kwargs.get("steps"))
        with distribution_scope(self.distribution):
            return super().evaluate(x, y, batch_size, *args, **kwargs)

    def _variable_groups(self):
        return (
            self.trainable_variables,
            self.non_trainable_variables,
            self.optimizer.variables,
            self.metrics_variables,
        )

    def _scope_of(self, trainable, others, **options):
        """A scope in which the variables have values."""
        variables = itertools.chain(*self._variable_groups())
        mapping = list(zip(variables, [*trainable, *others], strict=True))
        return keras.StatelessScope(state_mapping=mapping, **options)


def _round_up(number, divisor):
    return -(-number // divisor) * divisor
