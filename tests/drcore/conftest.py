"""What the tests of batches share: a tiny grader, encoded phantoms, a folder of them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import torch
from PIL import Image

from drcore.grading.grader import Grader
from drcore.model.bundle import Bundle
from drcore.model.network import PRESETS, RamNetwork
from drcore.preprocessing.network_input import Preprocessing
from training.synthetic.phantom import make_phantom
from training.synthetic.recipe import PhantomRecipe


@pytest.fixture(scope="session")
def tiny_grader() -> Grader:
    torch.manual_seed(0)
    network = RamNetwork(PRESETS["tiny-128"]).eval().requires_grad_(False)
    return Grader(Bundle("tiny", "1", {128: network}, Preprocessing(), (0.5, 1.5, 2.5, 3.5)))


@pytest.fixture(scope="session")
def jpegs() -> list[bytes]:
    """Four gradable phantoms and one that is far too dark."""
    pictures = [make_phantom(PhantomRecipe(size=256, seed=seed)).rgb for seed in range(4)]
    pictures.append((pictures[0] // 16).astype(np.uint8))
    encoded = []
    for picture in pictures:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=92)
        encoded.append(file.getvalue())
    return encoded


@pytest.fixture
def folder(tmp_path: Path, jpegs: list[bytes]) -> Path:
    """Ten photographs in `photos`, of which 02 is dark and 05 is damaged."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(10):
        data = jpegs[4] if index == 2 else jpegs[index % 4]
        (photos / f"{index:02d}_left.jpg").write_bytes(data[:700] if index == 5 else data)
    return photos


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Address of a server on this computer that speaks S3."""
    pytest.importorskip("s3fs", reason="s3fs is not installed (extra 'cloud')")
    moto = pytest.importorskip("moto.server", reason="moto is not installed (extra 'test')")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty S3 with the bucket "clinic", as the environment names it, and its client."""
    import boto3
    import s3fs

    for name, value in {
        "AWS_ENDPOINT_URL_S3": s3_server, "AWS_ACCESS_KEY_ID": "id-of-the-clinic",
        "AWS_SECRET_ACCESS_KEY": "secret-of-the-clinic", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    requests.post(f"{s3_server}/moto-api/reset", timeout=30)
    s3fs.S3FileSystem.clear_instance_cache()
    client = boto3.client("s3")
    client.create_bucket(Bucket="clinic")
    yield client
    s3fs.S3FileSystem.clear_instance_cache()
