"""Training with proxies and a proximal term: one projection of CCP."""

import keras
from keras import ops

from ccp_dml import backend
from ccp_dml.models import gradients as gradient_steps
from ccp_dml.models.metric_learning_step import LossTerm
from ccp_dml.models.proxy import ProxyModel


@keras.saving.register_keras_serializable("ccp_dml")
class ChanceConstrainedModel(ProxyModel):
    """An embedding network trained by chance-constrained metric learning (CCP).

    Minimises `L(θ, ρ) + λ/2 ‖θ − θ_ref‖²` over the weights θ of the embedding network and the
    proxies ρ, `L = proxy_loss_weight · ℓ(samples against proxies) + batch_loss_weight · ℓ(samples
    against samples)`: one round of "Deep Metric Learning with Chance Constraints" (Gürbüz et al.,
    WACV 2024). The callback `ccp_dml.callbacks.AlternatingProjections` runs the rounds: it sets
    the proxies, λ and the reference point θ_ref.

    A training step takes the gradients of L, adds `λ(θ − θ_ref)` to those of θ, and continues like
    `MetricLearningModel`; weight decay and clipping include the proxies.

    Args:
        embedding_model: See `MetricLearningModel`.
        num_classes: Number of training classes C; training labels are 0…C − 1.
        proxies_per_class: Number K of proxies per class. Defaults to 8.
        proxy_loss_weight: Weight of the loss against the proxies. Defaults to 1.
        batch_loss_weight: Weight of the loss within the batch. Defaults to 0.1.
        **kwargs: See `MetricLearningModel`.

    Attributes:
        proximal_weight: λ, a scalar variable; 0 at first.
        reference_point: θ_ref, non-trainable variables in the order of `proximal_variables`.

    Raises:
        ValueError: See `ProxyModel`.

    Example:

    >>> embedding_model = EmbeddingModel(small_convnet((8, 8, 1)), embedding_size=16)
    >>> model = ChanceConstrainedModel(embedding_model, num_classes=5, proxies_per_class=4)
    >>> model.compile(keras.optimizers.Adam(1e-3), loss="contrastive")
    >>> images, labels = np.random.rand(20, 8, 8, 1), np.arange(20) % 5
    >>> history = model.fit(images, labels, batch_size=10, verbose=0)
    >>> sorted(history.history)
    ['batch_loss', 'loss', 'proximal_term', 'proxy_loss']
    """

    def __init__(
        self,
        embedding_model: keras.Model,
        num_classes: int,
        proxies_per_class: int = 8,
        proxy_loss_weight: float = 1.0,
        batch_loss_weight: float = 0.1,
        **kwargs,
    ):
        super().__init__(
            embedding_model,
            num_classes,
            proxies_per_class,
            proxy_loss_weight,
            batch_loss_weight,
            **kwargs,
        )
        self.proximal_term_mean = LossTerm(name="proximal_term")

    def build(self, input_shape):
        super().build(input_shape)
        self.proximal_weight = self.add_weight(
            shape=(), initializer="zeros", trainable=False, name="proximal_weight"
        )
        trainable = set(map(id, self.embedding_model.trainable_variables))
        self._is_proximal = [id(each) in trainable for each in self.embedding_model.variables]
        self.reference_point = [
            self.add_weight(
                shape=variable.shape, initializer="zeros", trainable=False, name="reference"
            )
            for variable in self.proximal_variables
        ]
        self.set_reference_point(self.proximal_variables)

    @property
    def proximal_variables(self) -> list[keras.Variable]:
        """θ: the variables of the network that were trainable when the model was built."""
        return [
            variable
            for variable, is_proximal in zip(
                self.embedding_model.variables, self._is_proximal, strict=True
            )
            if is_proximal
        ]

    def set_reference_point(self, weights):
        """Sets θ_ref.

        Args:
            weights: Arrays or variables in the order of `proximal_variables`.
        """
        for reference, weight in zip(self.reference_point, weights, strict=True):
            # A copy: with JAX, a variable would be assigned the other's own array.
            reference.assign(ops.copy(weight))

    def batch_losses(self, labels, outputs, sample=None, memory_start=None):
        proximal_term = ops.stop_gradient(self._proximal_term())
        losses = super().batch_losses(labels, outputs, sample, memory_start)
        return {**losses, "proximal_term": proximal_term}

    def transform_gradients(self, gradients, variables, weights=None):
        reference_of = dict(
            zip(map(id, self.proximal_variables), self.reference_point, strict=True)
        )
        gradients = gradient_steps.add_proximal_term(
            gradients,
            variables,
            [reference_of.get(id(variable)) for variable in variables],
            self.proximal_weight.value,
        )
        return super().transform_gradients(gradients, variables, weights)

    def _proximal_term(self):
        """`λ/2 ‖θ − θ_ref‖²`."""
        half_squared_norms = [
            backend.half_squared_norm(variable.value - reference.value)
            for variable, reference in zip(
                self.proximal_variables, self.reference_point, strict=True
            )
        ]
        return self.proximal_weight.value * sum(half_squared_norms)
