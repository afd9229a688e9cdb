"""One run: the methods of its settings are trained from the same weights and measured."""

import os
from typing import Any

import numpy as np
from absl import logging
from etils import epath

from ccp_dml.atomic_write import atomic_write
from ccp_dml.callbacks import (
    AlternatingProjections,
    HardClasses,
    HistoryLog,
    RetrievalValidation,
    RoundSnapshots,
    TensorBoardLogs,
    TerminateOnFailure,
)
from ccp_dml.data import training_batches
from ccp_dml.distribution import broadcast_from_chief
from ccp_dml.evaluation import embed
from ccp_dml.experiment.baselines import measure_baselines
from ccp_dml.experiment.concatenation import EMBEDDINGS_FILE
from ccp_dml.experiment.data_fingerprint import fingerprint_data
from ccp_dml.experiment.evaluation import embed_test
from ccp_dml.experiment.hardware import record_hardware, writable_folder
from ccp_dml.experiment.interruption import Interruption
from ccp_dml.experiment.methods import (
    best_phase,
    make_callbacks,
    make_hard_classes,
    make_loss,
    make_model,
)
from ccp_dml.experiment.metrics import CLASS_FILE, measure, write_class_metrics
from ccp_dml.experiment.networks import Float32Networks, make_embedding_model
from ccp_dml.experiment.results import (
    VALIDATION_FILE,
    best_method,
    load_unfinished_results,
    write_results,
)
from ccp_dml.experiment.resumable_training import ResumableTraining, TrainingFailedError
from ccp_dml.experiment.settings import Settings
from ccp_dml.experiment.training_data import (
    load_benchmark,
    sampler_arguments,
    split_benchmark,
)
from ccp_dml.experiment.workdir import write_json
from ccp_dml.inference import make_embedder
from ccp_dml.models import EmbeddingModel, MetricLearningModel
from ccp_dml.report import (
    draw_rounds,
    make_retriever,
    make_samples,
    write_galleries,
    write_projector,
)


