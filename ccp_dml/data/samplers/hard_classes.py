"""Batches in which some classes are near others of the batch."""

import functools

import numpy as np
import tensorflow as tf

from ccp_dml.checks import check_fraction, check_whole_number
from ccp_dml.data.samplers.passes import Groups, inclusion_probabilities, visit_groups
from ccp_dml.data.samplers.samples_by_class import check_batch
from ccp_dml.data.samplers.seeds import make_generator

_PURPOSE = "hard classes"
_MAX_WAITING = 1000


class ClassNeighbors:
    """The nearest classes of each class, updated at known steps.

    Drawing the batch of a step waits for the neighbours of that step, however far batches are
    prefetched, so that the same seed gives the same batches.

    Args:
        steps: Steps from one update to the next.

    Attributes:
        steps: The same.
        nearest: For each class, in ascending order of the labels, the places of others in this
            order, nearest first `(C, k)`; `(0, 0)` before the first update.
        updates: Number of updates so far.
        is_attached: Whether something has announced that it updates them; otherwise nothing waits.

    Raises:
        ValueError: If `steps` is not positive.
    """

    def __init__(self, steps: int):
        check_whole_number("steps", steps, 1)
        self.steps = steps
        with tf.device("CPU"):
            self._queue = tf.queue.FIFOQueue(_MAX_WAITING, [tf.int64, tf.int64])
        self.is_attached = False
        self._training = 0
        self.reset()

    def reset(self):
        """Forgets all updates."""
        self.nearest, self.updates = np.zeros((0, 0), "int64"), 0
        self._training += 1
        for _ in range(int(self._queue.size())):
            self._queue.dequeue()

    def restore(self, nearest: np.ndarray, updates: int):
        """Restores the neighbours when a training is resumed."""
        self.reset()
        self.nearest, self.updates = nearest, updates

    def update(self, nearest: np.ndarray):
        """Sets the neighbours for the next `steps` steps.

        Args:
            nearest: `(C, k)`.
        """
        self.nearest, self.updates = np.asarray(nearest, "int64"), self.updates + 1
        self._queue.enqueue((self._training, self.nearest))

    def tables(self, first_step: int) -> tf.data.Dataset:
        """Yields the neighbours of one stretch of steps after the other.

        Args:
            first_step: A step of the first stretch, for which the last update was made.

        Returns:
            A dataset of the number of each stretch and its neighbours. It waits for updates.
        """
        first, nearest = first_step // self.steps, self.nearest
        if first != self.updates:
            raise ValueError(
                f"step {first_step} needs the neighbours of update {first}, but the current ones "
                f"are of update {self.updates}: restore them first"
            )

        def identify_training():
            if not self.is_attached:
                raise RuntimeError(
                    "the neighbours of the classes are never updated: add HardClasses to the "
                    "callbacks of fit"
                )
            return np.int64(self._training)

        def take_next():
            training = tf.numpy_function(identify_training, [], tf.int64)
            with tf.control_dependencies([training]):
                updated, table = self._queue.dequeue()
            is_current = updated == training
            tf.cond(is_current, tf.no_op, lambda: self._queue.enqueue((updated, table)))
            return is_current, table

        def one_stretch(number):
            is_current, table = tf.cond(
                number == first, lambda: (True, tf.constant(nearest)), take_next
            )
            return is_current, number, tf.ensure_shape(table, [None, None])

        with tf.device("CPU"):
            stretches = tf.data.Dataset.counter(first).map(one_stretch)
            # After an error, the iterator of a training may live on and wait: it has to leave the
            # updates to the next training, and end.
            stretches = stretches.take_while(lambda is_current, *_: is_current)
            return stretches.map(lambda _, number, table: (number, table))


