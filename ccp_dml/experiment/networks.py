"""The networks of a run: before training, and in float32."""

import dataclasses

import keras

from ccp_dml.data import input_shape
from ccp_dml.experiment.precision import precision_scope
from ccp_dml.experiment.settings import Settings
from ccp_dml.models import EmbeddingModel, MetricLearningModel, get_backbone


def make_embedding_model(settings: Settings, embedding_size: int | None = None) -> EmbeddingModel:
    """The network before training, as the seed fixes it.

    Args:
        settings: Those of the network, the precision, and the seed.
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
    """Networks as they are measured and saved: in float32, so that any machine gets their numbers.

    Args:
        settings: Those of the networks that are to be copied.
    """

    def __init__(self, settings: Settings):
        self._settings = settings
        self._model = None

    def copy(self, model: MetricLearningModel) -> MetricLearningModel:
        """A model with the same weights that computes in float32, valid until the next one.

        It is `model` itself, if this is trained in float32.
        """
        if self._settings.precision == "float32":
            return model
        if self._model is None:
            settings = dataclasses.replace(self._settings, precision="float32")
            self._model = MetricLearningModel(make_embedding_model(settings))
        self._model.embedding_model.set_weights(model.embedding_model.get_weights())
        return self._model
