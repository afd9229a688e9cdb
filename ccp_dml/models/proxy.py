"""Training with proxies: trainable points that stand for the classes."""

import keras
from keras import ops

from ccp_dml.checks import check_at_least
from ccp_dml.layers import Proxies
from ccp_dml.models.metric_learning import LossTerm, MetricLearningModel


@keras.saving.register_keras_serializable("ccp_dml")
class ProxyModel(MetricLearningModel):
    """An embedding network trained with a loss against several proxies for each class.

    Minimises `L(θ, ρ) = proxy_loss_weight · ℓ(samples against proxies) + batch_loss_weight ·
    ℓ(samples against samples)` over the weights θ of the embedding network and the proxies ρ. A
    loss that needs proxies, such as `"proxy_anchor"`, has no second term.

    `evaluate` computes the loss among the samples of a batch, because proxies stand for training
    classes and evaluation uses others; a loss that needs proxies is computed against them.

    Args:
        embedding_model: See `MetricLearningModel`.
        num_classes: Number of training classes C; training labels are 0…C − 1.
        proxies_per_class: Number K of proxies per class. Defaults to 1.
        proxy_loss_weight: Weight of the loss against the proxies. Defaults to 1.
        batch_loss_weight: Weight of the loss within the batch. Defaults to 0.
        **kwargs: See `MetricLearningModel`.

    Attributes:
        proxies: The `Proxies` layer.
        warming_up: A boolean variable. While it is set, the loss is ℓ(samples against samples)
            alone, with weight 1, as in `MetricLearningModel`, and proxies change by weight decay
            only. It has no effect on a loss that needs proxies.

    Raises:
        ValueError: If a count or a weight is out of range; when it is compiled, if the loss needs
            another number of proxies.

    Example:

    >>> embedding_model = EmbeddingModel(small_convnet((8, 8, 1)), embedding_size=16)
    >>> model = ProxyModel(embedding_model, num_classes=5, proxies_per_class=2)
    >>> model.compile(keras.optimizers.Adam(1e-3), loss="contrastive")
    >>> images, labels = np.random.rand(20, 8, 8, 1), np.arange(20) % 5
    >>> history = model.fit(images, labels, batch_size=10, verbose=0)
    >>> sorted(history.history)
    ['batch_loss', 'loss', 'proxy_loss']
    """

    def __init__(
        self,
        embedding_model: keras.Model,
        num_classes: int,
        proxies_per_class: int = 1,
        proxy_loss_weight: float = 1.0,
        batch_loss_weight: float = 0.0,
        **kwargs,
    ):
        super().__init__(embedding_model, num_classes=num_classes, **kwargs)
        check_at_least("proxy_loss_weight", proxy_loss_weight, 0)
        check_at_least("batch_loss_weight", batch_loss_weight, 0)
        self.proxy_loss_weight = proxy_loss_weight
        self.batch_loss_weight = batch_loss_weight
        self.proxies = Proxies(num_classes, proxies_per_class, name="proxies")
        self.proxy_loss_mean = LossTerm(name="proxy_loss")
        self.batch_loss_mean = LossTerm(name="batch_loss")

    def build(self, input_shape):
        super().build(input_shape)
        self.proxies.build(self.embedding_model.compute_output_shape(input_shape))
        self.warming_up = self.add_weight(
            shape=(), initializer="zeros", dtype="bool", trainable=False, name="warming_up"
        )

    def _check_loss(self, loss):
        needed = getattr(loss, "proxies_per_class", None)
        if needed not in (None, self.proxies.proxies_per_class):
            raise ValueError(
                f"the loss {type(loss).__name__} needs {needed} proxies per class, but the model "
                f"has {self.proxies.proxies_per_class}"
            )
        if loss.needs_references and self.memory is not None:
            raise ValueError(
                f"the loss {type(loss).__name__} compares samples with proxies only: it cannot be "
                "combined with a cross-batch memory, whose rows are samples"
            )

    def batch_losses(self, labels, outputs):
        self._check_labels(labels)
        if self.loss.needs_references:
            proxy_loss = self._compute_loss(labels, outputs, *self._references())
            return {"loss": self.proxy_loss_weight * proxy_loss, "proxy_loss": proxy_loss}
        sample_losses = self._compute_sample_losses(labels, outputs)
        proxy_loss = self._compute_loss(labels, outputs, *self._references())
        batch_loss = sample_losses["loss"]
        loss = self.proxy_loss_weight * proxy_loss + self.batch_loss_weight * batch_loss
        return {
            "batch_loss": batch_loss,
            **sample_losses,
            "loss": ops.where(self.warming_up, batch_loss, loss),
            "proxy_loss": proxy_loss,
        }

    def _references(self):
        return self.proxies.vectors.value, self.proxies.labels

    def evaluation_loss(self, labels, embeddings):
        if self.loss.needs_references:
            return self.loss.call(labels, embeddings, *self._references())
        return super().evaluation_loss(labels, embeddings)

    def get_config(self):
        return {
            **super().get_config(),
            "proxies_per_class": self.proxies.proxies_per_class,
            "proxy_loss_weight": self.proxy_loss_weight,
            "batch_loss_weight": self.batch_loss_weight,
        }
