"""Training of an embedding network with a metric loss over the batch."""

import keras
import tensorflow as tf

from ccp_dml import losses, replicas
from ccp_dml.layers import LipschitzNormalization
from ccp_dml.models import gradients as gradient_steps


@keras.saving.register_keras_serializable("ccp_dml")
class MetricLearningModel(keras.Model):
    """An embedding network trained with a pairwise loss among the samples of a batch.

    A training step computes the gradients of the loss (and of the embedding network's own
    regularisation losses, if it has some), adds `weight_decay · w`, clips by the global
    norm, clips each value, and applies the optimizer, in this order. Under a `tf.distribute`
    strategy the batch is the global batch: embeddings are gathered from all replicas before the
    loss, and gradients are added up before they are clipped, so that any number of replicas takes
    the steps of one.

    Compile it with a loss of `ccp_dml.losses` (or its name) and fit it to images and integer
    labels.

    Args:
        embedding_model: A `keras.Model` from inputs to embeddings `(batch, d)` before
            normalisation, such as an `EmbeddingModel`.
        weight_decay: Coefficient of the L2 regularisation of every trainable weight except those of
            batch normalisation. Defaults to 0.
        clip_norm: Largest global norm of the gradients. Defaults to 10; `None` does not clip.
        clip_value: Largest absolute value of a gradient. Defaults to 10; `None` does not clip.

    Call arguments:
        inputs: What `embedding_model` takes.

    Returns:
        Embeddings `(batch, d)` after the Lipschitz normalisation: what distances are taken of.

    Raises:
        ValueError: If `weight_decay` is negative or a clipping bound is not positive.

    Example:

    >>> model = MetricLearningModel(EmbeddingModel(small_convnet((8, 8, 1)), embedding_size=16))
    >>> model.compile(keras.optimizers.Adam(1e-3), loss="contrastive")
    >>> images, labels = np.random.rand(20, 8, 8, 1), np.arange(20) % 5
    >>> history = model.fit(images, labels, batch_size=10, verbose=0)
    >>> model.predict(images, verbose=0).shape
    (20, 16)
    """

    def __init__(
        self,
        embedding_model: keras.Model,
        weight_decay: float = 0.0,
        clip_norm: float | None = 10.0,
        clip_value: float | None = 10.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if weight_decay < 0:
            raise ValueError(f"weight_decay must be at least 0; got {weight_decay}")
        for name, value in [("clip_norm", clip_norm), ("clip_value", clip_value)]:
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be above 0 or None; got {value}")
        self.embedding_model = embedding_model
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.clip_value = clip_value
        self.normalization = LipschitzNormalization(name="normalization")

    def build(self, input_shape):
        if not self.embedding_model.built:
            self.embedding_model.build(input_shape)
        self.normalization.build(self.embedding_model.compute_output_shape(input_shape))
        self.built = True

    def call(self, inputs, training=None):
        return self.normalization(self.embedding_model(inputs, training=training))

    def compile(self, optimizer="rmsprop", loss=None, **kwargs):
        """Configures training; see `keras.Model.compile`.

        Args:
            optimizer: A Keras optimizer or its name.
            loss: A `ccp_dml.losses.PairwiseLoss` or its name.
            **kwargs: As in `keras.Model.compile`.

        Raises:
            ValueError: If `loss` is not a pairwise loss, for `loss_weights`, or if the optimizer
                scales the loss, as Keras makes it do under the policy `mixed_float16`.
        """
        if isinstance(loss, str):
            loss = losses.get(loss)
        if not isinstance(loss, losses.PairwiseLoss):
            raise ValueError(
                f"loss must be a ccp_dml.losses.PairwiseLoss or one of the names "
                f"{', '.join(losses.LOSSES)}; got {loss!r}"
            )
        if kwargs.get("loss_weights") is not None:
            raise ValueError("there is one loss: loss_weights must be None")
        super().compile(optimizer=optimizer, loss=loss, **kwargs)
        self._has_compiled_metrics = bool(kwargs.get("metrics") or kwargs.get("weighted_metrics"))
        # Callbacks and strategies want the variables before the first step.
        input_shape = getattr(self.embedding_model, "input_shape", None)
        if not self.built and input_shape is not None:
            self.build(input_shape)
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            raise ValueError(
                "loss scaling does not go with weight decay and clipping, which are of unscaled "
                "gradients: use the policy mixed_bfloat16 instead of mixed_float16"
            )
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def compile_from_config(self, config):
        """Compiles as the saved model was; Keras does so by itself only with its own `compile`."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # To learn shapes, Keras averages the replicas' shares of the first batch, which fails when
        # they differ in size. A model that has all its variables has nothing to learn.
        if not self.built or self._has_compiled_metrics:
            super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)

    def batch_losses(self, labels, embeddings) -> dict[str, tf.Tensor]:
        """The losses of a (global) batch.

        Args:
            labels: `(n,)`.
            embeddings: `(n, d)`, before normalisation.

        Returns:
            Scalars by name; what is minimised is `"loss"`.
        """
        return {"loss": self.loss.call(labels, embeddings)}

    def regularized(self, gradients, variables):
        """Turns the gradients of the loss into those that the optimizer applies.

        Args:
            gradients: List of tensors, summed over replicas.
            variables: The variables they belong to.

        Returns:
            List of tensors.
        """
        undecayed = {id(weight) for weight in _batch_normalization_weights(self)}
        is_decayed = [id(variable) not in undecayed for variable in variables]
        gradients = gradient_steps.add_weight_decay(
            gradients, variables, self.weight_decay, is_decayed
        )
        return gradient_steps.clip(gradients, self.clip_norm, self.clip_value)

    def train_step(self, data):
        inputs, labels = self._unpacked(data)
        with tf.GradientTape() as tape:
            embeddings = self.embedding_model(inputs, training=True)
            batch_losses = self.batch_losses(replicas.gather(labels), replicas.gather(embeddings))
            batch_losses["loss"] += sum(self.embedding_model.losses)
            # Every replica computes the whole loss, and gathering adds up what flows back.
            loss = batch_losses["loss"] / replicas.num_replicas()
        variables = self.trainable_variables
        gradients = tape.gradient(
            loss,
            [variable.value for variable in variables],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        gradients = self.regularized(replicas.sum_over_replicas(gradients), variables)
        # The optimizer adds up over the replicas once more.
        gradients = [gradient / replicas.num_replicas() for gradient in gradients]
        self.optimizer.apply(gradients, variables)
        return self._updated_metrics(batch_losses, labels, embeddings)

    def test_step(self, data):
        """The pairwise loss among the samples of the batch, whatever their classes."""
        inputs, labels = self._unpacked(data)
        embeddings = self.embedding_model(inputs, training=False)
        loss = self.loss.call(replicas.gather(labels), replicas.gather(embeddings))
        return self._updated_metrics({"loss": loss}, labels, embeddings)

    def _unpacked(self, data):
        inputs, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if labels is None:
            raise ValueError("metric learning needs labels: pass (inputs, labels)")
        if sample_weight is not None:
            raise ValueError("metric losses are over pairs: sample_weight must be None")
        if not self.built:
            self.build(inputs.shape)
        return inputs, tf.reshape(labels, [-1])

    def _updated_metrics(self, batch_losses, labels, embeddings):
        results = self.compute_metrics(
            None, labels, self.normalization(embeddings), sample_weight=None
        )
        parts = {metric.name: metric for metric in self.metrics if isinstance(metric, LossPart)}
        results = {name: value for name, value in results.items() if name not in parts}
        for metric in self.metrics:
            if metric.name in batch_losses:
                metric.update_state(batch_losses[metric.name])
                results[metric.name] = metric.result()
        return results

    def get_config(self):
        return {
            **super().get_config(),
            "embedding_model": keras.saving.serialize_keras_object(self.embedding_model),
            "weight_decay": self.weight_decay,
            "clip_norm": self.clip_norm,
            "clip_value": self.clip_value,
        }

    @classmethod
    def from_config(cls, config):
        embedding_model = keras.saving.deserialize_keras_object(config["embedding_model"])
        return cls(**{**config, "embedding_model": embedding_model})


class LossPart(keras.metrics.Mean):
    """The mean of one term of the loss, shown in training only."""


def _batch_normalization_weights(model):
    return [
        weight
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
        for weight in layer.weights
    ]
