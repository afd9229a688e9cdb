"""Miniature archives in the layout of the official ones, with real JPEG images."""

import dataclasses
import io
import pathlib
import tarfile
import zipfile

import numpy as np
import scipy.io
from PIL import Image


@dataclasses.dataclass(frozen=True)
class ArchivedImage:
    """An image as an archive has it: its class, 0…, its official split and its bytes."""

    label: int
    split: str
    data: bytes


def jpeg(text):
    """A small JPEG with a comment, so that no two are the same and none survives re-encoding."""
    buffer = io.BytesIO()
    color = tuple(np.random.default_rng(len(text)).integers(256, size=3).tolist())
    Image.new("RGB", (12, 8), color).save(buffer, "JPEG", comment=text)
    return buffer.getvalue()


def png():
    buffer = io.BytesIO()
    Image.new("L", (12, 8), 255).save(buffer, "PNG")
    return buffer.getvalue()


def mat(**arrays):
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, arrays)
    return buffer.getvalue()


def struct_array(rows):
    """Dictionaries as MATLAB stores them: a 1 × n array of structs."""
    fields = [(field, object) for field in rows[0]]
    return np.array([[tuple(row.values()) for row in rows]], dtype=fields)


def write_tgz(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def lines(rows):
    return "".join(" ".join(map(str, row)) + "\n" for row in rows).encode()


def write_birds(folder: pathlib.Path) -> list[ArchivedImage]:
    """CUB-200-2011: 200 classes, one training and one test image of each, and one more of some."""
    images, files, masks = [], {}, {}
    tables = {"images": [], "image_class_labels": [], "train_test_split": [], "bounding_boxes": []}
    names = [f"{label + 1:03d}.Bird_{label}" for label in range(200)]
    for label, name in enumerate(names):
        for number in range(2 + (label % 50 == 0)):
            path = f"{name}/Bird_{label}_{number:04d}_{label}{number}.jpg"
            split = "train" if number % 2 else "test"
            images.append(ArchivedImage(label, split, jpeg(path)))
            files[f"CUB_200_2011/images/{path}"] = images[-1].data
            masks[f"segmentations/{path[:-4]}.png"] = png()
            identifier = len(images)
            tables["images"].append((identifier, path))
            tables["image_class_labels"].append((identifier, label + 1))
            tables["train_test_split"].append((identifier, int(split == "train")))
            tables["bounding_boxes"].append((identifier, 1.0, 2.0, 8.0, 5.0))
    tables["classes"] = [(label + 1, name) for label, name in enumerate(names)]
    texts = {f"CUB_200_2011/{name}.txt": lines(rows) for name, rows in tables.items()}
    write_tgz(folder / "CUB_200_2011.tgz", {**texts, **files})
    write_tgz(folder / "segmentations.tgz", masks)
    return images


def write_cars(folder: pathlib.Path) -> list[ArchivedImage]:
    """Cars196: 196 classes, one training image of each, and a test image of every second one."""
    images, annotations = [], {}
    box = {"bbox_x1": 1, "bbox_y1": 2, "bbox_x2": 10, "bbox_y2": 7}
    for split, step in (("train", 1), ("test", 2)):
        files, rows = {}, []
        for number, label in enumerate(range(0, 196, step), start=1):
            name = f"{number:05d}.jpg"
            images.append(ArchivedImage(label, split, jpeg(f"{split}/{name}")))
            files[f"cars_{split}/{name}"] = images[-1].data
            rows.append({**box, "class": label + 1, "fname": name})
        annotations[split] = rows
        write_tgz(folder / f"cars_{split}.tgz", files)
    class_names = np.array([[f"Car {label}" for label in range(196)]], dtype=object)
    unlabeled = [{**box, "fname": row["fname"]} for row in annotations["test"]]
    devkit = {
        "cars_meta": mat(class_names=class_names),
        "cars_train_annos": mat(annotations=struct_array(annotations["train"])),
        "cars_test_annos": mat(annotations=struct_array(unlabeled)),
    }
    write_tgz(
        folder / "car_devkit.tgz", {f"devkit/{name}.mat": data for name, data in devkit.items()}
    )
    labeled = mat(annotations=struct_array(annotations["test"]))
    (folder / "cars_test_annos_withlabels.mat").write_bytes(labeled)
    return images


def write_products(folder: pathlib.Path) -> list[ArchivedImage]:
    """Stanford Online Products: the first and the last training and test classes."""
    images, files = [], {}
    header = ("image_id", "class_id", "super_class_id", "path")
    tables = {"train": [header], "test": [header], "info": [header]}
    for split, labels in (("train", (0, 1, 11317)), ("test", (11318, 22633))):
        for label in labels:
            for number in range(2):
                folder_name = "bicycle_final" if label < 2 else "toaster_final"
                path = f"{folder_name}/{111085122871 + label}_{number}.JPG"
                images.append(ArchivedImage(label, split, jpeg(path)))
                files[f"Stanford_Online_Products/{path}"] = images[-1].data
                row = (len(images), label + 1, 1 if label < 2 else 12, path)
                tables[split].append(row)
                tables["info"].append(row)
    texts = {
        f"Stanford_Online_Products/Ebay_{name}.txt": lines(rows) for name, rows in tables.items()
    }
    write_zip(folder / "Stanford_Online_Products.zip", {**texts, **files})
    return images


def write_inshop(folder: pathlib.Path, extracted: bool = False) -> list[ArchivedImage]:
    """In-Shop: two training items and two others, their images either in img.zip or extracted.

    One image of the last item is not in the folder of the others.
    """
    images, files, rows = [], {}, []
    # Ids as in the official list, in which the splits are interleaved.
    items = {"id_00000001": "train", "id_00000002": "test", "id_00000004": "train"}
    items["id_00000007"] = "test"
    for label, (item, kind) in enumerate(items.items()):
        for number, split in enumerate(("query", "gallery", "gallery")):
            category = "MEN/Denim" if label == 0 else "WOMEN/Blouses_Shirts"
            if (label, number) == (3, 2):
                category = "WOMEN/Tees_Tanks"
            path = f"img/{category}/{item}/{number + 1:02d}_1_front.jpg"
            split = "train" if kind == "train" else split
            images.append(ArchivedImage(label, split, jpeg(path)))
            files[path] = images[-1].data
            rows.append(f"{path:80}{item} {split:>12}\n")
    (folder / "inshop" / "Eval").mkdir(parents=True)
    (folder / "inshop" / "Eval" / "list_eval_partition.txt").write_text(
        f"{len(rows)}\nimage_name item_id evaluation_status\n{''.join(rows)}"
    )
    (folder / "inshop" / "Img").mkdir()
    if not extracted:
        write_zip(folder / "inshop" / "Img" / "img.zip", files)
        return images
    for path, data in files.items():
        target = folder / "inshop" / "Img" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return images