def hard_class_batches(
    labels: np.ndarray,
    classes_per_batch: int,
    samples_per_class: int,
    seed: int,
    first_step: int = 0,
    *,
    neighbors: ClassNeighbors,
    fraction: float = 0.5,
) -> tf.data.Dataset:
    """Yields endless batches in which a fraction of the classes is near the others.

    The others appear in random order, each once before any appears again. For each of them in turn,
    a class is added that is drawn among its nearest and is not in the batch yet; before the first
    update of the neighbours, any class. A batch never contains a class twice. The samples of a
    class are a random choice of them, without repetition unless the class has too few.

    Args:
        labels: Integer labels of the samples `(n,)`; any integers.
        classes_per_batch: Number of classes in a batch.
        samples_per_class: Number of samples of each of them.
        seed: Determines the order.
        first_step: Number of batches to skip, which takes no time. Defaults to 0.
        neighbors: The nearest classes of each class; `ccp_dml.callbacks.HardClasses` holds and
            updates them.
        fraction: Fraction of the classes of a batch that are added, between 0 and 1. At least one
            is added, and at least one is not. Defaults to 0.5.

    Returns:
        A dataset of int64 vectors `(classes_per_batch · samples_per_class,)`, indices into
        `labels`; the samples of a class are next to each other, and the classes that were added
        come last.

    Raises:
        ValueError: If there are no samples, a count is not positive, the fraction is not between 0
            and 1, there are fewer classes than a batch needs or fewer than 2 in a batch, or the
            neighbours are not of the first step.
    """
    classes = Groups(labels)
    num_classes = len(classes.sizes)
    check_batch(num_classes, classes_per_batch, samples_per_class)
    check_whole_number("classes_per_batch", classes_per_batch, 2)
    check_fraction("fraction", fraction)
    num_added = min(max(1, round(fraction * classes_per_batch)), classes_per_batch - 1)
    num_random = classes_per_batch - num_added
    batches_per_pass = -(-num_classes // num_random)
    probabilities = inclusion_probabilities(np.ones(num_classes), num_random)

    @functools.lru_cache(maxsize=2)
    def draw_pass(number):
        return visit_groups(
            probabilities, batches_per_pass, make_generator(seed, f"{_PURPOSE}, pass", number)
        )

    def draw_batch(step, nearest):
        number, place = divmod(int(step), batches_per_pass)
        generator = make_generator(seed, _PURPOSE, int(step))
        chosen = add_near_classes(
            draw_pass(number)[place], nearest, num_added, num_classes, generator
        )
        return np.concatenate(
            [classes.choose(each, samples_per_class, generator) for each in chosen]
        ).astype("int64")

    def stretch(number, nearest):
        first = tf.maximum(number * neighbors.steps, first_step)
        steps = tf.data.Dataset.range(first, (number + 1) * neighbors.steps)

        def one_batch(step):
            batch = tf.numpy_function(draw_batch, [step, nearest], tf.int64)
            return tf.ensure_shape(batch, [classes_per_batch * samples_per_class])

        return steps.map(one_batch)

    with tf.device("CPU"):
        return neighbors.tables(first_step).flat_map(stretch)


def add_near_classes(
    chosen: np.ndarray,
    nearest: np.ndarray,
    count: int,
    num_classes: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """Adds classes that are near given ones.

    Args:
        chosen: Different classes `(r,)`.
        nearest: For each class others, nearest first `(C, k)`; any classes do if it is empty.
        count: Number of classes to add, at most `num_classes − r`.
        num_classes: C.
        generator: Random numbers.

    Returns:
        The chosen classes and the added ones `(r + count,)`. If all near classes of one are already
        there, any class is added.

    Example:

    >>> nearest = np.array([[1], [0], [3], [2]])
    >>> add_near_classes(np.array([0, 2]), nearest, 2, 4, np.random.default_rng(0)).tolist()
    [0, 2, 1, 3]
    """
    batch = chosen.tolist()
    for place in range(count):
        candidates = nearest[chosen[place % len(chosen)]] if nearest.size else np.arange(0)
        candidates = np.setdiff1d(candidates, batch)
        if not candidates.size:
            candidates = np.setdiff1d(np.arange(num_classes), batch)
        batch.append(int(generator.choice(candidates)))
    return np.array(batch)
