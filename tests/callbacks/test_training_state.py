"""Trainings that are interrupted and resumed, against the same ones that are not."""

import csv
import io
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from ccp_dml.callbacks import (
    AlternatingProjections,
    HistoryLog,
    ResumableCallback,
    RetrievalValidation,
    TerminateOnFailure,
    TrainingInterruptedError,
    TrainingState,
    training_state,
)
from ccp_dml.data import load, training_batches
from ccp_dml.experiment.methods import make_callbacks
from tests.cases import settings_of, small_model

pytestmark = pytest.mark.both_backends(slow=True)

STEPS, EPOCHS = 5, 6
METHODS = {
    "ccp+xbm": {"plateau_patience": 1, "warmup_steps": STEPS},
    "ccp+dvml": {"plateau_patience": 2, "first_phase_steps": 2 * STEPS},
}


class Killed(BaseException):
    """Stands for a signal that no code can handle."""


class Kill(keras.callbacks.Callback):
    """Ends training before another step, when an epoch ends, or when an epoch embeds samples."""

    def __init__(self, step=None, epoch=None, validation=None):
        super().__init__()
        self.step, self.epoch, self.validation = step, epoch, validation
        self._epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if self._epoch * STEPS + batch == self.step:
            raise Killed

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            raise Killed

    def on_predict_begin(self, logs=None):
        if self._epoch == self.validation:
            raise Killed


class Clock(keras.callbacks.Callback):
    """A clock on which every step and every end of an epoch takes a minute."""

    def __init__(self):
        super().__init__()
        self.seconds = 1000.0

    def monotonic(self):
        return self.seconds

    def on_train_batch_begin(self, batch, logs=None):
        self.seconds += 60

    def on_epoch_end(self, epoch, logs=None):
        self.seconds += 60


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(training_state, "time", clock)
    return clock


@pytest.fixture(scope="module")
def digits():
    return load("digits").train


class Training:
    """A training as a process begins it, from nothing but its folder."""

    def __init__(self, folder, digits, method="ccp+xbm", kill=None, patience=None, **options):
        folder.mkdir(exist_ok=True)
        settings = settings_of(
            "contrastive", steps_per_validation=STEPS, round_patience=1, **METHODS[method]
        )
        kill = kill or Kill()
        self.model = small_model(method, settings, digits.num_classes)
        self.validation = RetrievalValidation(
            digits.subset(np.arange(100)), patience=patience, predict_callbacks=[kill]
        )
        self.failure = TerminateOnFailure()
        self.others = make_callbacks(self.model, settings, digits)
        self.history = HistoryLog(folder / "history.csv")
        self.before = [self.validation, self.failure, *self.others, self.history]
        self.state = TrainingState(
            folder / "checkpoints",
            [each for each in self.before if isinstance(each, ResumableCallback)],
            **options,
        )
        self.kill, self.digits, self.folder = kill, digits, folder

    def run(self, *callbacks):
        self.state.restore(self.model)
        self.model.fit(
            training_batches(self.digits, 5, 3, seed=0, first_step=self.state.step),
            steps_per_epoch=STEPS,
            epochs=self.state.epoch if self.state.has_stopped else EPOCHS,
            initial_epoch=self.state.epoch,
            shuffle=False,
            verbose=0,
            callbacks=[*callbacks, *self.before, self.state, self.kill],
        )
        return self

    def outcome(self):
        """All numbers that a training ends with."""
        (rounds,) = (each for each in self.others if isinstance(each, AlternatingProjections))
        variables = [*self.model.variables, *self.model.optimizer.variables]
        return {
            **{f"variable {number}": each.numpy() for number, each in enumerate(variables)},
            **{f"validation {name}": value for name, value in self.validation.state().items()},
            **{f"rounds {name}": value for name, value in rounds.state().items()},
            "learning rate": float(self.model.optimizer.learning_rate),
            "steps": self.state.step,
            "epochs": self.state.epoch,
            "history": (self.folder / "history.csv").read_bytes(),
        }


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)


@pytest.fixture(scope="module")
def uninterrupted(digits, tmp_path_factory):
    """What the training of a method ends with if it is never interrupted."""
    outcomes = {}

    def of(method):
        if method not in outcomes:
            folder = tmp_path_factory.mktemp("uninterrupted")
            outcomes[method] = Training(folder, digits, method).run().outcome()
        return outcomes[method]

    return of


