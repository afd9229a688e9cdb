"""Warm-up with a frozen backbone: the projection and the proxies learn first."""

import keras

from ccp_dml.checks import check_whole_number
from ccp_dml.models import MetricLearningModel


class FreezeBackbone(keras.callbacks.Callback):
    """Freezes the weights of the backbone for the first epochs of training.

    A new projection layer and random proxies send large and meaningless gradients into a pretrained
    backbone; proxy losses are often trained with such a warm-up (Kim et al., "Proxy Anchor Loss",
    CVPR 2020). When training ends, even by an error, the backbone is no longer frozen.

    The optimizer's own `weight_decay` does not change a frozen backbone either, but the moving
    statistics of batch normalisation that is not frozen still change.

    Args:
        epochs: Number of epochs, at least 0.

    Raises:
        ValueError: If the number is negative; when training begins, if the model is not a
            `MetricLearningModel` with a backbone, or has no weights yet.

    Example:

    ```python
    model.fit(batches, epochs=100, callbacks=[FreezeBackbone(epochs=1)])
    ```
    """

    def __init__(self, epochs: int):
        super().__init__()
        check_whole_number("epochs", epochs, 0)
        self.epochs = epochs

    def on_train_begin(self, logs=None):
        if not isinstance(self.model, MetricLearningModel) or not hasattr(
            self.model.embedding_model, "backbone"
        ):
            raise ValueError(
                "FreezeBackbone needs a ccp_dml.models.MetricLearningModel whose embedding_model "
                f"has a backbone; got {type(self.model).__name__}"
            )
        if not self.model.built:
            raise ValueError("the model has no weights yet: call model.build(input_shape) first")

    def on_epoch_begin(self, epoch, logs=None):
        self.model.backbone_frozen.assign(epoch < self.epochs)

    def on_train_end(self, logs=None):
        self.model.backbone_frozen.assign(False)
