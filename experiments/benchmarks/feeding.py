"""How long training steps wait for their images, which are read from JPEG files.

    python experiments/benchmarks/feeding.py
    KERAS_BACKEND=jax python experiments/benchmarks/feeding.py --backbone=stem --steps=20
    KERAS_BACKEND=jax NPROC=16 XLA_FLAGS=--xla_force_host_platform_device_count=8 \
        python experiments/benchmarks/feeding.py --backbone=stem --steps=20 --strategy=data_parallel

`fit` takes the same number of steps in turn with a batch that is always at hand and with batches
of 8 classes × 4 photos, of which boxes are decoded and resized to 227 pixels. The difference is the
time for which the steps wait: for work of the pipeline that does not overlap with the steps, and
for the transfer to the device. The first epoch of each, in which the step is compiled, is not
timed. The time of the pipeline alone shows whether it or the steps limit training. Without an
accelerator, the steps of the backbone `stem`, a single convolution, take about as long as an
accelerator's.
"""

import pathlib
import tempfile
import time

import keras
import numpy as np
from absl import app, flags
from photos import write_photos
from tqdm import tqdm

from ccp_dml import distribution
from ccp_dml.data import Preprocessing, load, training_batches
from ccp_dml.models import EmbeddingModel, MetricLearningModel, get_backbone

_BACKBONE = flags.DEFINE_string("backbone", "bn_inception", "The backbone, or stem.")
_STRATEGY = flags.DEFINE_string("strategy", "none", "Strategy that spreads training over devices.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Turns of each.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 5, "Steps of a turn.", lower_bound=1)
_CLASSES, _SAMPLES, _SIZE = 8, 4, 227


class EpochTimes(keras.callbacks.Callback):
    """Records the average milliseconds of a step for every epoch but the first."""

    def __init__(self):
        super().__init__()
        self.times = []

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        # Reading a weight waits for the last step.
        keras.ops.convert_to_numpy(self.model.trainable_variables[-1])
        if epoch:
            seconds = time.perf_counter() - self._start
            self.times.append(1e3 * seconds / self.params["steps"])


def compiled_model():
    """The network under the strategy."""
    with distribution.strategy(_STRATEGY.value).scope():
        model = MetricLearningModel(network())
        model.compile(keras.optimizers.Adam(1e-5), loss="contrastive")
    return model


def network():
    """A network as in the CCP paper, or one with a single convolution."""
    shape = (_SIZE, _SIZE, 3)
    if _BACKBONE.value == "stem":
        layers = [keras.Input(shape), keras.layers.Conv2D(64, 16, strides=16, activation="relu")]
        backbone = keras.Sequential(layers)
    else:
        backbone = get_backbone(_BACKBONE.value, shape)
    return EmbeddingModel(backbone, 128, freeze_batch_norm=True)


def time_of_pipeline(batches) -> float:
    """The average milliseconds of a batch, without the first one."""
    iterator = iter(batches)
    next(iterator)
    start = time.perf_counter()
    # So many that the batches prepared along with the first hardly matter.
    count = 8 * _STEPS.value
    for _ in range(count):
        next(iterator)
    return 1e3 * (time.perf_counter() - start) / count


def quartiles(values) -> str:
    """The median and, in brackets, the quartiles."""
    low, median, high = np.percentile(values, [25, 50, 75])
    return f"{median:.1f} ({low:.1f}–{high:.1f})"


def main(_):
    """Runs the benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        write_photos(pathlib.Path(folder), 32 * _CLASSES, 2 * _CLASSES)
        train = load("folder", folder, Preprocessing(image_size=_SIZE)).train
        batches = training_batches(train, _CLASSES, _SAMPLES, seed=0)
        at_hand = batches.take(1).cache().repeat()
        model, times = compiled_model(), {"at hand": [], "from files": [], "pipeline alone": []}
        for _ in tqdm(range(_ROUNDS.value), unit="round"):
            for name, source in [("at hand", at_hand), ("from files", batches)]:
                epochs = EpochTimes()
                options = {"epochs": 2, "steps_per_epoch": _STEPS.value, "callbacks": [epochs]}
                model.fit(source, verbose=0, **options)
                times[name] += epochs.times
            times["pipeline alone"].append(time_of_pipeline(batches))
    print(
        f"{_BACKBONE.value} on {keras.backend.backend()}, strategy {_STRATEGY.value}, batches of "
        f"{_CLASSES * _SAMPLES} images of {_SIZE} pixels; milliseconds a step, medians (quartiles) "
        f"of {_ROUNDS.value} turns of {_STEPS.value} steps"
    )
    for name, values in times.items():
        print(f"{name:15} {quartiles(values)}")
    waits = np.array(times["from files"]) - np.array(times["at hand"])
    print(f"{'waiting':15} {quartiles(waits)}")


if __name__ == "__main__":
    app.run(main)