def interrupt(*args, **options):
    training = Training(*args, **options)
    with pytest.raises(Killed):
        training.run(training_state.time)
    return training


def test_the_training_has_rounds_plateaus_and_a_full_memory(uninterrupted):
    outcome = uninterrupted("ccp+xbm")
    assert outcome["rounds round"] >= 1
    assert outcome["learning rate"] < 1e-2
    *_, last = csv.DictReader(io.StringIO(outcome["history"].decode()))
    assert float(last["memory_loss"]) > 0
    assert 0 <= outcome["validation best_epoch"] < EPOCHS - 1


@pytest.mark.parametrize(
    ("kill", "position"),
    [
        # The next case is within an epoch too, so this one can be slow.
        pytest.param({"step": 12}, (12, 2), id="within an epoch", marks=pytest.mark.slow),
        pytest.param({"step": 14}, (14, 2), id="before its last step"),
        pytest.param({"validation": 3}, (19, 3), id="in validation"),
        pytest.param({"epoch": 2}, (15, 3), id="at its end", marks=pytest.mark.slow),
    ],
)
def test_killed_training_resumes(kill, position, uninterrupted, digits, clock, tmp_path):
    interrupt(tmp_path, digits, kill=Kill(**kill), minutes=1)
    training = Training(tmp_path, digits)
    assert training.state.restore(training.model)
    assert (training.state.step, training.state.epoch) == position
    assert_same(training.run().outcome(), uninterrupted("ccp+xbm"))


def test_a_state_that_is_saved_in_validation_is_that_after_all_steps(
    uninterrupted, digits, clock, tmp_path
):
    interrupt(tmp_path, digits, kill=Kill(validation=3), minutes=1e9).state.save()
    training = Training(tmp_path, digits)
    assert training.state.restore(training.model)
    assert (training.state.step, training.state.epoch) == (20, 3)
    assert_same(training.run().outcome(), uninterrupted("ccp+xbm"))


def test_training_resumes_from_an_old_checkpoint(uninterrupted, digits, clock, tmp_path):
    interrupt(tmp_path, digits, kill=Kill(epoch=4), minutes=20)
    lines = (tmp_path / "history.csv").read_text().splitlines()
    assert len(lines) == 1 + 5
    training = Training(tmp_path, digits)
    training.state.restore(training.model)
    assert (training.state.step, training.state.epoch) == (16, 3)
    assert_same(training.run().outcome(), uninterrupted("ccp+xbm"))


def test_a_variational_training_that_is_killed_again_and_again(
    uninterrupted, digits, clock, tmp_path
):
    for kill in ({"step": 8}, {"validation": 3}):
        interrupt(tmp_path, digits, "ccp+dvml", kill=Kill(**kill), minutes=2)
    training = Training(tmp_path, digits, "ccp+dvml").run()
    assert_same(training.outcome(), uninterrupted("ccp+dvml"))


def test_training_that_has_stopped_early_does_not_resume(digits, clock, tmp_path):
    expected = Training(tmp_path / "whole", digits, patience=2).run()
    assert expected.state.epoch < EPOCHS
    assert expected.state.has_stopped is False
    # Killed before the best weights were restored.
    interrupt(tmp_path, digits, patience=2, kill=Kill(epoch=expected.state.epoch - 1), minutes=1e9)
    training = Training(tmp_path, digits, patience=2).run()
    assert training.state.has_stopped
    assert_same(training.outcome(), expected.outcome())


def test_a_training_that_is_asked_to_stop_saves_its_state(uninterrupted, digits, clock, tmp_path):
    for step, message in [(7, "after step 7"), (10, "after step 10")]:
        training = Training(tmp_path, digits, minutes=1e9)
        training.state.interrupted = lambda state=training.state, step=step: state.step == step
        with pytest.raises(TrainingInterruptedError, match=message):
            training.run()
    assert_same(Training(tmp_path, digits).run().outcome(), uninterrupted("ccp+xbm"))


def make_small_model(units=3, steps_per_execution=1):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dropout(0.5), keras.layers.Dense(units)]
    )
    model.compile("adam", "mse", steps_per_execution=steps_per_execution)
    return model


