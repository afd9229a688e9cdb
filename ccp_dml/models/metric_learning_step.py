"""The parts of a training step that are the same with every backend.

From the network's output to the objective, from its gradients to the optimizer, and to the logs.
The steps in `tensorflow_step.py` and `jax_step.py` differ only in how gradients are computed and
how variables change: TensorFlow writes to them, JAX takes and returns their values.
"""

from typing import Any, NamedTuple

import keras

from ccp_dml import distribution
from ccp_dml.layers import ProxySample
from ccp_dml.models.batch_checks import unpack_batch
from ccp_dml.optimizers import update_rows

if keras.backend.backend() == "jax":
    from ccp_dml.models.jax_step import JaxStep as BackendStep
else:
    from ccp_dml.models.tensorflow_step import TensorFlowStep as BackendStep


class StepResults(NamedTuple):
    """The results of a step besides the objective.

    Attributes:
        batch_losses: See `ccp_dml.models.MetricLearningModel.batch_losses`.
        embeddings: The embeddings of this replica's samples, before normalisation.
        all_embeddings: Those of the global batch.
    """

    batch_losses: dict[str, Any]
    embeddings: Any
    all_embeddings: Any


class LossTerm(keras.metrics.Mean):
    """The mean of one term of the loss, shown during training only."""


class MetricLearningStep(BackendStep):  # pyright: ignore[reportGeneralTypeIssues] (one of two)
    """Takes the steps of a `MetricLearningModel`, which defines its losses and its gradients.

    The step of the backend computes the gradients of the objective and calls these methods.
    """

    def sample_proxies(self, labels) -> ProxySample | None:
        """Draws the proxies that a step uses; `None`, as here, if it uses all of them.

        Args:
            labels: The labels of the (global) batch `(n,)`.
        """
        return None

    def compute_objective(self, inputs, labels, sample: ProxySample | None):
        """Computes the objective of a step from this replica's share of the batch.

        Args:
            inputs: This replica's inputs.
            labels: Those of the global batch `(n,)`.
            sample: The proxies that the step uses, as `sample_proxies` returns them.

        Returns:
            The scalar to minimise, divided by the number of replicas, and `StepResults`.
        """
        return self.compute_objective_from_outputs(
            self.loss_inputs(inputs, training=True), labels, sample
        )

    def compute_objective_from_outputs(self, outputs, labels, sample: ProxySample | None):
        """Computes the objective of a step from the output of the network.

        Args:
            outputs: What `loss_inputs` returned for this replica's inputs.
            labels: See `compute_objective`.
            sample: See `compute_objective`.

        Returns:
            See `compute_objective`.
        """
        all_outputs = distribution.gather(outputs)
        memory_start = None
        if self.memory is not None:
            self.memory.check_labels(labels)
        if self.memory is not None and self.memory.includes_batch:
            self.memory.add(labels, self.extract_embeddings(all_outputs))
            memory_start = self.memory.last_batch_start()
        batch_losses = self.batch_losses(labels, all_outputs, sample, memory_start)
        batch_losses["loss"] += sum(self.embedding_model.losses)
        # Every replica computes the whole loss, and the gradient of gathering adds up the gradients
        # of all.
        loss = batch_losses["loss"] / distribution.num_replicas()
        embeddings = map(self.extract_embeddings, (outputs, all_outputs))
        return loss, StepResults(batch_losses, *embeddings)

    def apply_gradients(self, gradients, sample: ProxySample | None):
        """Applies the gradients of the objective.

        Args:
            gradients: One for each of the trainable variables, summed over replicas.
            sample: See `compute_objective`. With a sample, the gradient of the proxies is that of
                its rows.
        """
        variables = self.trainable_variables
        weights = list(variables)
        if sample is not None:
            proxies = self.index_of_proxies()
            weights[proxies] = sample.vectors
        gradients = self.transform_gradients(list(gradients), variables, weights)
        if sample is not None:
            update_rows(
                self.optimizer,
                gradients.pop(proxies),
                variables.pop(proxies),
                sample.rows,
                sample.vectors,
            )
        if distribution.num_replicas() > 1:
            # The optimizer sums over the replicas once more.
            gradients = [gradient / distribution.num_replicas() for gradient in gradients]
        self.optimizer.apply(gradients, variables)

    def index_of_proxies(self) -> int:
        """Returns the position of the proxies, if there are any, among the trainable variables."""
        return [each is self.proxies.vectors for each in self.trainable_variables].index(True)

    def finish_step(self, labels, all_labels, results: StepResults) -> dict[str, Any]:
        """Finishes a step: adds the batch to the memory and returns the logs.

        Args:
            labels: The labels of this replica's share of the batch.
            all_labels: Those of the global batch.
            results: What `compute_objective` returned.
        """
        if self.memory is not None and not self.memory.includes_batch:
            self.memory.add(all_labels, results.all_embeddings)
        return self._update_metrics(results.batch_losses, labels, results.embeddings)

    def evaluate_batch(self, inputs, labels) -> dict[str, Any]:
        """Returns the logs of a batch of `evaluate`.

        They hold the loss among its samples, whatever their classes.

        Args:
            inputs: This replica's inputs.
            labels: Their labels.
        """
        embeddings = self._embed_share(inputs, training=False)
        loss = self.evaluation_loss(distribution.gather(labels), distribution.gather(embeddings))
        return self._update_metrics({"loss": loss}, labels, embeddings)

    def unpack(self, data):
        """Unpacks inputs and labels of a batch, and builds the model from the inputs if necessary.

        See `unpack_batch` of `ccp_dml.models.batch_checks`.
        """
        inputs, labels = unpack_batch(data, self.takes_several_labels)
        if not self.built:
            self.build(inputs.shape)
            self._prepare_optimizer()
        return inputs, labels

    def _update_metrics(self, batch_losses, labels, embeddings):
        results = self.compute_metrics(
            None, labels, self.normalization(embeddings), sample_weight=None
        )
        terms = {metric.name: metric for metric in self.metrics if isinstance(metric, LossTerm)}
        results = {name: value for name, value in results.items() if name not in terms}
        for metric in self.metrics:
            if metric.name in batch_losses:
                metric.update_state(batch_losses[metric.name])
                results[metric.name] = metric.result()
        return results
