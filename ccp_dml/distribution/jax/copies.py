"""Variables on several devices of JAX, which have no separate copies."""

from collections.abc import Callable

import keras


def update_copies(variable: keras.Variable, update: Callable, *arguments):
    """Calls a function that updates a variable.

    Args:
        variable: The variable.
        update: Function that is called with the variable and the arguments.
        *arguments: Arrays.
    """
    update(variable, *arguments)
