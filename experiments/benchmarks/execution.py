"""How steps per execution, precision and XLA affect the time of a training step, side by side.

    python experiments/benchmarks/execution.py
    python experiments/benchmarks/execution.py --networks=small --rounds=20

Networks are trained by `fit` as on the command line, with the plain contrastive loss and Adam: the
small one on the digits, with batches of 5 classes × 8 samples, and BN-Inception on noise of 227
pixels, with 8 classes × 4 samples and frozen batch normalisation. For each of them the variants
take turns in one process, and each is compared with the plain one of the same round: if the speed
of the machine drifts, both are affected alike. The ratio is the median over the rounds. While other
programs run, processor time, of all threads together, is more reliable than wall-clock time.
Neither compilation in the first calls nor the beginning of `fit` is timed.
"""

import time
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from tqdm import tqdm

from ccp_dml.data import load, training_batches
from ccp_dml.experiment.precision import precision_scope
from ccp_dml.models import EmbeddingModel, MetricLearningModel, get_backbone

_ROUNDS = flags.DEFINE_integer("rounds", 10, "Turns of every variant.", lower_bound=1)
_NETWORKS = flags.DEFINE_list("networks", ["small", "bn_inception"], "Networks to train.")


class Variant(NamedTuple):
    """How a network is trained.

    Attributes:
        precision: Policy of its layers.
        steps_per_execution: See `keras.Model.compile`.
        jit_compile: Whether XLA compiles the step.
    """

    precision: str = "float32"
    steps_per_execution: int = 1
    jit_compile: bool = False


VARIANTS = {
    "as it is": Variant(),
    "steps_per_execution=10": Variant(steps_per_execution=10),
    "precision=mixed_bfloat16": Variant(precision="mixed_bfloat16"),
    "jit_compile": Variant(jit_compile=True),
}


class Network(NamedTuple):
    """A network to train.

    Attributes:
        backbone: Name of its backbone.
        image_shape: Shape of an image.
        embedding_size: Size of the embeddings.
        steps: Steps of a turn.
        variants: The names of those that are timed.
    """

    backbone: str
    image_shape: tuple[int, int, int]
    embedding_size: int
    steps: int
    variants: tuple[str, ...]

    def batches(self) -> tf.data.Dataset:
        """Endless batches."""
        if self.backbone == "small_convnet":
            return training_batches(load("digits").train, 5, 8, seed=0)
        images = np.random.default_rng(0).random((32, *self.image_shape), "float32")
        return tf.data.Dataset.from_tensors((images, np.arange(32) % 8)).repeat()

    def compile(self, variant: Variant) -> keras.Model:
        """The compiled model."""
        keras.utils.set_random_seed(0)
        with precision_scope(variant.precision):
            backbone = get_backbone(self.backbone, self.image_shape, "none")
            model = MetricLearningModel(EmbeddingModel(backbone, self.embedding_size))
            model.compile(
                keras.optimizers.Adam(1e-4),
                loss="contrastive",
                steps_per_execution=variant.steps_per_execution,
                jit_compile=variant.jit_compile,
            )
        return model


NETWORKS = {
    "small": Network("small_convnet", (8, 8, 1), 8, 200, tuple(VARIANTS)),
    "bn_inception": Network(
        "bn_inception", (227, 227, 3), 128, 2, ("as it is", "precision=mixed_bfloat16")
    ),
}


class Stopwatch(keras.callbacks.Callback):
    """Times the second epoch: what comes before the first step of `fit` is not part of a step."""

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter(), time.process_time()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds = np.subtract((time.perf_counter(), time.process_time()), self.start)


def measure(network: Network, rounds: int) -> dict[str, np.ndarray]:
    """Times the variants of a network, which take turns.

    Returns:
        For each variant, seconds and processor seconds of a step in every round, `(rounds, 2)`.
    """
    models = {name: network.compile(VARIANTS[name]) for name in network.variants}
    batches, watch = network.batches(), Stopwatch()

    def train(model):
        model.fit(
            batches,
            steps_per_epoch=network.steps,
            epochs=2,
            verbose=0,
            callbacks=[watch],
        )
        return watch.seconds / network.steps

    for model in models.values():
        train(model)
    times = {name: [] for name in models}
    for _ in tqdm(range(rounds), leave=False):
        for name, model in models.items():
            times[name].append(train(model))
    return {name: np.array(of_rounds) for name, of_rounds in times.items()}


def main(argv):
    """Prints the ratios."""
    del argv
    print("| network | variant | ms a step | × as it is | × its processor time |")
    print("| --- | --- | ---: | ---: | ---: |")
    for name in _NETWORKS.value:
        times = measure(NETWORKS[name], _ROUNDS.value)
        plain = times["as it is"]
        for variant, seconds in times.items():
            ratio, processor_ratio = np.median(seconds / plain, axis=0)
            milliseconds = f"{1000 * np.median(seconds[:, 0]):.1f}"
            print(f"| {name} | {variant} | {milliseconds} | {ratio:.2f} | {processor_ratio:.2f} |")


if __name__ == "__main__":
    app.run(main)
