"""Short trainings on digits with the same results for any number of replicas and workers.

python -m tests.distribution.training OUTPUT --cpus=2
TF_CONFIG=… python -m tests.distribution.training OUTPUT --strategy=multi_worker
"""

import argparse
import contextlib

import keras
import numpy as np
import tensorflow as tf

from ccp_dml import data, distribution, losses
from ccp_dml.callbacks import (
    AlternatingProjections,
    HardClasses,
    ReduceLROnPlateau,
    RetrievalValidation,
    VariationalPhases,
)
from ccp_dml.evaluation import embed
from ccp_dml.experiment.precision import precision_scope
from ccp_dml.layers import CrossBatchMemory
from ccp_dml.models import (
    ChanceConstrainedModel,
    EmbeddingModel,
    VariationalChanceConstrainedModel,
)


@contextlib.contextmanager
def in_float64():
    """Makes models that are created inside, and their training, compute in float64."""
    before = keras.config.floatx()
    # The policy comes first: if none was set, Keras derives it from floatx when it is read.
    with precision_scope("float64"):
        keras.config.set_floatx("float64")
        try:
            yield
        finally:
            keras.config.set_floatx(before)


def make_model(method, batch_size, proxies_per_class):
    """A model for rounds over one convolution; its initial weights are always equal."""
    keras.utils.set_random_seed(0)
    backbone = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Conv2D(8, 3, strides=2, activation="relu")]
    )
    parts, options = method.split("+"), {}
    if "xbm" in parts:
        options["memory"] = CrossBatchMemory(3, batch_size, start_step=0, name="memory")
    model_class = ChanceConstrainedModel
    if "dvml" in parts:
        model_class = VariationalChanceConstrainedModel
        weights = (0.1, 0.1, 1.0, 1.0)
        options |= {"num_samples": 2, "hidden_units": 16, "first_weights": weights}
    return model_class(
        EmbeddingModel(backbone, embedding_size=8),
        num_classes=5,
        proxies_per_class=proxies_per_class,
        weight_decay=1e-3,
        **options,
    )


class Training:
    """A model, made in the strategy's scope, and what it trains on.

    Args:
        method: `"ccp"` and any of `"xbm"`, `"dvml"` and `"hard"` (batches with hard classes),
            joined by plus signs.
        optimizer: A Keras optimizer; its learning rate is overwritten.
        samples_per_class: Of each of the five classes of a batch; with hard classes there are four.
        proxies_per_class: Of each of the five classes.
    """

    def __init__(self, method, optimizer, samples_per_class=5, proxies_per_class=2):
        digits = data.load("digits").train
        used, held_out = data.hold_out_samples(digits.labels, fraction=0.25, seed=0)
        self.train, self.validation = digits.subset(used[:200]), digits.subset(held_out[:101])
        self.samples_per_class = samples_per_class
        self.draws = max(5, proxies_per_class)
        self.has_hard_classes = "hard" in method.split("+")
        self.classes_per_batch = 4 if self.has_hard_classes else 5
        batch_size = self.classes_per_batch * samples_per_class
        self.model = make_model(method, batch_size, proxies_per_class)
        self.model.compile(optimizer, loss=losses.get("contrastive", negative_margin=2.0))
        self.initial = self.model.get_weights()

    def fit(self, seed=0, perturbation=0.0, epochs=8):
        """Trains from the initial weights and returns all results, as arrays by name.

        Args:
            seed: Of the batches, the pools and the perturbation.
            perturbation: Relative size of the noise added to the initial weights.
            epochs: Number of epochs, of four steps.
        """
        noise = np.random.default_rng(seed)
        self.model.set_weights(
            [
                weight
                * (1 + perturbation * noise.standard_normal(weight.shape)).astype(weight.dtype)
                if weight.dtype.kind == "f"
                else weight
                for weight in self.initial
            ]
        )
        for variable in self.model.optimizer.variables:
            if "learning_rate" not in variable.path:
                variable.assign(np.zeros(variable.shape))
        self.model.optimizer.learning_rate = 0.05 if self.is_sgd else 0.005
        validation = RetrievalValidation(self.validation)
        # Only a large gain prolongs a round, so that rounds end soon.
        phases = []
        if isinstance(self.model, VariationalChanceConstrainedModel):
            phases.append(VariationalPhases(first_phase_epochs=2))
        rounds = AlternatingProjections(
            data.class_pools(self.train, draws=self.draws, seed=seed),
            patience=2,
            min_delta=0.05,
            proximal_weight=0.01,
            warmup_epochs=1,
        )
        plateau = ReduceLROnPlateau(
            "val_map_at_r", factor=0.7, patience=1, min_delta=0.02, mode="max"
        )
        options = {}
        if self.has_hard_classes:
            pools = data.class_pools(self.train, draws=3, seed=seed)
            phases.append(HardClasses(pools, steps_per_epoch=4, nearest=1))
            options = {"sampler": "hard_classes", "neighbors": phases[-1].neighbors}
        history = self.model.fit(
            data.training_batches(
                self.train, self.classes_per_batch, self.samples_per_class, seed=seed, **options
            ),
            steps_per_epoch=4,
            epochs=epochs,
            shuffle=False,
            verbose=0,
            callbacks=[validation, *phases, rounds, plateau],
        ).history
        images, labels = self.validation.images, self.validation.labels
        return {
            # Keras counts layers, so that their names differ between processes.
            **{
                f"weights/{number}/{each.name}": each.numpy()
                for number, each in enumerate(self.model.variables)
            },
            **{f"history/{name}": np.asarray(values) for name, values in history.items()},
            "best_epoch": np.asarray(validation.best_epoch),
            "embeddings": embed(self.model, images, batch_size=40),
            "predictions": self._predict(images),
            "loss": np.asarray(self._evaluate(images, labels)["loss"]),
        }

    def _evaluate(self, images, labels):
        options = {"verbose": 0, "return_dict": True}
        if not distribution.STATIC_SHAPES:
            return self.model.evaluate(images, labels, batch_size=50, **options)
        # Batches must be full: padding them would change the loss, which is over all their samples.
        # A data set, because Keras does not divide arrays among several hosts.
        samples = tf.data.Dataset.from_tensor_slices((images[:96], labels[:96]))
        return self.model.evaluate(samples.batch(48), **options)

    def _predict(self, images):
        if distribution.STATIC_SHAPES and distribution.num_workers() > 1:
            return np.zeros(0)
        # The last batch has a single image.
        return self.model.predict(images, batch_size=20, verbose=0)

    @property
    def is_sgd(self):
        return isinstance(self.model.optimizer.inner_optimizer, keras.optimizers.SGD)


