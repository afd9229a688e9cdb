import keras
import numpy as np
import pytest

from ccp_dml.callbacks import ProgressLine

pytestmark = pytest.mark.both_backends(slow=True)


@pytest.mark.parametrize("steps_per_execution", [1, 3])
def test_progress_shows_steps_and_metrics(steps_per_execution, capsys):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", steps_per_execution=steps_per_execution)
    model.fit(
        np.ones((6, 1)),
        np.ones((6, 1)),
        batch_size=2,
        epochs=2,
        verbose=0,
        callbacks=[ProgressLine("plain", total_steps=6)],
    )
    shown = capsys.readouterr().err
    assert "plain" in shown
    assert "6/6" in shown
    assert "loss=" in shown


def test_resumed_training_shows_where_it_resumes(capsys):
    line = ProgressLine("ccp", total_steps=6, initial_step=4)
    line.on_train_begin()
    line.on_train_batch_begin(1)
    line.on_train_end()
    shown = capsys.readouterr().err
    assert "4/6" in shown
    assert "5/6" in shown
