"""Distributions of `keras.distribution` by name."""

import contextlib

import keras

from ccp_dml.checks import check_one_of

STRATEGIES = ("none",)


class SingleDevice:
    """Training on the first device of this machine."""

    def scope(self) -> contextlib.AbstractContextManager:
        """A context in which models are made and fitted."""
        return contextlib.nullcontext()


def strategy(name: str) -> SingleDevice:
    """Returns what spreads training over devices.

    Args:
        name: `"none"`: the first device of this machine.

    Returns:
        A strategy; models are made and fitted in its `scope()`.

    Raises:
        ValueError: If the name is unknown.
    """
    check_one_of("strategy", name, STRATEGIES)
    return SingleDevice()


def strategy_of(model: keras.Model):
    """The distribution under which a model is trained: that of this process.

    Args:
        model: The model.
    """
    return keras.distribution.distribution()


def count_shares(model: keras.Model) -> int:
    """Into how many shares a batch is divided when a model is trained.

    Args:
        model: The model.
    """
    return 1