def train_cases(cases, scope=contextlib.nullcontext, **sizes):
    """The results of methods trained with SGD in float64, as arrays by name."""
    results = {}
    with in_float64():
        for case in cases:
            with scope():
                training = Training(case, keras.optimizers.SGD(momentum=0.9), **sizes)
            results |= {f"{case}/{name}": array for name, array in training.fit().items()}
    return results


def check_equal(found, expected, case):
    """Checks that a case of `train_cases` gave the same results twice, up to rounding.

    Args:
        found: The results; empty ones are not compared.
        expected: The expected results.
        case: The case.
    """
    for name in [each for each in expected if each.startswith(f"{case}/")]:
        if found[name].size:
            np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-5, err_msg=name)
    # Two rounds ended, the rate was lowered, and there was something to learn.
    assert found[f"{case}/history/round"][-1] == 2
    assert found[f"{case}/history/learning_rate"][-1] < 0.02
    assert np.ptp(found[f"{case}/history/val_map_at_r"]) > 0.005


def train_with_adam(seeds, perturbation=0.0, scope=contextlib.nullcontext):
    """The weights after trainings with Adam in float32, one for each seed."""
    with scope():
        training = Training("ccp", keras.optimizers.Adam())
    return [
        np.concatenate(
            [array.ravel() for name, array in found.items() if name.startswith("weights/")]
        ).astype("float64")
        for found in (training.fit(seed, perturbation) for seed in seeds)
    ]


def ask_workers(strategy):
    """What the workers of a strategy say about themselves, as arrays by name."""
    from keras.src.backend.tensorflow import trainer

    values = strategy.run(lambda: tf.constant(1.0))
    try:
        trainer.reduce_per_replica(values, strategy, "auto")
        keras_can_reduce = True
    except (ValueError, tf.errors.OpError):
        keras_can_reduce = False
    index = strategy.cluster_resolver.task_id
    own = np.zeros((2, 2), "float32")
    own[index] = [np.nan, -index]
    return {
        "keras_can_reduce": np.asarray(keras_can_reduce),
        "num_workers": np.asarray(distribution.num_workers(strategy)),
        "sum": distribution.sum_over_workers(own, strategy),
        # The only thing in which they differ.
        "is_chief": np.asarray(distribution.is_chief(strategy)),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("output")
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--strategy", default="mirrored")
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--adam_seeds", type=int, default=0)
    arguments = parser.parse_args()
    tf.config.set_visible_devices([], "GPU")
    (cpu,) = tf.config.list_physical_devices("CPU")
    logical = [tf.config.LogicalDeviceConfiguration()] * arguments.cpus
    tf.config.set_logical_device_configuration(cpu, logical)
    strategy = distribution.strategy(arguments.strategy)
    results = ask_workers(strategy) if arguments.strategy == "multi_worker" else {}
    results |= train_cases(arguments.cases, strategy.scope)
    if arguments.adam_seeds:
        results["adam"] = train_with_adam(range(arguments.adam_seeds), scope=strategy.scope)
    np.savez(arguments.output, **results)
    distribution.wait_for_all(strategy)


if __name__ == "__main__":
    main()
