"""One experiment from its settings: data, models, training, results."""

import datetime
import json
import math
import platform
import time

import keras
import numpy as np
import sklearn
import tensorflow as tf
from absl import logging
from etils import epath

import ccp_dml
from ccp_dml.callbacks import (
    AlternatingProjections,
    ProgressLine,
    RetrievalValidation,
    TensorBoardLogs,
    TerminateOnFailure,
)
from ccp_dml.data import (
    Benchmark,
    LabeledSamples,
    Preprocessing,
    class_fold,
    contiguous,
    hold_out_samples,
    input_shape,
    load,
    training_batches,
)
from ccp_dml.evaluation import embed
from ccp_dml.experiment.evaluation import COLUMNS, embed_test, measure
from ccp_dml.experiment.methods import make_callbacks, make_loss, make_model
from ccp_dml.experiment.settings import METHODS, Settings
from ccp_dml.models import EmbeddingModel, MetricLearningModel, get_backbone, value_scaling
from ccp_dml.report import RoundSnapshot, draw_rounds, metrics_table

_COLUMNS = {**COLUMNS, "steps": "steps", "rounds": "rounds", "seconds": "seconds"}

_RESULTS = (
    "flags.txt",
    "results.json",
    "evaluation.json",
    "model.keras",
    "rounds.png",
    *METHODS,
)


class TrainingFailedError(Exception):
    """Training could not go on; the message says why and what to do."""


class Experiment:
    """Trains the methods of `settings` and leaves everything worth keeping in `workdir`.

    In `workdir`: `flags.txt`; `results.json`; `model.keras`, the network that validated best, from
    images to normalised embeddings; `rounds.png`, if `figure_rounds` is set; and for each method a
    folder with its `model.keras`, `history.csv` and TensorBoard logs.

    Args:
        settings: What to do.
        workdir: Folder for the results; any path that `etils.epath` knows.

    Example:

    ```python
    experiment = Experiment(Settings(learning_rate=1e-3, validation="samples"), "/tmp/digits")
    experiment.prepare()
    results = experiment.run()
    ```
    """

    def __init__(self, settings: Settings, workdir: str):
        self.settings = settings
        self.workdir = epath.Path(workdir)

    def prepare(self, flagfile: str | None = None):
        """Loads and checks everything that can be wrong, before anything takes time.

        Args:
            flagfile: The text of `flags.txt`. Defaults to none: the file is not written.

        Raises:
            ValueError: If the settings do not fit the data, or `workdir` cannot be written to.
        """
        settings = self.settings
        make_loss(settings)
        # What is wrong with backbone and methods is said before data are downloaded.
        embedding_model = self._embedding_model(settings.embedding_size)
        drawn = ("ccp",) if settings.figure_rounds else ()
        for method in dict.fromkeys((*settings.method, *drawn)):
            make_model(method, settings, embedding_model, num_classes=2)
        self.benchmark = load_benchmark(settings)
        self.train, self.validation, self.validation_gallery = _split(self.benchmark, settings)
        self.batches = training_batches(
            self.train, settings.classes_per_batch, settings.samples_per_class, settings.seed
        )
        try:
            self._make_workdir(flagfile)
        except (OSError, tf.errors.OpError) as error:
            raise ValueError(f"workdir {self.workdir} cannot be written to: {error}") from error

    def _make_workdir(self, flagfile):
        self.workdir.mkdir(parents=True, exist_ok=True)
        left = [path for path in (self.workdir / name for name in _RESULTS) if path.exists()]
        if left:
            moment = datetime.datetime.now().strftime("%Y-%m-%d-%H-%M-%S-%f")
            earlier = self.workdir / "earlier" / moment
            earlier.mkdir(parents=True)
            for path in left:
                path.rename(earlier / path.name)
            logging.info("Moved the results of an earlier run to %s.", earlier)
        if flagfile is not None:
            (self.workdir / "flags.txt").write_text(flagfile)

    def run(self) -> dict:
        """Trains and measures every method, and prints a table.

        Returns:
            What `results.json` holds.

        Raises:
            TrainingFailedError: If a loss is not finite or the embeddings collapse.
            OSError: If `workdir` cannot be written to.
        """
        settings = self.settings
        initial_model = MetricLearningModel(self._embedding_model(settings.embedding_size))
        initial_weights = initial_model.embedding_model.get_weights()
        results = {
            "seed": settings.seed,
            "versions": {
                "ccp_dml": ccp_dml.__version__,
                "python": platform.python_version(),
                "tensorflow": tf.__version__,
                "keras": keras.__version__,
                "numpy": np.__version__,
                "scikit_learn": sklearn.__version__,
            },
            "before": {**self._measured(initial_model), "steps": 0, "rounds": 0, "seconds": 0.0},
        }
        best = -math.inf
        for method in settings.method:
            embedding_model = self._embedding_model(settings.embedding_size)
            embedding_model.set_weights(initial_weights)
            model = self._model(method, embedding_model)
            trained = self._fit(method, model, self.workdir / method)
            results[method] = {**self._measured(model), **trained}
            network = _network(model)
            network.save(self.workdir / method / "model.keras")
            if trained[f"validation_{settings.monitor}"] > best:
                best = trained[f"validation_{settings.monitor}"]
                network.save(self.workdir / "model.keras")
            # Written after every method, so that a later failure loses nothing.
            (self.workdir / "results.json").write_text(json.dumps(results, indent=2) + "\n")
        print(table(results, settings.method))
        if settings.figure_rounds:
            self._draw_rounds()
        return results

    def _embedding_model(self, embedding_size):
        keras.utils.set_random_seed(self.settings.seed)
        return EmbeddingModel(
            self._backbone(),
            embedding_size,
            self.settings.pooling,
            self.settings.freeze_batch_norm,
        )

    def _backbone(self):
        settings = self.settings
        image_shape = input_shape(settings.dataset, settings.image_size)
        return get_backbone(settings.backbone, image_shape, settings.weights)

    def _model(self, method, embedding_model):
        return make_model(method, self.settings, embedding_model, self.train.num_classes)

    def _fit(self, description, model, folder=None, on_round_end=None):
        """Trains a model; with a `folder`, its history and logs go there."""
        settings = self.settings
        epochs = math.ceil(settings.max_steps / settings.steps_per_validation)
        gallery = self.validation_gallery
        validation = RetrievalValidation(
            self.validation.evaluation_images(),
            self.validation.labels,
            settings.monitor,
            settings.patience,
            gallery_inputs=None if gallery is None else gallery.evaluation_images(),
            gallery_labels=None if gallery is None else gallery.labels,
        )
        failure = TerminateOnFailure()
        of_method = make_callbacks(model, settings, self.train, on_round_end)
        callbacks = [validation, failure, *of_method]
        if folder is not None:
            folder.mkdir()
            callbacks += [
                keras.callbacks.CSVLogger(str(folder / "history.csv")),
                TensorBoardLogs(validation, str(folder / "tensorboard")),
            ]
        callbacks.append(
            ProgressLine(description, total_steps=epochs * settings.steps_per_validation)
        )
        start = time.monotonic()
        history = model.fit(
            self.batches,
            steps_per_epoch=settings.steps_per_validation,
            epochs=epochs,
            shuffle=False,
            verbose=0,
            callbacks=callbacks,
        )
        if failure.failure is not None:
            raise TrainingFailedError(f"training of {description} stopped: {failure.failure}")
        rounds = [each.round for each in of_method if isinstance(each, AlternatingProjections)]
        return {
            "steps": len(history.epoch) * settings.steps_per_validation,
            # Before the first round it is -1.
            "rounds": max([0, *rounds]),
            "seconds": time.monotonic() - start,
            f"validation_{settings.monitor}": validation.best,
            "best_step": (validation.best_epoch + 1) * settings.steps_per_validation,
        }

    def _measured(self, model):
        return measure(embed_test(model, self.benchmark), self.benchmark, self.settings)

    def _draw_rounds(self):
        """Trains a 2-d embedding for the first rounds and draws how each ends."""
        model = self._model("ccp", self._embedding_model(embedding_size=2))
        snapshots = []

        def on_round_end(end):
            embeddings = embed(model, self.train.evaluation_images())
            snapshots.append(RoundSnapshot(end, embeddings, self.train.labels))
            if len(snapshots) > self.settings.figure_rounds:
                model.stop_training = True

        try:
            self._fit("figure", model, on_round_end=on_round_end)
        except TrainingFailedError as error:
            logging.warning("The figure is incomplete: %s.", error)
        if not snapshots:
            logging.warning("No figure: no round of the 2-d embedding ended within max_steps.")
            return
        path = self.workdir / "rounds.png"
        with path.open("wb") as file:
            draw_rounds(snapshots).savefig(file, format="png", dpi=110)


