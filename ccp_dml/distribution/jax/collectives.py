"""Batches and gradients on several devices of JAX.

Within a step an array is that of all devices, whichever of them hold its parts, and XLA moves what
has to be moved: there is nothing to gather and nothing to add up.
"""


def num_replicas() -> int:
    """Number of programs that run the present code in sync: one."""
    return 1


def gather(rows):
    """The rows of all devices, which they are already."""
    return rows


def apply_to_share(function, inputs):
    """Applies a function to inputs."""
    return function(inputs)


def sum_over_replicas(tensors):
    """The sum over all devices, which they are already."""
    return tensors
