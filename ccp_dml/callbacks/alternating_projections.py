"""The rounds of CCP: when one ends, and what the next one starts from."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import tensorflow as tf
from absl import logging

from ccp_dml.callbacks.resumable_callback import ResumableCallback, pack_arrays, unpack_arrays
from ccp_dml.checks import check_at_least, check_one_of, check_whole_number
from ccp_dml.data import ClassPools
from ccp_dml.distribution import BatchMap, is_chief, strategy_of
from ccp_dml.evaluation import radius_by_centers
from ccp_dml.layers import lipschitz_normalize
from ccp_dml.losses.distances import to_float
from ccp_dml.models import ChanceConstrainedModel
from ccp_dml.progress_bar import ProgressBar
from ccp_dml.projections import SELECTIONS, RoundEnd

# Separates random samples from the perturbation of the same seed and round.
_SELECTION_STREAM = 1


class AlternatingProjections(ResumableCallback):
    """Ends a round of CCP when validation stops improving, and starts the next one.

    When training begins, the proxies are chosen by greedy k-centre from a pool of embedded samples,
    measured from the origin. After every epoch the monitored metric is read. If it exceeds the
    round's best by more than `min_delta`, it counts as better, and the weights and proxies are
    remembered. After `patience` epochs without improvement the round ends:

    - the reference point becomes the *best* weights of the round, and λ takes its value for the
      next round;
    - training continues from the *current* weights, and the optimizer's moments carry over;
    - the proxies are replaced by greedy k-centre of a fresh pool, embedded with the current weights
      in inference mode, with the round's best proxies as the initial centres;
    - the round's best value and the patience are reset.

    This is the paper's method. Three arguments change it, to measure what each part contributes:
    `proxy_selection` selects the proxies in another way; `max_renewals` limits how often proxies
    are replaced, after which rounds still end but proxies stay; and `max_round_epochs` ends a round
    that is still improving.

    λ is 0 in round 0 and `proximal_weight · proximal_growthᵗ` in round t.

    Adds `round`, `proximal_weight`, `covering_radius` (of the proxies with which the last round
    ended; NaN before) and `next_covering_radius` (of the proxies that replaced them) to the epoch's
    logs. It must come after the callback that adds the monitored metric.

    Args:
        pool: Function of the round t that returns the samples to choose proxies from: a
            `tf.data.Dataset` of batches of `(inputs, labels)` with b draws of one sample of every
            class 0…C − 1 in class order. The functions that `ccp_dml.data.class_pools` returns can
            also provide only some of the classes: their pools are embedded in slices.
        monitor: The metric in the logs to read; larger is better. Defaults to `"val_map_at_r"`.
        patience: Number of epochs without improvement that end a round. Defaults to 3.
        min_delta: Smallest increase that counts as an improvement. Defaults to 1e-5.
        proximal_weight: λ₀. Defaults to 2e-4.
        proximal_growth: γ. Defaults to 1.
        perturbation: Size σ of the Gaussian noise added to each weight of the reference point,
            relative to the weight's root mean square. Defaults to 0: none.
        warmup_epochs: Number of epochs of training on the batch loss alone before round 0, for
            networks trained from scratch, whose samples lie so close together at first that a loss
            against proxies can collapse them to one point. Defaults to 0.
        proxy_selection: What replaces the proxies of a class: `"k_center"`, samples of the pool
            chosen by greedy k-centre; `"random"`, random samples of the pool; `"class_means"`, the
            mean of the pool, for all proxies of the class; `"none"`, nothing: proxies start from
            random vectors and keep what they learn. Defaults to `"k_center"`. See
            `ccp_dml.projections`.
        max_renewals: How often proxies are replaced after they were first selected; 0 for never.
            Defaults to `None`: whenever a round ends.
        max_round_epochs: Number of epochs after which a round ends even if validation still
            improves. Defaults to `None`: no limit.
        seed: Determines the perturbation and random samples. Defaults to 0.
        on_round_end: Function that is called with a `RoundEnd` before the proxies are replaced.
            Defaults to `None`.
        slice_bytes: Size of the slices of classes whose embedded pools are in memory at a time;
            processing takes several times as much. Defaults to 2²⁸, 256 MB, enough for all of
            43,000 classes with 12 draws of size 128. It does not affect which proxies are chosen.

    Attributes:
        round: The current round, from 0; −1 in the warm-up.

    Raises:
        ValueError: If an argument is out of range; during training, if the model is not a
            `ChanceConstrainedModel`, the logs do not contain the metric, the pool is not as
            described, or training resumes in the middle without the state of the rounds.

    Example:

    ```python
    model.fit(
        training_batches(train, classes_per_batch=8, samples_per_class=4, seed=0),
        steps_per_epoch=25,
        epochs=1000,
        callbacks=[
            RetrievalValidation(validation, patience=60),
            AlternatingProjections(class_pools(train, draws=12, seed=0)),
        ],
    )
    ```
    """

    def __init__(
        self,
        pool: ClassPools | Callable[[int], tf.data.Dataset],
        monitor: str = "val_map_at_r",
        patience: int = 3,
        min_delta: float = 1e-5,
        proximal_weight: float = 2e-4,
        proximal_growth: float = 1.0,
        perturbation: float = 0.0,
        warmup_epochs: int = 0,
        proxy_selection: str = "k_center",
        max_renewals: int | None = None,
        max_round_epochs: int | None = None,
        seed: int = 0,
        on_round_end: Callable[[RoundEnd], None] | None = None,
        slice_bytes: int = 2**28,
    ):
        super().__init__()
        check_whole_number("patience", patience, 1)
        check_whole_number("warmup_epochs", warmup_epochs, 0)
        check_whole_number("slice_bytes", slice_bytes, 1)
        for name, value in [
            ("min_delta", min_delta),
            ("proximal_weight", proximal_weight),
            ("proximal_growth", proximal_growth),
            ("perturbation", perturbation),
        ]:
            check_at_least(name, value, 0)
        check_one_of("proxy_selection", proxy_selection, (*SELECTIONS, "none"))
        if max_renewals is not None:
            check_whole_number("max_renewals", max_renewals, 0)
        if max_round_epochs is not None:
            check_whole_number("max_round_epochs", max_round_epochs, 1)
        self.pool = pool
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta
        self.proximal_weight = proximal_weight
        self.proximal_growth = proximal_growth
        self.perturbation = perturbation
        self.warmup_epochs = warmup_epochs
        self.proxy_selection = proxy_selection
        self.max_renewals = max_renewals
        self.max_round_epochs = max_round_epochs
        self.seed = seed
        self.slice_bytes = slice_bytes
        self.on_round_end = on_round_end
        self._starts_over = True
        self.reset()

    def reset(self):
        self.round = -1
        self._epochs_warmed_up = 0
        self._round_of_epoch: list[int] = []
        self._covering_radius = self._next_covering_radius = float("nan")
        self._forget_round()

    def _forget_round(self):
        self._best = -np.inf
        self._epochs_without_improvement = self._epochs_of_round = 0
        self._best_weights: list[np.ndarray] | None = None
        self._best_proxies: np.ndarray | None = None

    def on_train_begin(self, logs=None):
        if not isinstance(self.model, ChanceConstrainedModel):
            raise ValueError(
                "AlternatingProjections needs a ccp_dml.models.ChanceConstrainedModel; got "
                f"{type(self.model).__name__}"
            )
        if not self.model.built:
            raise ValueError("the model has no weights yet: call model.build(input_shape) first")
        network = self.model.embedding_model
        self._embed = BatchMap(
            lambda inputs: to_float(network(inputs, training=False)),
            network.variables,
            strategy_of(self.model),
        )
        self._starts_over = not self._restored
        super().on_train_begin(logs)
        if not self._starts_over:
            self.model.warming_up.assign(self.round < 0)
            return
        self.model.proximal_weight.assign(0.0)
        if self.warmup_epochs:
            self.model.warming_up.assign(True)
        else:
            self._begin_first_round()

    def on_epoch_begin(self, epoch, logs=None):
        if self._starts_over and epoch:
            raise ValueError(
                f"training resumes at epoch {epoch}, but the rounds would start over: save and "
                "restore the state of AlternatingProjections too, as "
                "ccp_dml.callbacks.TrainingState does"
            )
        self._starts_over = False

    def on_epoch_end(self, epoch, logs=None):
        logs = {} if logs is None else logs
        logs["round"] = self.round
        self._round_of_epoch.append(self.round)
        logs["proximal_weight"] = float(self.model.proximal_weight.numpy())
        if self.round < 0:
            self._epochs_warmed_up += 1
            if self._epochs_warmed_up >= self.warmup_epochs:
                self._begin_first_round()
        else:
            self._read_metric(logs)
        logs["covering_radius"] = self._covering_radius
        logs["next_covering_radius"] = self._next_covering_radius

    def on_train_end(self, logs=None):
        # A training without this callback has no warm-up that could end.
        self.model.warming_up.assign(False)

    def round_of_epoch(self, epoch: int) -> int:
        """Returns the round that an epoch of this training belongs to, −1 for the warm-up.

        Args:
            epoch: Number of a completed epoch, from 0.
        """
        return self._round_of_epoch[epoch]

    def _begin_first_round(self):
        self.model.warming_up.assign(False)
        self.model.set_reference_point(self.model.proximal_variables)
        self.round = 0
        if self.proxy_selection == "none":
            return
        select = self._selection()
        for first_class, pool in self._embed_pool():
            from_origin = np.zeros((len(pool), 0, pool.shape[2]), "float32")
            self.model.proxies.assign_by_class(select(pool, from_origin), first_class)

    def _read_metric(self, logs):
        if self.monitor not in logs:
            raise ValueError(
                f"the epoch's logs have no {self.monitor!r}, only {', '.join(sorted(logs))}: "
                "put the callback that measures it, such as RetrievalValidation, before "
                "AlternatingProjections"
            )
        self._epochs_of_round += 1
        if logs[self.monitor] > self._best + self.min_delta:
            self._best = logs[self.monitor]
            self._epochs_without_improvement = 0
            self._best_weights = [variable.numpy() for variable in self.model.proximal_variables]
            self._best_proxies = self.model.proxies.by_class()
        else:
            self._epochs_without_improvement += 1
        max_epochs = self.max_round_epochs or np.inf
        if self._epochs_without_improvement >= self.patience or self._epochs_of_round >= max_epochs:
            self._end_round()

    def _end_round(self):
        best_proxies = self._best_proxies
        if self._best_weights is None or best_proxies is None:
            # A round has no best value only if the metric was always NaN.
            logging.warning("Round %d continues: %s was always NaN.", self.round, self.monitor)
            return
        ended, self.round = self.round, self.round + 1
        renews = self._renews_proxies()
        next_proxies = self.model.proxies.by_class()
        select = self._selection()
        radii, next_radii, pool = [], [], None
        for first_class, pool in self._embed_pool():
            classes = slice(first_class, first_class + len(pool))
            if renews:
                next_proxies[classes] = select(pool, best_proxies[classes])
            radii.append(_compute_radii(pool, best_proxies[classes]))
            next_radii.append(_compute_radii(pool, next_proxies[classes]))
        self._covering_radius = float(np.concatenate(radii).mean())
        self._next_covering_radius = float(np.concatenate(next_radii).mean())
        if self.on_round_end is not None:
            self.on_round_end(
                RoundEnd(
                    round=ended,
                    proxies=best_proxies,
                    next_proxies=next_proxies,
                    pool=pool if len(radii) == 1 else None,
                    covering_radius=self._covering_radius,
                    next_covering_radius=self._next_covering_radius,
                )
            )
        self.model.set_reference_point(self._perturb(self._best_weights))
        self.model.proximal_weight.assign(self.proximal_weight * self.proximal_growth**self.round)
        self._forget_round()
        if renews:
            self.model.proxies.assign_by_class(next_proxies)

    def _renews_proxies(self):
        """Returns whether the round that begins replaces the proxies."""
        is_allowed = self.max_renewals is None or self.round <= self.max_renewals
        return self.proxy_selection != "none" and is_allowed

    def _embed_pool(self) -> Iterator[tuple[int, np.ndarray]]:
        """Embeds the pool of the current round with the current weights, in slices of classes.

        Yields:
            The first class of a slice, and the embeddings of its samples `(n, b, d)`.
        """
        num_classes, dimensions = (
            self.model.proxies.num_classes,
            self.model.proxies.vectors.shape[1],
        )
        at_once = num_classes
        if isinstance(self.pool, ClassPools):
            class_bytes = self.pool.draws * dimensions * np.dtype("float32").itemsize
            at_once = max(1, self.slice_bytes // class_bytes)
        slices = [
            range(first, min(first + at_once, num_classes))
            for first in range(0, num_classes, at_once)
        ]
        with ProgressBar(
            desc=f"embedding the pool of round {self.round}",
            unit="batch",
            delay=1,
            leave=False,
            disable=not is_chief(strategy_of(self.model)),
        ) as line:
            for classes in slices:
                if isinstance(self.pool, ClassPools) and len(slices) > 1:
                    pool = self.pool(self.round, classes)
                else:
                    pool = self.pool(self.round)
                yield classes.start, self._embed_classes(pool, classes, line.update)

    def _embed_classes(self, pool, classes, on_batches):
        read_labels = []

        def read_inputs():
            for inputs, batch_labels in pool:
                read_labels.append(batch_labels.numpy())
                yield inputs

        embeddings = self._embed(read_inputs(), on_batches)
        labels = np.concatenate(read_labels)
        draws = len(labels) // len(classes)
        if not draws or not np.array_equal(labels.ravel(), np.tile(classes, draws)):
            raise ValueError(
                "the pool must consist of draws of one sample from each of the classes "
                f"{classes.start}…{classes.stop - 1} in this order; got {len(labels)} samples of "
                f"the classes {labels[:10]}…"
            )
        embeddings = embeddings.reshape(draws, len(classes), -1)
        return np.ascontiguousarray(np.swapaxes(embeddings, 0, 1))

    def _selection(self):
        """Returns the function that selects the proxies of the round from slices of the pool."""
        generator = np.random.default_rng([self.seed, self.round, _SELECTION_STREAM])
        proxies_per_class = self.model.proxies.proxies_per_class
        return lambda pool, proxies: SELECTIONS[self.proxy_selection](
            pool, proxies, proxies_per_class, generator
        )

    def _perturb(self, weights):
        if not self.perturbation:
            return weights
        generator = np.random.default_rng([self.seed, self.round])
        return [
            weight
            + self.perturbation
            * np.sqrt(np.mean(np.square(weight)))
            * generator.standard_normal(weight.shape, "float32")
            for weight in weights
        ]

    def state(self) -> dict[str, np.ndarray]:
        """Returns the state of the callback between two epochs, for `numpy.savez` and `restore`.

        The model's part (weights, proxies, reference point, λ, optimizer) is in the model. Save
        both while training runs: when it ends, `RetrievalValidation` restores the best weights.
        """
        state = {
            "round": np.asarray(self.round),
            "epochs_warmed_up": np.asarray(self._epochs_warmed_up),
            "round_of_epoch": np.asarray(self._round_of_epoch, "int64"),
            "covering_radius": np.asarray(self._covering_radius),
            "next_covering_radius": np.asarray(self._next_covering_radius),
            "best": np.asarray(self._best),
            "epochs_without_improvement": np.asarray(self._epochs_without_improvement),
            "epochs_of_round": np.asarray(self._epochs_of_round),
        }
        if self._best_proxies is not None:
            state["best_proxies"] = self._best_proxies
        return state | pack_arrays("best_weights", self._best_weights)

    def set_state(self, state: Mapping[str, np.ndarray]):
        self.round = int(state["round"])
        self._epochs_warmed_up = int(state["epochs_warmed_up"])
        self._round_of_epoch = state["round_of_epoch"].tolist()
        self._covering_radius = float(state["covering_radius"])
        self._next_covering_radius = float(state["next_covering_radius"])
        self._best = float(state["best"])
        self._epochs_without_improvement = int(state["epochs_without_improvement"])
        self._epochs_of_round = int(state["epochs_of_round"])
        self._best_weights = unpack_arrays("best_weights", state)
        self._best_proxies = None if self._best_weights is None else state["best_proxies"]


def _compute_radii(pool, proxies):
    return radius_by_centers(
        np.asarray(lipschitz_normalize(pool)), np.asarray(lipschitz_normalize(proxies))
    )