def small_training(folder, callbacks=(), epochs=2, steps_per_execution=1, stop_at=None, **options):
    """Trains a plain Keras network, in epochs of four steps."""
    model = make_small_model(steps_per_execution=steps_per_execution)
    state = TrainingState(folder, [], interrupted=lambda: state.step == stop_at, **options)
    state.restore(model)
    inputs = np.random.default_rng(0).standard_normal((4 * 4, 3)).astype("float32")
    batches = tf.data.Dataset.from_tensor_slices((inputs, inputs)).batch(4).repeat()
    model.fit(
        batches.skip(state.step),
        steps_per_epoch=4,
        epochs=epochs,
        initial_epoch=state.epoch,
        verbose=0,
        callbacks=[*callbacks, state],
    )
    return model


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def assert_same_model(model, expected):
    for ours, theirs in zip(
        [*model.variables, *model.optimizer.variables],
        [*expected.variables, *expected.optimizer.variables],
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_any_keras_model_resumes(tmp_path):
    expected = small_training(tmp_path / "whole", epochs=4)
    small_training(tmp_path / "parts", epochs=2)
    assert_same_model(small_training(tmp_path / "parts", epochs=4), expected)


@pytest.mark.parametrize("compiles", [False, True])
def test_an_interrupted_training_goes_on_with_the_same_objects(compiles, tmp_path):
    expected = small_training(tmp_path / "whole", epochs=3)
    model = make_small_model()
    inputs = np.random.default_rng(0).standard_normal((4 * 4, 3)).astype("float32")
    batches = tf.data.Dataset.from_tensor_slices((inputs, inputs)).batch(4).repeat()
    stops = [6]
    state = TrainingState(tmp_path / "parts", [], interrupted=lambda: state.step in stops)

    def fit():
        data = batches.skip(state.step)
        options = {"steps_per_epoch": 4, "epochs": 3, "initial_epoch": state.epoch, "verbose": 0}
        model.fit(data, callbacks=[state], **options)

    with pytest.raises(TrainingInterruptedError, match="after step 6"):
        fit()
    stops.clear()
    if compiles:
        model.compile("adam", "mse")
    state.restore(model)
    fit()
    assert state.step == 12
    assert_same_model(model, expected)


def test_steps_that_are_executed_together(tmp_path):
    expected = small_training(tmp_path / "whole", epochs=3, steps_per_execution=2)
    with pytest.raises(TrainingInterruptedError, match="after step 6"):
        small_training(tmp_path / "parts", steps_per_execution=2, stop_at=6)
    model = small_training(tmp_path / "parts", epochs=3, steps_per_execution=2)
    assert_same_model(model, expected)
    with pytest.raises(ValueError, match="must be a multiple of steps_per_execution, 3"):
        small_training(tmp_path / "refused", steps_per_execution=3)


def test_only_the_newest_checkpoints_are_kept(clock, tmp_path):
    small_training(tmp_path / "two", [clock], minutes=1)
    assert names(tmp_path / "two") == ["step-000000007-0.npz", "step-000000008-1.npz"]
    small_training(tmp_path / "four", [clock], minutes=1, keep=4)
    assert names(tmp_path / "four") == [
        "step-000000005-0.npz",
        "step-000000006-0.npz",
        "step-000000007-0.npz",
        "step-000000008-1.npz",
    ]


def test_a_checkpoint_is_due_when_the_minutes_have_passed(clock, tmp_path):
    # Before the third step; before the second of the next epoch; and at the end.
    small_training(tmp_path, [clock], minutes=3, keep=100)
    assert names(tmp_path) == [
        "step-000000002-0.npz",
        "step-000000005-0.npz",
        "step-000000008-1.npz",
    ]


def test_the_seconds_of_all_parts_are_counted(clock, tmp_path):
    small_training(tmp_path, [clock], minutes=1, epochs=1)
    clock.seconds += 1e6
    state = TrainingState(tmp_path, [])
    state.restore(make_small_model())
    assert state.seconds == 5 * 60
    small_training(tmp_path, [clock], minutes=1, epochs=3)
    state.restore(make_small_model())
    assert state.seconds == 15 * 60


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit_of_the_directory(path):
    content = bytearray(path.read_bytes())
    # The compression method of the first entry of the zip file's directory.
    content[content.index(b"PK\x01\x02") + 10] ^= 1
    path.write_bytes(content)


def flip_a_bit_of_the_data(path):
    content = bytearray(path.read_bytes())
    content[content.index(b"\x93NUMPY") + 130] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(bytes(range(256)) * 10),
    "truncated": truncate,
    "directory": flip_a_bit_of_the_directory,
    "data": flip_a_bit_of_the_data,
    "other": lambda path: np.savez(path, something=np.arange(3)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over(damage, clock, tmp_path, caplog):
    expected = small_training(tmp_path / "whole", epochs=3)
    small_training(tmp_path, [clock], minutes=1, keep=3)
    *_, older, newer, newest = sorted(tmp_path.glob("step-*.npz"))
    DAMAGES[damage](newest)
    DAMAGES[damage](newer)
    state = TrainingState(tmp_path, [])
    with caplog.at_level(logging.WARNING):
        assert state.restore(make_small_model())
    assert state.step == 6
    assert [str(path) in caplog.text for path in (newest, newer, older)] == [True, True, False]
    assert_same_model(small_training(tmp_path, epochs=3), expected)


def test_training_starts_anew_if_every_checkpoint_is_damaged(clock, tmp_path, caplog):
    small_training(tmp_path, [clock], minutes=1)
    for path in tmp_path.iterdir():
        truncate(path)
    state, model = TrainingState(tmp_path, []), make_small_model()
    weights = model.get_weights()
    with caplog.at_level(logging.WARNING):
        assert not state.restore(model)
    assert caplog.text.count("is damaged and skipped") == 2
    assert (state.step, state.epoch) == (0, 0)
    for ours, theirs in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_checkpoints_of_another_training_are_refused(tmp_path):
    small_training(tmp_path, fingerprint="a")
    with pytest.raises(ValueError, match="with other settings or data"):
        TrainingState(tmp_path, [], fingerprint="b").restore(make_small_model())
    with pytest.raises(ValueError, match="was saved from a model with other weights"):
        TrainingState(tmp_path, [], fingerprint="a").restore(make_small_model(units=2))
    deeper = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3), keras.layers.Dense(3)])
    deeper.compile("adam", "mse")
    with pytest.raises(ValueError, match="was saved from a model with other weights"):
        TrainingState(tmp_path, [], fingerprint="a").restore(deeper)
    with pytest.raises(ValueError, match="with the callbacks none; got TerminateOnFailure"):
        TrainingState(tmp_path, [TerminateOnFailure()], fingerprint="a").restore(make_small_model())


