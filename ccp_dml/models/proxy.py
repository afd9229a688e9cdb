"""Training with proxies: trainable points that represent the classes."""

import keras
from keras import ops

from ccp_dml.checks import check_at_least, check_whole_number
from ccp_dml.layers import Proxies
from ccp_dml.models.keras_internals import count_steps
from ccp_dml.models.metric_learning import MetricLearningModel
from ccp_dml.models.metric_learning_step import LossTerm
from ccp_dml.optimizers import check_row_updates
from ccp_dml.randomness import stream_of


@keras.saving.register_keras_serializable("ccp_dml")
class ProxyModel(MetricLearningModel):
    """An embedding network trained with a loss against several proxies for each class.

    Minimises `L(θ, ρ) = proxy_loss_weight · ℓ(samples against proxies) + batch_loss_weight ·
    ℓ(samples against samples)` over the weights θ of the embedding network and the proxies ρ. A
    loss that is defined against proxies only, such as `"soft_triple"`, has no second term.

    `evaluate` computes the loss among the samples of a batch, because proxies represent training
    classes and evaluation uses others; a loss that is defined against proxies only is computed
    against them.

    Args:
        embedding_model: See `MetricLearningModel`.
        num_classes: Number of training classes C; training labels are 0…C − 1.
        proxies_per_class: Number K of proxies per class. Defaults to 1.
        proxy_loss_weight: Weight of the loss against the proxies. Defaults to 1.
        batch_loss_weight: Weight of the loss within the batch. Defaults to 0.
        sampled_classes: Number of classes besides its own whose proxies a batch is compared with,
            if there are too many classes to compare it with all. Defaults to 0: all of them; see
            below.
        sampling_seed: Determines, together with the number of the step, which classes are drawn.
            Defaults to 0.
        decay_proxies: Whether `weight_decay` applies to the proxies too. Defaults to `True`.
        **kwargs: See `MetricLearningModel`.

    With `sampled_classes`, a step uses the proxies of as many classes as the batch has labels, plus
    `sampled_classes`: those of its own classes, and of others that are drawn without replacement.
    Each drawn proxy counts for as many negatives as it represents (`negative_counts` of
    `ccp_dml.losses.PairwiseLoss`; each loss says what that means for its expected value). Time and
    memory of a step do not grow with the number of classes: weight decay, the global norm for
    clipping and the optimizer see these rows only. Proxies that are not drawn must stay as they
    are, which is possible only with `ccp_dml.optimizers.LazyAdam` or SGD without momentum. If
    `sampled_classes` is `num_classes` or more, all classes are used with any optimizer, as without
    it. A miner chooses among the classes that were drawn.

    Attributes:
        proxies: The `Proxies` layer.
        warming_up: A boolean variable. While it is set, the loss is ℓ(samples against samples)
            alone, with weight 1, as in `MetricLearningModel`, and proxies change by weight decay
            only. It has no effect on a loss that is defined against proxies only.

    Raises:
        ValueError: If a count or a weight is out of range; when the model is compiled, if the loss
            needs a different number of proxies per class, or if classes are sampled and the
            optimizer cannot leave the others unchanged, or the proxies are frozen.

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
        sampled_classes: int = 0,
        sampling_seed: int = 0,
        decay_proxies: bool = True,
        **kwargs,
    ):
        super().__init__(embedding_model, num_classes=num_classes, **kwargs)
        check_at_least("proxy_loss_weight", proxy_loss_weight, 0)
        check_at_least("batch_loss_weight", batch_loss_weight, 0)
        check_whole_number("sampled_classes", sampled_classes, 0)
        self.proxy_loss_weight = proxy_loss_weight
        self.batch_loss_weight = batch_loss_weight
        self.sampled_classes = sampled_classes
        self.sampling_seed = sampling_seed
        self.decay_proxies = decay_proxies
        self.proxies = Proxies(num_classes, proxies_per_class, name="proxies")
        self.proxy_loss_mean = LossTerm(name="proxy_loss")
        self.batch_loss_mean = LossTerm(name="batch_loss")

    def build(self, input_shape):
        super().build(input_shape)
        self.proxies.build(self.embedding_model.compute_output_shape(input_shape))
        self.warming_up = self.add_weight(
            shape=(), initializer="zeros", dtype="bool", trainable=False, name="warming_up"
        )

    def _unset_flags(self):
        super()._unset_flags()
        self.warming_up.assign(False)

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

    @property
    def has_sampled_classes(self) -> bool:
        """Whether a step uses only some of the classes."""
        return 0 < self.sampled_classes < self.proxies.num_classes

    def _prepare_optimizer(self):
        if self.has_sampled_classes:
            check_row_updates(self.optimizer, self.proxies.vectors)
        super()._prepare_optimizer()
        if self.has_sampled_classes and not self.proxies.vectors.trainable:
            raise ValueError(
                "sampled_classes is for proxies that are trained, but they are frozen: use "
                f"sampled_classes=0, or do not freeze them; got {self.sampled_classes}"
            )

    def sample_proxies(self, labels):
        if not self.has_sampled_classes:
            return None
        return self.proxies.sample(
            labels,
            self.sampled_classes,
            count_steps(self.optimizer),
            stream_of("classes", self.sampling_seed),
        )

    def batch_losses(self, labels, outputs, sample=None, memory_start=None):
        self._check_labels(labels)
        if self.loss.needs_references:
            proxy_loss = self._compute_proxy_loss(labels, outputs, sample)
            return {"loss": self.proxy_loss_weight * proxy_loss, "proxy_loss": proxy_loss}
        sample_losses = self._compute_sample_losses(labels, outputs, memory_start)
        proxy_loss = self._compute_proxy_loss(labels, outputs, sample)
        batch_loss = sample_losses["loss"]
        loss = self.proxy_loss_weight * proxy_loss + self.batch_loss_weight * batch_loss
        return {
            "batch_loss": batch_loss,
            **sample_losses,
            "loss": ops.where(self.warming_up.value, batch_loss, loss),
            "proxy_loss": proxy_loss,
        }

    def _compute_proxy_loss(self, labels, outputs, sample):
        if sample is None:
            return self._compute_pairwise_loss(labels, outputs, *self._references())
        return self._compute_pairwise_loss(
            labels,
            outputs,
            sample.vectors,
            sample.labels,
            negative_counts=sample.negative_counts,
        )

    def _references(self):
        return self.proxies.vectors.value, self.proxies.labels

    def weights_without_decay(self):
        excluded = super().weights_without_decay()
        return excluded if self.decay_proxies else [*excluded, self.proxies.vectors]

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
            "sampled_classes": self.sampled_classes,
            "sampling_seed": self.sampling_seed,
            "decay_proxies": self.decay_proxies,
        }