class Run:
    """Trains the methods of `settings` and writes everything worth keeping to a folder.

    In the folder: `flags.txt`; `results.json`; `model.keras`, the network that validated best, an
    `ImageEmbedder` from images in files to normalised embeddings; `rounds.png`, if `figure_rounds`
    is set; for each method a folder with its `model.keras`, `history.csv`, TensorBoard logs,
    `test_embeddings.npz` and `class_metrics.csv`; and a folder `before` with the
    `test_embeddings.npz` of the network before training.

    Args:
        settings: What to do.

    Attributes:
        benchmark: The data set.
        data: Its split for training and validation.

    Raises:
        ValueError: If the settings do not fit each other or the data, or the data cannot be loaded.

    Example:

    ```python
    run = Run(Settings(learning_rate=1e-3, validation="samples"))
    results = run.train("/tmp/digits")
    ```
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        _check_methods(settings)
        self._float32_networks = Float32Networks(settings)
        self.benchmark = load_benchmark(settings)
        self.data = split_benchmark(self.benchmark, settings)
        self._data_fingerprint = fingerprint_data(self.benchmark, self.data)
        self._make_batches()

    def train(
        self,
        workdir: str | os.PathLike,
        checkpoint_minutes: float = 5.0,
        interruption: Interruption | None = None,
    ) -> dict[str, Any]:
        """Trains and measures every method whose results `workdir` does not contain yet.

        An interrupted run is resumed and ends with the same numbers as one that was not
        interrupted. Results with other settings or data are moved to the folder `earlier` in
        `workdir`. No other process may work in the folder; see `WorkdirLock`. With several workers,
        all have to call this, and only the chief writes to the folder.

        Args:
            workdir: Folder for the results; any path that `etils.epath` knows.
            checkpoint_minutes: Minutes of training between two checkpoints. Defaults to 5.
            interruption: Receives signals. Defaults to `None`: they are not handled.

        Returns:
            What `results.json` holds.

        Raises:
            TrainingFailedError: If a loss is not finite or the embeddings collapse.
            RunInterruptedError: If a signal was received; progress is saved.
            OSError: If `workdir` cannot be written to.
            ValueError: If a worker does not see what the chief writes to `workdir`.
        """
        shared = epath.Path(workdir)
        results = self._load_unfinished_results(shared)
        results |= record_hardware(self.settings)
        if self.settings.label_noise:
            results["label_noise"] = self._count_replaced_labels()
        _check_shared(shared)
        training = self._resumable_training(shared, checkpoint_minutes, interruption)
        with writable_folder(shared) as folder:
            return self._train_missing(results, folder, training)

    def validate(
        self,
        workdir: str | os.PathLike,
        checkpoint_minutes: float = 5.0,
        interruption: Interruption | None = None,
    ) -> dict[str, Any]:
        """Trains every method and stores its validation, without measuring the test classes.

        The arguments and errors are those of `train`, and an interrupted run is resumed likewise.
        It writes `flags.txt`, `validation.json`, and for each method a folder with its
        `history.csv`.

        Returns:
            What `validation.json` holds.
        """
        shared = epath.Path(workdir)
        left = self._load_unfinished_results(shared)
        # A folder may also contain results of `train`.
        results = {name: left[name] for name in ("seed", "fold", "data", "versions")}
        results |= record_hardware(self.settings)
        _check_shared(shared)
        training = self._resumable_training(shared, checkpoint_minutes, interruption)
        with writable_folder(shared) as folder:
            for method in self.settings.method:
                _, results[method] = self._train_model(
                    method, folder, training, has_tensorboard=False
                )
            write_json(folder / VALIDATION_FILE, results)
        training.remove_checkpoints()
        return results

    def _load_unfinished_results(self, workdir):
        return broadcast_from_chief(
            lambda: load_unfinished_results(workdir, self.settings, self._data_fingerprint)
        )

    def _resumable_training(self, *arguments):
        return ResumableTraining(self.settings, self._data_fingerprint, *arguments)

    def _train_missing(self, results, workdir, training):
        if "before" not in results:
            model = self._float32_networks.copy(MetricLearningModel(self.make_embedding_model()))
            baselines, embeddings = measure_baselines(
                model, self.benchmark, self.settings, training.embedding_callbacks()
            )
            _save_embeddings(workdir / "before" / EMBEDDINGS_FILE, embeddings, self.benchmark)
            results |= baselines
            write_results(workdir, results)
        for method in self.settings.method:
            if method not in results:
                results[method] = self._train_method(method, workdir, training)
                if method == best_method(results, self.settings):
                    _copy(workdir / method / "model.keras", workdir / "model.keras")
                # Written after every method, so that a later failure loses nothing.
                write_results(workdir, results)
                training.remove_checkpoints(method)
        if self.settings.figure_rounds and "figure" not in results:
            results["figure"] = self._draw_rounds(workdir, training)
            write_results(workdir, results)
        training.remove_checkpoints()
        return results

    def make_embedding_model(self, embedding_size: int | None = None) -> EmbeddingModel:
        """Makes the network before training, always the same.

        Args:
            embedding_size: Defaults to that of the settings.
        """
        return make_embedding_model(self.settings, embedding_size)

    def _train_model(self, method, workdir, training, has_tensorboard=True):
        """Trains a method; returns the model with its best weights, and numbers of the training."""
        settings, folder = self.settings, workdir / method
        model = self._make_model(method, self.make_embedding_model())
        validation = self._make_validation(training)
        method_callbacks = make_callbacks(model, settings, self.data.train)
        loggers = [HistoryLog(folder / "history.csv")]
        if has_tensorboard:
            loggers.append(TensorBoardLogs(validation, os.fspath(folder / "tensorboard")))
        folder.mkdir(parents=True, exist_ok=True)
        callbacks = [validation, TerminateOnFailure(), *method_callbacks, *loggers]
        state = training.fit(method, model, self._make_batches, callbacks)
        phase = best_phase(model, callbacks, validation.best_epoch, settings.steps_per_validation)
        rounds = [each.round for each in callbacks if isinstance(each, AlternatingProjections)]
        if phase:
            logging.warning(
                "The best weights of %s are from before it took full effect (%s): its row in the "
                "results describes training without the later phases.",
                method,
                phase,
            )
        summary = {
            "steps": state.step,
            # Before the first round it is -1.
            "rounds": max([0, *rounds]),
            "seconds": state.seconds,
            f"validation_{settings.monitor}": validation.best,
            "best_step": (validation.best_epoch + 1) * settings.steps_per_validation,
            "best_phase": phase,
        }
        return self._float32_networks.copy(model), summary

    def _train_method(self, method, workdir, training):
        folder = workdir / method
        model, summary = self._train_model(method, workdir, training)
        embeddings = embed_test(model, self.benchmark, training.embedding_callbacks())
        measured = measure(embeddings, self.benchmark, self.settings)
        write_class_metrics(
            folder / CLASS_FILE, {method: measured.by_class}, self.benchmark.class_names
        )
        _save_embeddings(folder / EMBEDDINGS_FILE, embeddings, self.benchmark)
        self._write_tensorboard(
            model, embeddings, folder / "tensorboard", summary["steps"], training
        )
        with atomic_write(folder / "model.keras") as unfinished:
            make_embedder(model, self.benchmark.train).save(unfinished)
        return {**measured.metrics, **summary}

    def _write_tensorboard(self, model, test_embeddings, log_dir, step, training):
        """Writes galleries of the validation samples for the best weights, and test embeddings."""
        benchmark, data = self.benchmark, self.data
        test = make_samples(benchmark.test, benchmark.gallery, benchmark.class_names)
        write_projector(log_dir, np.concatenate(test_embeddings), test)
        samples = make_samples(data.validation, data.validation_gallery, benchmark.class_names)
        callbacks = training.embedding_callbacks()
        embeddings = embed(model, data.validation.evaluation_images(), callbacks=callbacks)
        gallery = data.validation_gallery
        gallery_embeddings = (
            None
            if gallery is None
            else embed(model, gallery.evaluation_images(), callbacks=callbacks)
        )
        retriever = make_retriever("validation", embeddings, gallery_embeddings, samples)
        write_galleries(log_dir / "galleries", retriever, samples, step)

    def _make_model(self, method, embedding_model):
        return make_model(method, self.settings, embedding_model, self.data.train.num_classes)

    def _count_replaced_labels(self):
        data = self.data
        return {
            "samples": len(data.train),
            "replaced": data.num_replaced,
            "classes": len(data.classes),
        }

    def _make_batches(self, first_step=0, callbacks=()):
        settings = self.settings
        arguments = sampler_arguments(self.data, settings)
        if settings.sampler == "hard_classes":
            updating = [each for each in callbacks if isinstance(each, HardClasses)]
            (hard_classes,) = updating or [make_hard_classes(settings, self.data.train)]
            arguments["neighbors"] = hard_classes.neighbors
        return training_batches(
            self.data.train,
            settings.classes_per_batch,
            settings.samples_per_class,
            settings.seed,
            first_step,
            settings.sampler,
            **arguments,
        )

    def _make_validation(self, training):
        settings, data = self.settings, self.data
        return RetrievalValidation(
            data.validation,
            settings.monitor,
            settings.patience,
            gallery=data.validation_gallery,
            predict_callbacks=training.validation_callbacks(),
        )

    def _draw_rounds(self, workdir, training):
        """Trains a 2-d embedding for the first rounds and draws how each ends."""
        train = self.data.train
        model = self._make_model("ccp", self.make_embedding_model(embedding_size=2))
        snapshots = RoundSnapshots(train, self.settings.figure_rounds + 1)
        callbacks = [
            self._make_validation(training),
            TerminateOnFailure(),
            *make_callbacks(model, self.settings, train, snapshots.add),
            snapshots,
        ]
        try:
            training.fit("figure", model, self._make_batches, callbacks)
        except TrainingFailedError as error:
            logging.warning("The figure is incomplete: %s.", error)
        drawn = snapshots.snapshots
        if drawn:
            with atomic_write(workdir / "rounds.png") as path, path.open("wb") as file:
                draw_rounds(drawn).savefig(file, format="png", dpi=110)
        else:
            logging.warning("No figure: no round of the 2-d embedding ended within max_steps.")
        return {"rounds": len(drawn)}


def _check_methods(settings: Settings):
    """Makes the loss, the network and the model of every method before data are loaded, as a check.

    Raises:
        ValueError: If they do not fit each other.
    """
    make_loss(settings)
    embedding_model = make_embedding_model(settings)
    drawn = ("ccp",) if settings.figure_rounds else ()
    for method in dict.fromkeys((*settings.method, *drawn)):
        make_model(method, settings, embedding_model, num_classes=2)


def _check_shared(workdir):
    """Checks that this worker sees the folder that the chief writes to."""
    if not (workdir / "flags.txt").exists():
        raise ValueError(
            f"this worker does not see what the chief writes to workdir {workdir}: it must be a "
            "folder that all workers share"
        )


def _copy(source, target):
    with atomic_write(target) as unfinished:
        source.copy(unfinished, overwrite=True)


def _save_embeddings(path, embeddings, benchmark):
    arrays = {"embeddings": embeddings[0], "labels": benchmark.test.labels}
    if benchmark.gallery is not None:
        arrays |= {"gallery_embeddings": embeddings[1], "gallery_labels": benchmark.gallery.labels}
    with atomic_write(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, **arrays)
