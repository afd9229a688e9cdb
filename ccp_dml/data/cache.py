"""Where what takes long to make is kept from one run to the next."""

import os
import pathlib


def cache_folder() -> pathlib.Path:
    """The folder for caches: `$CCP_DML_CACHE`, or `~/.cache/ccp_dml` if it is not set."""
    folder = os.environ.get("CCP_DML_CACHE")
    return pathlib.Path(folder).expanduser() if folder else pathlib.Path.home() / ".cache/ccp_dml"