def load_benchmark(settings: Settings) -> Benchmark:
    """Loads the data set of an experiment.

    Raises:
        ValueError: See `ccp_dml.data.load` and `ccp_dml.models.value_scaling`.
    """
    scaling = settings.scaling
    if scaling == "auto":
        scaling = value_scaling(settings.backbone)
    return load(
        settings.dataset,
        settings.data_dir or None,
        Preprocessing(settings.image_size, settings.resize_size or None, settings.crop, scaling),
        settings.cache,
        settings.max_bad_images,
        **settings.dataset_params,
    )


def _split(
    benchmark: Benchmark, settings: Settings
) -> tuple[LabeledSamples, LabeledSamples, LabeledSamples | None]:
    """Training samples, relabelled 0…C − 1, validation samples, and what these are searched in."""
    train = benchmark.train
    if settings.validation == "test":
        return train.with_labels(contiguous(train.labels)), benchmark.test, benchmark.gallery
    if settings.validation == "classes":
        indices, held_out = class_fold(train.labels, settings.num_folds, settings.fold)
    else:
        indices, held_out = hold_out_samples(
            train.labels, settings.validation_fraction, settings.seed
        )
    training, validation = train.subset(indices), train.subset(held_out)
    if validation.num_classes < 2:
        raise ValueError(
            f"{validation.num_classes} classes are too few to validate retrieval on: choose fewer "
            f"than {settings.num_folds} folds, another fold than {settings.fold}, or "
            "validation=samples"
        )
    return training.with_labels(contiguous(training.labels)), validation, None


def _network(model):
    """The part of a model that is used after training: from images to normalised embeddings."""
    inputs = keras.Input(model.embedding_model.backbone.input_shape[1:])
    outputs = model.normalization(model.embedding_model(inputs, training=False))
    return keras.Model(inputs, outputs, name="embedding")


def table(results: dict, methods: tuple[str, ...]) -> str:
    """The results as a Markdown table, a row for the state before training and for each method.

    Args:
        results: As `Experiment.run` returns them.
        methods: The methods in `results`.
    """
    rows = {name: results[name] for name in ("before", *methods)}
    return metrics_table("on unseen classes", rows, _COLUMNS)
