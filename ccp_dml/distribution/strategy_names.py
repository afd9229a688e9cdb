"""The strategies of the backends of Keras."""

import keras

from ccp_dml.checks import check_one_of

STRATEGIES_OF_BACKENDS = {
    "tensorflow": ("none", "mirrored", "multi_worker"),
    "jax": ("none", "data_parallel", "model_parallel"),
}
STRATEGIES = STRATEGIES_OF_BACKENDS[keras.backend.backend()]
"""The names of the strategies of the backend that Keras runs on."""


def check_strategy(name: str, model_devices: int):
    """Checks the arguments of `strategy`.

    Args:
        name: The name of a strategy.
        model_devices: The number of devices that share the variables.

    Raises:
        ValueError: If the backend has no such strategy, or the strategy does not share variables.
    """
    for backend, names in STRATEGIES_OF_BACKENDS.items():
        if name in names and name not in STRATEGIES:
            raise ValueError(
                f"the strategy {name} needs Keras's backend {backend}, which has to be chosen "
                f"before keras is imported, as in KERAS_BACKEND={backend} python -m ccp_dml.main "
                f"--strategy={name}; with {keras.backend.backend()} it must be one of "
                f"{', '.join(STRATEGIES)}"
            )
    check_one_of("strategy", name, STRATEGIES)
    if model_devices != 1 and name != "model_parallel":
        raise ValueError(
            "model_devices is the number of devices that share the proxies under the strategy "
            f"model_parallel; with {name} it must be 1; got {model_devices}"
        )
