"""The networks of a run: before training, and in float32."""

import dataclasses

import keras

from ccp_dml.data import input_shape
from ccp_dml.experiment.precision import precision_scope
from ccp_dml.experiment.settings import Settings
from ccp_dml.models import EmbeddingModel, MetricLearningModel, get_backbone


def make_embedding_model(settings: Settings, embedding_size: int | None = None) -> EmbeddingModel:
    """Makes the network before training, which the seed determines.

    Args:
        settings: Settings of the network, the precision, and the seed.
        embedding_size: Defaults to that of the settings.
    """
    keras.utils.set_random_seed(settings.seed)
    image_shape = input_shape(settings.dataset, settings.image_size)
    with precision_scope(settings.precision):
        return EmbeddingModel(
            get_backbone(settings.backbone, image_shape, settings.weights),
            embedding_size or settings.embedding_size,
            settings.pooling,
            settings.freeze_batch_norm,
        )


class Float32Networks:
    """Copies of networks in float32, for measuring and saving with the same results on any machine.

    Args:
        settings: Settings of the networks to copy.
    """

    def __init__(self, settings: Settings):
        self._settings = settings
        self._model = None

    def copy(self, model: MetricLearningModel) -> MetricLearningModel:
        """Returns a model with the same weights in float32, valid until the next call.

        If `model` is trained in float32, it is `model` itself.
        """
        if self._settings.precision == "float32":
            return model
        if self._model is None:
            settings = dataclasses.replace(self._settings, precision="float32")
            self._model = MetricLearningModel(make_embedding_model(settings))
        self._model.embedding_model.set_weights(model.embedding_model.get_weights())
        return self._model
