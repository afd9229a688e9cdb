"""A small folder of images of shoes: its classes, and CSV files that list it."""

SIZES = {"boot": 3, "heel": 2, "loafer": 4, "sandal": 2}


def write_csv(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)