def test_checkpoints_can_be_deleted(tmp_path):
    state = TrainingState(tmp_path / "checkpoints", [])
    state.delete()
    small_training(tmp_path / "checkpoints")
    state.delete()
    assert not (tmp_path / "checkpoints").exists()


def test_training_must_begin_at_the_epoch_of_the_state(tmp_path):
    small_training(tmp_path, epochs=2)
    model = make_small_model()
    state = TrainingState(tmp_path, [])
    state.restore(model)
    zeros = np.zeros((4, 3))
    with pytest.raises(ValueError, match=r"starts at epoch 0, but its state is that of epoch 2"):
        model.fit(zeros, zeros, epochs=4, verbose=0, callbacks=[state])


def test_the_length_of_an_epoch_must_be_known(tmp_path):
    zeros = np.zeros((4, 3), "float32")
    batches = tf.data.Dataset.from_generator(
        lambda: iter([(zeros, zeros)]),
        output_signature=(tf.TensorSpec((4, 3)), tf.TensorSpec((4, 3))),
    )
    with pytest.raises(ValueError, match="pass steps_per_epoch to fit"):
        make_small_model().fit(batches, verbose=0, callbacks=[TrainingState(tmp_path, [])])


def test_wrong_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match="minutes must be above 0; got 0"):
        TrainingState(tmp_path, [], minutes=0)
    with pytest.raises(ValueError, match="keep must be a whole number of at least 1; got 0"):
        TrainingState(tmp_path, [], keep=0)
    with pytest.raises(ValueError, match=r"methods state and restore.*; got EarlyStopping"):
        TrainingState(tmp_path, [keras.callbacks.EarlyStopping()])
