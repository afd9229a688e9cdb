"""The embedding network: backbone, pooling head, projection to the embedding space."""

import keras

from ccp_dml.checks import check_whole_number
from ccp_dml.layers import get_pooling
from ccp_dml.layers.feature_shapes import check_features
from ccp_dml.models.freeze_batch_norm import freeze_batch_norm


@keras.saving.register_keras_serializable("ccp_dml")
class EmbeddingModel(keras.Model):
    """Backbone, pooling head and a dense layer without bias.

    Its outputs are embeddings before normalisation, the space in which proxies live.

    Args:
        backbone: A `keras.Model` from images to a feature map `(batch, height, width, channels)`, a
            sequence of tokens `(batch, tokens, channels)`, or vectors `(batch, channels)`.
        embedding_size: Size d of the embeddings. Defaults to 128.
        pooling: `"average"` (default), `"max"`, `"sum"`, `"gem"` or `"gsp"` of a map or a sequence;
            `"token"`, the first of a sequence; or `"none"`, for vectors. See
            `ccp_dml.layers.get_pooling`.
        freeze_batch_norm: Whether batch normalisation in the backbone is frozen, as in the CCP
            paper; see `ccp_dml.models.freeze_batch_norm`. The backbone then computes the same in
            training as in inference: its dropout and stochastic depth are also off. A model that
            was saved is frozen again when it is loaded. Defaults to `False`: the backbone's layers
            stay as they are.

    Call arguments:
        inputs: Images, as the backbone takes them.

    Returns:
        Embeddings `(batch, d)`.

    Raises:
        ValueError: If `embedding_size` is not positive, or `pooling` is unknown or does not fit the
            features of the backbone.

    Example:

    >>> model = EmbeddingModel(small_convnet((8, 8, 1)), embedding_size=16)
    >>> model(np.zeros((2, 8, 8, 1), "float32")).shape
    TensorShape([2, 16])
    """

    def __init__(
        self,
        backbone: keras.Model,
        embedding_size: int = 128,
        pooling: str = "average",
        freeze_batch_norm: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_whole_number("embedding_size", embedding_size, 1)
        self.backbone = backbone
        self.embedding_size = embedding_size
        self.freeze_batch_norm = freeze_batch_norm
        self.pooling = get_pooling(pooling, name="pooling")
        self.pooling_name = pooling
        # In half precision, samples of a class would have equal embeddings.
        self.projection = keras.layers.Dense(
            embedding_size, use_bias=False, name="projection", dtype=self.variable_dtype
        )
        if self.input_shape is not None:
            self.build(self.input_shape)

    @property
    def input_shape(self) -> tuple[int | None, ...] | None:
        """Shape of the inputs with the batch axis, or `None` if the backbone does not know it."""
        return getattr(self.backbone, "input_shape", None)

    def build(self, input_shape):
        if not self.backbone.built:
            self.backbone.build(input_shape)
        if self.freeze_batch_norm:
            freeze_batch_norm(self.backbone)
        features_shape = self.backbone.compute_output_shape(input_shape)
        check_features(features_shape, "the backbone")
        self.pooling.build(features_shape)
        self.projection.build(self.compute_features_shape(input_shape))
        self.built = True

    def call(self, inputs, training=None):
        return self.projection(self.features(inputs, training=training))

    def features(self, inputs, training=None):
        """Computes the pooled features, `(batch, channels)`, which are then projected."""
        if self.freeze_batch_norm:
            training = False
        return self.pooling(self.backbone(inputs, training=training))

    def compute_features_shape(self, input_shape) -> tuple[int | None, int]:
        """Returns the shape of the pooled features."""
        return self.pooling.compute_output_shape(self.backbone.compute_output_shape(input_shape))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.embedding_size)

    def get_config(self):
        return {
            **super().get_config(),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "embedding_size": self.embedding_size,
            "pooling": self.pooling_name,
            "freeze_batch_norm": self.freeze_batch_norm,
        }

    @classmethod
    def from_config(cls, config):
        backbone = keras.saving.deserialize_keras_object(config["backbone"])
        return cls(**{**config, "backbone": backbone})
