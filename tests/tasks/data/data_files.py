"""The same few questions in every format that is read."""

from __future__ import annotations

import base64
import csv
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ANSWERS = ("007", "2", "None", "NA", "1e3", "yes")  # text that readers like to turn into something else
ROWS = [
    {"image": f"pictures/{number}.png", "question": f"what is {number}?", "answer": answer}
    for number, answer in enumerate(ANSWERS)
]


def png(number: int, size: tuple[int, int] = (20, 16)) -> bytes:
    """A picture of noise."""
    rng = np.random.default_rng(number)
    stream = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def pictures(folder: Path, count: int = len(ANSWERS)) -> None:
    """Pictures in a folder of their own."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"pictures/{number}.png").write_bytes(png(number, (20 + number, 16)))


def lines(path: Path, rows: list[Any]) -> Path:
    """JSON lines."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def jsonl(folder: Path) -> str:
    return str(lines(folder / "q.jsonl", ROWS))


def json_list(folder: Path) -> str:
    (folder / "q.json").write_text(json.dumps(ROWS))
    return str(folder / "q.json")


def table(folder: Path, name: str = "q.csv", delimiter: str = ",") -> str:
    with (folder / name).open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(ROWS[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(ROWS)
    return str(folder / name)


def tsv(folder: Path) -> str:
    return table(folder, "q.tsv", "\t")


def llava(folder: Path) -> str:
    rows = [
        {
            "id": f"r{number}",
            "image": row["image"],
            "conversations": [
                {"from": "human", "value": f"<image>\n{row['question']}"},
                {"from": "gpt", "value": row["answer"]},
            ],
        }
        for number, row in enumerate(ROWS)
    ]
    (folder / "llava.json").write_text(json.dumps(rows))
    return str(folder / "llava.json")


def messages(folder: Path) -> str:
    rows = [
        {
            "images": [row["image"]],
            "messages": [
                {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": row["question"]}]},
                {"role": "assistant", "content": row["answer"]},
            ],
        }
        for row in ROWS
    ]
    return str(lines(folder / "messages.jsonl", rows))


def parquet(folder: Path) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    images = [{"bytes": (folder / row["image"]).read_bytes(), "path": row["image"]} for row in ROWS]
    columns = {"image": images, **{key: [row[key] for row in ROWS] for key in ("question", "answer")}}
    pq.write_table(pa.table(columns), folder / "q.parquet", row_group_size=4)
    return str(folder / "q.parquet")


def shards(folder: Path) -> str:
    for shard in range(2):
        with tarfile.open(folder / f"s-{shard:03d}.tar", "w") as archive:
            for number, row in enumerate(ROWS):
                if number % 2 != shard:
                    continue
                reported = {key: row[key] for key in ("question", "answer")}
                for ending, data in (
                    ("png", (folder / row["image"]).read_bytes()),
                    ("json", json.dumps(reported).encode()),
                ):
                    member = tarfile.TarInfo(f"./{number:06d}.{ending}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
    return str(folder / "s-{000..001}.tar")


def image_folder(folder: Path) -> str:
    rows = [{"file_name": row["image"], **{key: row[key] for key in ("question", "answer")}} for row in ROWS]
    lines(folder / "metadata.jsonl", rows)
    return str(folder)


def as_base64(folder: Path) -> str:
    rows = [
        {
            "image_base64": base64.b64encode((folder / row["image"]).read_bytes()).decode(),
            **{key: row[key] for key in ("question", "answer")},
        }
        for row in ROWS
    ]
    return str(lines(folder / "b.jsonl", rows))


def saved(folder: Path) -> str:
    import datasets

    features = datasets.Features(
        {"image": datasets.Image(), "question": datasets.Value("string"), "answer": datasets.Value("string")}
    )
    columns = {
        "image": [str(folder / row["image"]) for row in ROWS],
        **{key: [row[key] for row in ROWS] for key in ("question", "answer")},
    }
    datasets.Dataset.from_dict(columns, features).save_to_disk(str(folder / "saved"))
    return str(folder / "saved")


FORMATS: dict[str, Callable[[Path], str]] = {
    "JSON lines": jsonl,
    "JSON list": json_list,
    "CSV": table,
    "TSV": tsv,
    "LLaVA": llava,
    "messages": messages,
    "Parquet": parquet,
    "WebDataset": shards,
    "folder of pictures": image_folder,
    "base64": as_base64,
    "datasets folder": saved,
}


def zipped(folder: Path) -> Path:
    """The pictures in a zip, by the names that rows give them."""
    with zipfile.ZipFile(folder / "pictures.zip", "w") as archive:
        for row in ROWS:
            archive.write(folder / row["image"], row["image"])
    return folder / "pictures.zip"


def tarred(folder: Path) -> Path:
    """The same in a tar."""
    with tarfile.open(folder / "pictures.tar", "w") as archive:
        archive.add(folder / "pictures", "pictures")
    return folder / "pictures.tar"
