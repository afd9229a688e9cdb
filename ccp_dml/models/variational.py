"""Deep variational metric learning: intra-class variance modelled apart from the class centre."""

import keras
import numpy as np
from keras import ops

from ccp_dml import backend
from ccp_dml.checks import check_whole_number
from ccp_dml.losses.distances import to_float
from ccp_dml.models.embedding import EmbeddingModel
from ccp_dml.models.keras_internals import count_steps
from ccp_dml.models.metric_learning import MetricLearningModel
from ccp_dml.models.metric_learning_step import LossTerm

_TERMS = ("divergence", "reconstruction", "synthesized", "invariant")


@keras.saving.register_keras_serializable("ccp_dml")
class VariationalModel(MetricLearningModel):
    """An embedding network trained by deep variational metric learning (DVML).

    "Deep Variational Metric Learning" (Lin et al., ECCV 2018). From the pooled features y of the
    backbone, three parallel linear heads compute the embedding z_I, which is used after training,
    and the mean μ and the log variance of the intra-class variation. Embeddings `ẑ = z_I + μ +
    σ·ε`, ε ~ N(0, I), are synthesised, `num_samples` for each image, and a decoder reconstructs y
    from them. With any loss ℓ among samples, training minimises `λ₁L₁ + λ₂L₂ + λ₃L₃ + λ₄L₄`:

    - `L₁ = ½ Σ (σ² + μ² − log σ² − 1)`, the divergence of N(μ, σ²) from N(0, I), a mean over the
      batch;
    - `L₂ = ‖y − decoder(ẑ)‖²`, a mean over the batch and the synthesised embeddings;
    - `L₃ = ℓ(ẑ)`, of all synthesised embeddings as one batch;
    - `L₄ = ℓ(z_I)`.

    ℓ is what `MetricLearningModel` minimises: with a `memory`, which holds the embeddings z_I, both
    terms are also computed against it. `VariationalProxyModel` and
    `VariationalChanceConstrainedModel` compute both against proxies.

    In the first phase no gradient flows from L₂ into the heads and the backbone; in the second it
    does, through ẑ. The callback `VariationalPhases` starts the second. The target y of L₂ is a
    constant in both: otherwise the network would learn features of 0, which are easy to
    reconstruct. The heads of μ and log σ² start with zero weights, that is with N(0, I) and L₁ = 0.

    L₁ and L₂ are sums over units, so that suitable weights depend on the size of the features: if
    embeddings collapse, use smaller weights. The weights λ, `num_samples` and the learning rates
    (Adam 7e-5, and 1e-2 for the decoder: `learning_rate_multipliers={"decoder": 1e-2 / 7e-5}`) are
    those of public re-implementations, not the paper's.

    Args:
        embedding_model: An `EmbeddingModel`; its projection computes z_I.
        num_samples: Number T of synthesised embeddings per image. Defaults to 20.
        hidden_units: Units of the decoder's hidden layer. Defaults to 512.
        first_weights: λ₁…λ₄ of the first phase. Defaults to `(1, 1, 0.1, 1)`.
        second_weights: λ₁…λ₄ of the second phase. Defaults to `(0.8, 1, 0.2, 0.8)`.
        seed: Seed of ε; XLA draws different numbers from it. Defaults to 0.
        **kwargs: See `MetricLearningModel`.

    Attributes:
        second_phase: A boolean variable.

    Raises:
        ValueError: If a number is out of range or `embedding_model` is not an `EmbeddingModel`;
            when it is compiled, if the loss needs proxies.

    Example:

    >>> embedding_model = EmbeddingModel(small_convnet((8, 8, 1)), embedding_size=16)
    >>> model = VariationalModel(embedding_model, num_samples=4)
    >>> model.compile(keras.optimizers.Adam(1e-3), loss="triplet")
    >>> images, labels = np.random.rand(20, 8, 8, 1), np.arange(20) % 5
    >>> history = model.fit(images, labels, batch_size=10, verbose=0)
    >>> sorted(history.history)
    ['divergence', 'invariant', 'loss', 'reconstruction', 'synthesized']
    >>> model.synthesize(images, num_samples=3).shape
    (20, 3, 16)
    """

    def __init__(
        self,
        embedding_model: EmbeddingModel,
        num_samples: int = 20,
        hidden_units: int = 512,
        first_weights: tuple[float, float, float, float] = (1.0, 1.0, 0.1, 1.0),
        second_weights: tuple[float, float, float, float] = (0.8, 1.0, 0.2, 0.8),
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(embedding_model, **kwargs)
        if not isinstance(embedding_model, EmbeddingModel):
            raise ValueError(
                "embedding_model must be a ccp_dml.models.EmbeddingModel, whose features are "
                f"rebuilt; got {type(embedding_model).__name__}"
            )
        check_whole_number("num_samples", num_samples, 1)
        check_whole_number("hidden_units", hidden_units, 1)
        for name, weights in [("first_weights", first_weights), ("second_weights", second_weights)]:
            if len(weights) != len(_TERMS) or min(weights) < 0:
                raise ValueError(f"{name} must be four numbers of at least 0; got {weights}")
        self.num_samples = num_samples
        self.hidden_units = hidden_units
        self.first_weights = tuple(first_weights)
        self.second_weights = tuple(second_weights)
        self.seed = seed
        size = embedding_model.embedding_size
        self.spread_mean = keras.layers.Dense(size, kernel_initializer="zeros", name="spread_mean")
        self.spread_log_variance = keras.layers.Dense(
            size, kernel_initializer="zeros", name="spread_log_variance"
        )
        self.term_means = [LossTerm(name=name) for name in _TERMS]

    def build(self, input_shape):
        super().build(input_shape)
        (*_, features) = self.embedding_model.compute_features_shape(input_shape)
        self.spread_mean.build((None, features))
        self.spread_log_variance.build((None, features))
        self.decoder = keras.Sequential(
            [
                keras.layers.Dense(self.hidden_units, activation="relu"),
                keras.layers.Dense(features),
            ],
            name="decoder",
        )
        self.decoder.build((None, self.embedding_model.embedding_size))
        self.second_phase = self.add_weight(
            shape=(), initializer="zeros", dtype="bool", trainable=False, name="second_phase"
        )

    def loss_inputs(self, inputs, training):
        """Computes the pooled features of the backbone `(n, f)`."""
        return self.embedding_model.features(inputs, training=training)

    def extract_embeddings(self, outputs):
        return self.embedding_model.projection(outputs)

    def batch_losses(self, labels, outputs, sample=None, memory_start=None):
        """Computes the losses of a (global) batch.

        Args:
            labels: See `MetricLearningModel.batch_losses`.
            outputs: Pooled features of the backbone `(n, f)`.
            sample: See `MetricLearningModel.batch_losses`.
            memory_start: Likewise; of the embeddings z_I.

        Returns:
            L₁…L₄ by the names `"divergence"`, `"reconstruction"`, `"synthesized"` and
            `"invariant"`, and the terms of the last one; `"loss"` is the one to minimise.
        """
        features = to_float(outputs)
        invariant, mean, log_variance = self._apply_heads(features)
        # The same on every replica, because each computes the loss of all samples.
        noise = backend.normal(
            (ops.shape(features)[0], self.num_samples, invariant.shape[1]),
            (self.seed, count_steps(self.optimizer)),
        )
        noise = ops.cast(noise, invariant.dtype)
        synthesized = synthesize(invariant, mean, log_variance, noise)
        synthesized_losses = super().batch_losses(
            ops.repeat(labels, self.num_samples, axis=0),
            ops.reshape(synthesized, (-1, invariant.shape[1])),
            sample,
        )
        invariant_losses = super().batch_losses(labels, invariant, sample, memory_start)
        terms = (
            divergence(mean, log_variance),
            self._reconstruction(features, synthesized),
            synthesized_losses["loss"],
            invariant_losses["loss"],
        )
        weights = ops.where(
            self.second_phase.value, np.array(self.second_weights), np.array(self.first_weights)
        )
        terms_of_loss = ops.stack(terms)
        loss = ops.sum(ops.cast(weights, terms_of_loss.dtype) * terms_of_loss)
        return {**invariant_losses, "loss": loss, **dict(zip(_TERMS, terms, strict=True))}

    def _reconstruction(self, features, synthesized):
        # The target is a constant: otherwise features of 0 would be the easiest to reconstruct.
        features = ops.stop_gradient(features)
        synthesized = ops.where(
            self.second_phase.value, synthesized, ops.stop_gradient(synthesized)
        )
        rows = ops.reshape(synthesized, (-1, synthesized.shape[-1]))
        rebuilt = ops.reshape(
            to_float(self.decoder(rows)), (-1, self.num_samples, features.shape[1])
        )
        squares = ops.sum(ops.square(features[:, None, :] - rebuilt), axis=-1)
        return ops.mean(squares)

    def synthesize(self, inputs, num_samples: int = 20, seed: int = 0):
        """Synthesises embeddings ẑ, as training does.

        Args:
            inputs: A batch of what `embedding_model` takes.
            num_samples: Number of embeddings for each input. Defaults to 20.
            seed: Determines them. Defaults to 0.

        Returns:
            Array `(batch, num_samples, d)`, before normalisation.
        """
        features = self.loss_inputs(inputs, training=False)
        invariant, mean, log_variance = self._apply_heads(features)
        noise = backend.normal((len(features), num_samples, invariant.shape[1]), (seed, 0))
        noise = ops.cast(noise, invariant.dtype)
        return ops.convert_to_numpy(synthesize(invariant, mean, log_variance, noise))

    def _apply_heads(self, features):
        """Computes z_I, μ and log σ², each `(n, d)`."""
        heads = (self.extract_embeddings, self.spread_mean, self.spread_log_variance)
        return [to_float(head(features)) for head in heads]

    def get_config(self):
        return {
            **super().get_config(),
            "num_samples": self.num_samples,
            "hidden_units": self.hidden_units,
            "first_weights": self.first_weights,
            "second_weights": self.second_weights,
            "seed": self.seed,
        }


def divergence(mean, log_variance):
    """The Kullback-Leibler divergence of N(mean, variance) from N(0, I).

    Args:
        mean: `(n, d)`.
        log_variance: Natural logarithm of the variance of each coordinate `(n, d)`.

    Returns:
        `½ Σ (σ² + μ² − log σ² − 1)`, a mean over the n rows.

    Example:

    >>> float(divergence(np.array([[1.0, 0.0]]), np.zeros((1, 2))))
    0.5
    """
    terms = ops.exp(log_variance) + ops.square(mean) - log_variance - 1
    return 0.5 * ops.mean(ops.sum(terms, axis=-1))


def synthesize(invariant, mean, log_variance, noise):
    """`ẑ = z_I + μ + σ·ε`.

    Args:
        invariant: z_I `(n, d)`.
        mean: μ `(n, d)`.
        log_variance: log σ² `(n, d)`.
        noise: ε `(n, T, d)`.

    Returns:
        ẑ `(n, T, d)`.
    """
    spread = mean[:, None, :] + ops.exp(0.5 * log_variance)[:, None, :] * noise
    return invariant[:, None, :] + spread
