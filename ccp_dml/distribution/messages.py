"""Messages from one worker to all."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from ccp_dml.distribution import is_chief, num_workers, sum_over_workers


def broadcast_from_chief(find: Callable[[], Any], strategy: Any = None) -> Any:
    """Calls a function on the chief and returns its result on all workers, which must call this.

    Args:
        find: Function that is called only on the chief and returns JSON values.
        strategy: Defaults to `None`: the one in whose scope this is called.

    Returns:
        What `find` returned; on the other workers after a round trip through JSON, with lists for
        tuples.
    """
    if num_workers(strategy) == 1:
        return find()
    found = find() if is_chief(strategy) else None
    message = json.dumps(found).encode() if is_chief(strategy) else b""
    length = int(sum_over_workers(np.asarray(len(message), "int32"), strategy))
    characters = np.frombuffer(message.ljust(length, b"\0"), "uint8").astype("int32")
    message = sum_over_workers(characters, strategy).astype("uint8").tobytes()
    return found if is_chief(strategy) else json.loads(message)
