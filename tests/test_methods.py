"""Every loss with every method, as experiments make them."""

import keras
import numpy as np
import pytest

from ccp_dml.data import load, training_batches
from ccp_dml.methods import make_callbacks
from ccp_dml.settings import METHODS
from tests.cases import AROUND_LOSSES, OF_LOSSES, settings_of, small_model

STEPS = 60

WITHOUT_XLA = [
    *((case, method) for case in OF_LOSSES for method in METHODS),
    *((case, "ccp") for case in AROUND_LOSSES),
    ("proxy_synthesis", "ccp+xbm+dvml"),
    ("distance_weighted", "ccp+xbm+dvml"),
]
# Compiling takes long, so that most of these are slow. The loss of ccp is both among samples and
# against proxies.
WITH_XLA = [
    *((case, "ccp") for case in OF_LOSSES),
    *(("margin", method) for method in METHODS if method != "ccp"),
]
SLOW_WITH_XLA = [pair for pair in WITHOUT_XLA if pair not in WITH_XLA]


@pytest.fixture(scope="module")
def digits():
    """The training samples, one epoch of batches, and three batches to measure the loss of."""
    train = load("digits").train
    batches = training_batches(train, classes_per_batch=5, samples_per_class=3, seed=0)
    images, labels = (
        np.concatenate(each)
        for each in zip(*batches.take(STEPS + 3).as_numpy_iterator(), strict=True)
    )
    of_epoch = 15 * STEPS
    return train, (images[:of_epoch], labels[:of_epoch]), (images[of_epoch:], labels[of_epoch:])


class Objective(keras.callbacks.Callback):
    """Measures the losses of the same samples before and after an epoch.

    Random numbers are those of the first step both times, and a memory holds the samples
    themselves, as the present weights embed them.
    """

    def __init__(self, images, labels):
        super().__init__()
        self.images, self.labels = images, labels

    def on_epoch_begin(self, epoch, logs=None):
        self.before = self._measured()

    def on_epoch_end(self, epoch, logs=None):
        self.after = self._measured()

    def _measured(self):
        model, iterations = self.model, self.model.optimizer.iterations
        step = iterations.numpy()
        iterations.assign(0)
        outputs = model.outputs(self.images, training=False)
        if model.memory is not None:
            embeddings = model.embeddings_of(outputs)
            for rows in np.split(np.arange(len(self.labels)), model.memory.num_batches):
                model.memory.add(self.labels[rows], embeddings.numpy()[rows])
        losses = model.batch_losses(self.labels, outputs)
        iterations.assign(step)
        return {name: float(value) for name, value in losses.items()}


def train_one_epoch(case, method, digits, jit_compile):
    train, (images, labels), measured = digits
    settings = settings_of(case, jit_compile=jit_compile)
    model = small_model(method, settings, train.num_classes)
    objective = Objective(*measured)
    metric = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: logs.update(val_map_at_r=0.5)
    )
    callbacks = [metric, *make_callbacks(model, settings, train), objective]
    history = model.fit(
        images, labels, batch_size=15, shuffle=False, verbose=0, callbacks=callbacks
    ).history
    # The mean over all steps: one that is not finite would show.
    assert np.isfinite([history[name] for name in objective.before]).all()
    assert model.optimizer.iterations.numpy() == STEPS
    return objective.before, objective.after


def assert_learns(case, method, digits, jit_compile):
    if case == "soft_triple" and "xbm" in method:
        with pytest.raises(ValueError, match=r"SoftTriple is against proxies alone: a cross-batch"):
            small_model(method, settings_of(case, jit_compile=jit_compile))
        return
    before, after = train_one_epoch(case, method, digits, jit_compile)
    assert after["loss"] < before["loss"]
    if "dvml" in method:
        # Not only of the reconstruction, which is most of the loss.
        assert after["invariant"] < before["invariant"]
    if "xbm" in method:
        assert before["memory_loss"] > 0


@pytest.mark.parametrize(("case", "method"), WITHOUT_XLA)
def test_every_loss_falls_with_every_method(case, method, digits):
    assert_learns(case, method, digits, jit_compile=False)


@pytest.mark.parametrize(("case", "method"), WITH_XLA)
def test_every_loss_falls_with_every_method_under_xla(case, method, digits):
    assert_learns(case, method, digits, jit_compile=True)


@pytest.mark.slow
@pytest.mark.parametrize(("case", "method"), SLOW_WITH_XLA)
def test_the_rest_of_them_under_xla(case, method, digits):
    assert_learns(case, method, digits, jit_compile=True)
