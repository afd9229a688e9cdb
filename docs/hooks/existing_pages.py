"""Leaves pages that have not been written yet out of the navigation."""

import pathlib


def on_config(config):
    """Keeps the pages of the navigation that exist, and the sections that have any."""
    config.nav = [item for item in map(_with_existing, config.nav) if item]
    return config


def _with_existing(item):
    if isinstance(item, str):
        return item if any(pathlib.Path(root, item).exists() for root in ("docs", ".")) else None
    ((title, pages),) = item.items()
    if isinstance(pages, str):
        return item if _with_existing(pages) else None
    pages = [page for page in map(_with_existing, pages) if page]
    return {title: pages} if pages else None
