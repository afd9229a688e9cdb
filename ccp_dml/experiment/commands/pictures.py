"""Pictures that commands leave."""

import tensorflow as tf
from etils import epath
from matplotlib.figure import Figure

from ccp_dml.atomic_write import atomic_write


def save_picture(figure: Figure, folder: str | None, name: str) -> epath.Path:
    """Writes a figure as a PNG file, and returns its path.

    Args:
        figure: The figure.
        folder: Folder to write to. `None` is the current one.
        name: The name of the file.

    Raises:
        ValueError: If the folder cannot be written to.
    """
    path = epath.Path(folder or ".") / name
    try:
        with atomic_write(path) as unfinished, unfinished.open("wb") as file:
            figure.savefig(file, format="png", dpi=110)
    except (OSError, tf.errors.OpError) as error:
        raise ValueError(f"workdir {path.parent} cannot be written to: {error}") from error
    return path
