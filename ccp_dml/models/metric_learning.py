"""Training of an embedding network with a metric loss over the batch."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from ccp_dml import backend, distribution, losses
from ccp_dml.checks import check_above, check_at_least, check_whole_number
from ccp_dml.layers import CrossBatchMemory, LipschitzNormalization, ProxySample
from ccp_dml.models import gradients as gradient_steps
from ccp_dml.models.batch_checks import BatchChecks
from ccp_dml.models.gradient_cache import check_parts_are_independent
from ccp_dml.models.keras_internals import count_steps, flatten_layers
from ccp_dml.models.learning_rates import freeze_weights, set_learning_rates
from ccp_dml.models.loss_weights import LossWeights
from ccp_dml.models.metric_learning_step import LossTerm, MetricLearningStep

_HALF_PRECISION = ("float16", "bfloat16")


@keras.saving.register_keras_serializable("ccp_dml")
class MetricLearningModel(MetricLearningStep):
    """An embedding network trained with a pairwise loss among the samples of a batch.

    A training step computes the gradients of the loss (and of the embedding network's own
    regularisation losses, if it has any), adds `weight_decay · w`, clips by the global norm, clips
    each value, and applies the optimizer, in this order. Under a `tf.distribute` strategy the batch
    is the global batch: embeddings are gathered from all replicas before the loss, and gradients
    are added up before they are clipped, so that any number of replicas takes the same steps as
    one.

    Compile it with a loss of `ccp_dml.losses` (or its name) and fit it to images and integer
    labels `(n,)` or `(n, 1)`. With a loss that has a `same_class` function and without
    `num_classes`, labels may be `(n, k)`, several for each sample.

    Args:
        embedding_model: A `keras.Model` from inputs to embeddings `(batch, d)` before
            normalisation, such as an `EmbeddingModel`.
        weight_decay: Coefficient of the L2 regularisation of every trainable weight except those of
            batch normalisation. Defaults to 0.
        clip_norm: Largest global norm of the gradients. Defaults to 10; `None` does not clip.
        clip_value: Largest absolute value of a gradient. Defaults to 10; `None` does not clip.
        learning_rate_multipliers: Factors of the optimizer's learning rate by parts of the weights'
            paths, with `*` as a wildcard: `{"proxies": 100}` applies to the weights of every layer
            of that name and `{"backbone/*block_1_*": 0}` to some weights of the backbone, whose
            paths begin with `backbone`. Several factors that match are multiplied. Weights whose
            factor is 0 are frozen: they are not trainable, so that they have neither gradients nor
            moments nor weight decay. Defaults to `None`: no factors.
        layer_decay: Factor of the learning rate from each block of the backbone to the one before
            it, as is common for fine-tuning transformers; see
            `ccp_dml.models.learning_rates.decay_by_depth`. Defaults to 1.
        memory: A `CrossBatchMemory`, to which every batch is added. Once it is ready, the loss
            against its contents is added to that of the batch. Defaults to `None`.
        num_classes: Number of training classes C, for a loss that learns something besides the
            embeddings, such as the boundaries of `"margin"`; training labels are then 0…C − 1,
            which `fit` checks. These weights are not decayed. Defaults to `None`: they are not
            learned.
        gradient_cache_parts: Number of parts of a batch that the network processes one after the
            other, for batches whose activations do not fit into memory. The loss sees the whole
            batch, and the gradients are the same (Gao et al., "Scaling Deep Contrastive Learning
            Batch Size under Memory Limited Setup", RepL4NLP 2021). Every part is computed twice:
            first without storing activations, for the gradient of the loss with respect to the
            network's output, and again for the gradient of the weights. The number must divide the
            size of the batch, or of each replica's share. Defaults to 1: the whole batch at once.

    Attributes:
        loss_weights: The layer that holds the weights that the loss learns.
        backbone_frozen: A boolean variable. While it is set, the learning rate of the weights of
            `embedding_model.backbone` is 0. Their gradients are still computed, clipped with the
            others and passed to the optimizer, so that its first steps after that have the usual
            size.

    Call arguments:
        inputs: What `embedding_model` takes.

    Returns:
        Embeddings `(batch, d)` after the Lipschitz normalisation, as distances compare them.

    Raises:
        ValueError: If `weight_decay` or a multiplier is negative, a clipping bound or `layer_decay`
            is not positive, or `gradient_cache_parts` is below 1; when the model is compiled, if a
            multiplier matches no weight, if multipliers freeze all weights, if `layer_decay` is
            given but the backbone has no numbered blocks, or if `gradient_cache_parts` is above 1
            but batch normalisation is not frozen.

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
        learning_rate_multipliers: Mapping[str, float] | None = None,
        layer_decay: float = 1.0,
        memory: CrossBatchMemory | None = None,
        num_classes: int | None = None,
        gradient_cache_parts: int = 1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if num_classes is not None:
            check_whole_number("num_classes", num_classes, 1)
        check_whole_number("gradient_cache_parts", gradient_cache_parts, 1)
        check_at_least("weight_decay", weight_decay, 0)
        check_above("clip_norm", clip_norm, 0, optional=True)
        check_above("clip_value", clip_value, 0, optional=True)
        for part, multiplier in (learning_rate_multipliers or {}).items():
            check_at_least(f"learning_rate_multipliers[{part!r}]", multiplier, 0)
        check_above("layer_decay", layer_decay, 0)
        self.embedding_model = embedding_model
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.clip_value = clip_value
        self.learning_rate_multipliers = dict(learning_rate_multipliers or {})
        self.layer_decay = layer_decay
        self.memory = memory
        self.num_classes = num_classes
        self.gradient_cache_parts = gradient_cache_parts
        self._frozen_names = []
        self.normalization = LipschitzNormalization(name="normalization", dtype=self.variable_dtype)
        self.loss_weights = LossWeights(name="loss_weights")
        if memory is not None:
            self.batch_loss_mean = LossTerm(name="batch_loss")
            self.memory_loss_mean = LossTerm(name="memory_loss")

    def build(self, input_shape):
        if not self.embedding_model.built:
            self.embedding_model.build(input_shape)
        output_shape = self.embedding_model.compute_output_shape(input_shape)
        self.normalization.build(output_shape)
        if self.memory is not None and not self.memory.built:
            self.memory.build(output_shape)
        self.backbone_frozen = self.add_weight(
            shape=(), initializer="zeros", dtype="bool", trainable=False, name="backbone_frozen"
        )
        self.built = True
        self._frozen_names += freeze_weights(self)

    def call(self, inputs, training=None):
        return self.normalization(self._embed_share(inputs, training))

    def _embed_share(self, inputs, training):
        return distribution.apply_to_share(
            lambda share: self.embedding_model(share, training=training), inputs
        )

    def compile(self, optimizer="rmsprop", loss: Any = None, **kwargs):
        """Configures training; see `keras.Model.compile`.

        Args:
            optimizer: A Keras optimizer or its name.
            loss: What `ccp_dml.losses.get` takes: a `ccp_dml.losses.PairwiseLoss`, its name or its
                config.
            **kwargs: As in `keras.Model.compile`.

        Raises:
            ValueError: If `loss` is none of these; if `loss_weights` are given; if the optimizer
                scales the loss, as Keras makes it do under the policy `mixed_float16`, or has a
                `loss_scale_factor`; if weights are in half precision, as under the policies
                `bfloat16` and `float16`; or if there are several replicas and `jit_compile` is
                `True` (`"auto"` does not choose XLA there), `steps_per_execution` is above 1 or the
                optimizer has `gradient_accumulation_steps`.
        """
        loss = losses.get(loss)
        self._check_loss(loss)
        if kwargs.get("loss_weights") is not None:
            raise ValueError("the model has a single loss: loss_weights must be None")
        super().compile(optimizer=optimizer, loss=loss, **kwargs)
        if self.num_classes is not None:
            self.loss_weights.start(loss.initial_weights(self.num_classes))
        self._has_compiled_metrics = bool(kwargs.get("metrics") or kwargs.get("weighted_metrics"))
        # Callbacks and strategies need the variables before the first step.
        input_shape = getattr(self.embedding_model, "input_shape", None)
        if not self.built and input_shape is not None:
            self.build(input_shape)
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            raise ValueError(
                "loss scaling cannot be combined with weight decay and clipping, which need "
                "unscaled gradients: use the policy mixed_bfloat16 instead of mixed_float16"
            )
        if self.optimizer.loss_scale_factor is not None:
            raise ValueError(
                "the loss is not scaled, so the gradients must not be divided by a factor: "
                "loss_scale_factor of the optimizer must be None; got "
                f"{self.optimizer.loss_scale_factor}"
            )
        if self.built:
            self._prepare_optimizer()

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose: str | int = "auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle: bool | None = None,
        **kwargs,
    ):
        """Trains the model; see `keras.Model.fit`.

        By default, arrays and a `keras.utils.PyDataset` with a number of batches are shuffled.
        Other batches, such as those of a sampler, keep their order, without a warning from Keras.

        Labels, the size of the batches if there is a memory, and whether every device gets its
        share are checked before training if `x` and `y` are arrays, and batch by batch, before the
        step, if `x` is a `tf.data.Dataset`, a `keras.utils.PyDataset` or a generator. Other batches
        are checked within the step, but not under XLA.

        Raises:
            ValueError: If a check fails.
        """
        checks = BatchChecks(
            distribution.count_shares(self),
            distribution.STATIC_SHAPES,
            None if self.memory is None else self.memory.batch_size,
            self.num_classes,
            self.takes_several_labels,
        )
        x = checks.check_fit(x, y, batch_size, epochs, validation_split=validation_split, **kwargs)
        if shuffle is None:
            shuffle = y is not None or getattr(x, "num_batches", None) is not None
        try:
            with checks.explain_errors():
                return super().fit(
                    x,
                    y,
                    batch_size,
                    epochs,
                    verbose,
                    callbacks,
                    validation_split,
                    validation_data,
                    shuffle,
                    **kwargs,
                )
        except BaseException:
            # After an error, Keras does not call `on_train_end`, in which callbacks unset their
            # flags.
            if self.built:
                self._unset_flags()
            raise

    def _unset_flags(self):
        self.backbone_frozen.assign(False)

    def _prepare_optimizer(self):
        half = [each for each in self.trainable_variables if each.dtype in _HALF_PRECISION]
        if half:
            raise ValueError(
                f"{half[0].path}, one of {len(half)} such weights, is {half[0].dtype}, in which "
                "small updates are lost, so nothing is learned: use the policy mixed_bfloat16"
            )
        if self.gradient_cache_parts > 1:
            check_parts_are_independent(self.embedding_model)
        self._frozen_names += freeze_weights(self)
        self.optimizer = set_learning_rates(self.optimizer, self, self._frozen_names)
        self.optimizer.build(self.trainable_variables)

    def _check_loss(self, loss):
        if loss.needs_references:
            raise ValueError(
                f"the loss {type(loss).__name__} needs proxies: use ccp_dml.models.ProxyModel or a "
                "model derived from it"
            )

    def compile_from_config(self, config):
        """Compiles like the saved model; Keras does this only for its own `compile`."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def get_compile_config(self):
        optimizer = keras.saving.serialize_keras_object(self.optimizer)
        return {**super().get_compile_config(), "optimizer": optimizer}

    @property
    def takes_several_labels(self) -> bool:
        """Whether labels may be `(n, k)`; not if something is learned for each class."""
        return self.loss.same_class is not None and self.num_classes is None

    def has_all_variables(self):
        # The variables of compiled metrics are built by Keras.
        return self.built and not self._has_compiled_metrics

    def batch_losses(
        self, labels, outputs, sample: ProxySample | None = None, memory_start=None
    ) -> dict[str, Any]:
        """Computes the losses of a (global) batch.

        Args:
            labels: `(n,)`, or `(n, k)` if the model `takes_several_labels`.
            outputs: See `loss_inputs`; here embeddings `(n, d)`, before normalisation.
            sample: The proxies that the step uses, as `sample_proxies` returns them. Defaults to
                `None`: all of them.
            memory_start: The row of the memory at which these samples begin, if it holds them.
                Defaults to `None`: it does not.

        Returns:
            Scalars by name; `"loss"` is the one to minimise.
        """
        self._check_labels(labels)
        return self._compute_sample_losses(labels, outputs, memory_start)

    def evaluation_loss(self, labels, embeddings):
        """Computes the loss that `evaluate` reports, by default that among the samples of a batch.

        Their classes need not be training classes: the weights that the loss learns are not used.
        """
        return self.loss.call(labels, embeddings)

    def _check_labels(self, labels):
        if self.num_classes is not None:
            # In int32, some labels that are out of range would look right.
            labels = ops.cast(labels, keras.backend.result_type(labels.dtype, "int32"))
            in_range = ops.logical_and(labels >= 0, labels <= self.num_classes - 1)
            with backend.require(
                ops.all(in_range),
                f"training labels must be 0…{self.num_classes - 1}; see ccp_dml.data.contiguous",
            ):
                pass

    def _compute_pairwise_loss(
        self,
        labels,
        embeddings,
        references=None,
        reference_labels=None,
        references_are_trained=True,
        **options,
    ):
        """Computes the loss with its learned weights, and with random numbers for this step."""
        seed = ops.convert_to_tensor(count_steps(self.optimizer))

        def compute(embeddings, weights, references=references):
            return self.loss.call(
                labels, embeddings, references, reference_labels, seed=seed, **options, **weights
            )

        weights = self.loss_weights.by_name()
        if references is None:
            return compute(embeddings, weights)
        if references_are_trained:
            return backend.compute_with_gradients(compute, [embeddings, weights, references])
        return backend.compute_with_gradients(compute, [embeddings, weights], [references])

    def _compute_sample_losses(self, labels, embeddings, memory_start):
        batch_loss = self._compute_pairwise_loss(labels, embeddings)
        memory = self.memory
        if memory is None:
            return {"loss": batch_loss}
        memory_loss = ops.cond(
            memory.is_ready(),
            lambda: self._compute_pairwise_loss(
                labels,
                embeddings,
                # Read only once: after the ring was written to in place, every read copies it.
                ops.convert_to_tensor(memory.embeddings.value),
                ops.convert_to_tensor(memory.labels.value),
                references_are_trained=False,
                anchors_start=memory_start,
            ),
            lambda: ops.zeros_like(batch_loss),
        )
        return {
            "loss": batch_loss + memory_loss,
            "batch_loss": batch_loss,
            "memory_loss": memory_loss,
        }

    def transform_gradients(self, gradients, variables, weights=None):
        """Turns the gradients of the loss into those that the optimizer applies.

        Args:
            gradients: List of tensors, summed over replicas.
            variables: The variables they belong to.
            weights: The values of the variables, or those rows of them that have gradients.
                Defaults to `None`: `variables`.

        Returns:
            List of tensors.
        """
        excluded = set(map(id, self.weights_without_decay()))
        is_decayed = [id(variable) not in excluded for variable in variables]
        gradients = gradient_steps.add_weight_decay(
            gradients, weights or variables, self.weight_decay, is_decayed
        )
        return gradient_steps.clip(gradients, self.clip_norm, self.clip_value)

    def weights_without_decay(self) -> list[keras.Variable]:
        """Returns the weights that `weight_decay` does not apply to."""
        return [*_find_batch_norm_weights(self), *self.loss_weights.weights]

    def loss_inputs(self, inputs, training: bool):
        """Computes the inputs of the losses from this replica's inputs: here their embeddings."""
        return self.embedding_model(inputs, training=training)

    def extract_embeddings(self, outputs):
        """Returns embeddings `(n, d)`, before normalisation, from what `loss_inputs` returned."""
        return outputs

    def get_config(self):
        return {
            **super().get_config(),
            "embedding_model": keras.saving.serialize_keras_object(self.embedding_model),
            "weight_decay": self.weight_decay,
            "clip_norm": self.clip_norm,
            "clip_value": self.clip_value,
            "learning_rate_multipliers": self.learning_rate_multipliers,
            "layer_decay": self.layer_decay,
            "memory": keras.saving.serialize_keras_object(self.memory),
            "num_classes": self.num_classes,
            "gradient_cache_parts": self.gradient_cache_parts,
        }

    @classmethod
    def from_config(cls, config):
        objects = {
            key: keras.saving.deserialize_keras_object(config[key])
            for key in ("embedding_model", "memory")
        }
        return cls(**{**config, **objects})


def _find_batch_norm_weights(model):
    return [
        weight
        for layer in flatten_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization)
        for weight in layer.weights
    ]
