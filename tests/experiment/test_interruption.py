"""Signals, delivered to this very process."""

import os
import signal
import threading

import keras
import numpy as np
import pytest

from ccp_dml.experiment.interruption import (
    PARENT_VARIABLE,
    Interruption,
    RunInterruptedError,
    StopOnInterruption,
    end_with_parent,
)


def send(number):
    """Sends this process a signal, which Python handles before it continues."""
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def handlers():
    """No test leaves another handler behind."""
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_interrupts_the_run(number):
    with Interruption() as interruption:
        assert not interruption.is_requested()
        interruption.check()
        with pytest.raises(RunInterruptedError, match=f"interrupted by {number.name}") as error:
            send(number)
        assert error.value.signal_number == number
        assert interruption.is_requested()
        with pytest.raises(RunInterruptedError):
            interruption.check()


def test_a_deferred_signal_is_remembered():
    with Interruption() as interruption:
        with interruption.defer():
            send(signal.SIGTERM)
            assert interruption.is_requested()
        with pytest.raises(RunInterruptedError, match="SIGTERM"):
            interruption.check()


def test_signals_interrupt_again_when_they_are_no_longer_deferred():
    with Interruption() as interruption:
        with pytest.raises(ZeroDivisionError), interruption.defer():
            raise ZeroDivisionError
        with pytest.raises(RunInterruptedError):
            send(signal.SIGTERM)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_program(second):
    with Interruption() as interruption, interruption.defer():
        send(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            send(second)


def test_handlers_are_what_they_were_before():
    received = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        with pytest.raises(RunInterruptedError), Interruption():
            send(signal.SIGTERM)
        send(signal.SIGTERM)
        assert received == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_nothing_is_handled_outside_of_the_main_thread():
    handled = []

    def enter():
        with Interruption() as interruption:
            handled.append(signal.getsignal(signal.SIGTERM))
            interruption.check()

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert handled == [before]


def test_embedding_stops_after_a_batch():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Identity()])
    batches = []
    with Interruption() as interruption, interruption.defer():

        def interrupt(batch, logs):
            batches.append(batch)
            if batch == 1:
                send(signal.SIGTERM)

        callbacks = [
            keras.callbacks.LambdaCallback(on_predict_batch_end=interrupt),
            StopOnInterruption(interruption),
        ]
        with pytest.raises(RunInterruptedError):
            model.predict(np.zeros((10, 1)), batch_size=2, verbose=0, callbacks=callbacks)
    assert batches == [0, 1]


def test_a_process_whose_parent_has_ended_is_asked_to_end(monkeypatch):
    received = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.set())
    # No process has this number.
    monkeypatch.setenv(PARENT_VARIABLE, "0")
    try:
        end_with_parent()
        assert received.wait(10)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_process_without_a_waiting_parent_continues(monkeypatch):
    monkeypatch.delenv(PARENT_VARIABLE, raising=False)
    threads = threading.active_count()
    end_with_parent()
    assert threading.active_count() == threads
