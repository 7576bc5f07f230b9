"""What several test modules share: synthetic fundi, a tiny bundle of random networks, encoders."""

from __future__ import annotations

import functools
import io
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from drcore.grading.grader import Grader
from drcore.model.bundle import Bundle, save_bundle
from drcore.model.network import PRESETS, RamNetwork
from drcore.preprocessing.network_input import Preprocessing
from training.synthetic.phantom import make_phantom
from training.synthetic.recipe import PhantomRecipe

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def _own_worklists(tmp_path_factory: pytest.TempPathFactory):
    """Lists that tests keep go to a folder of theirs, servers that they start included."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRCORE_WORKLISTS", str(tmp_path_factory.mktemp("worklists")))
        yield


@pytest.fixture(scope="session")
def sample_images() -> Path:
    """The folder of photographs that anyone may redistribute."""
    return REPOSITORY / "sample_images"


@functools.cache
def _phantom(recipe: PhantomRecipe):
    phantom = make_phantom(recipe)
    phantom.rgb.setflags(write=False)
    return phantom


@pytest.fixture(scope="session")
def phantom():
    """Maker of phantoms: `phantom(seed=1, cut_above=0.1)`, 320 px, each drawn once a session.

    The pixels are read-only, so that no test can spoil another's.
    """
    lesions = {"microaneurysms": 12, "haemorrhages": 8, "hard_exudates": 3, "soft_exudates": 2}

    def make(**recipe):
        return _phantom(PhantomRecipe(**{"size": 320, **lesions, **recipe}))

    return make


def random_network(preset: str, seed: int = 0) -> RamNetwork:
    """Return a preset with random weights whose activations are of a sane size."""
    torch.manual_seed(seed)
    network = RamNetwork(PRESETS[preset])
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # running statistics: plain means of what passes
    size = min(PRESETS[preset].input_size, 128)
    with torch.no_grad():
        network.train()(torch.randn(4, 3, size, size))
        network.linear.weight.abs_()
        network.linear.bias.fill_(0.3)
    return network.requires_grad_(False).eval()


@pytest.fixture(scope="session")
def tiny_bundle() -> Bundle:
    """Random weights in the real networks, at all three scales. Its grades mean nothing."""
    names = {128: "ram-128", 256: "ram-256", 512: "ram-512"}
    networks = {size: random_network(name, seed=size) for size, name in names.items()}
    for level, network in enumerate(networks.values()):
        network.set_level(0.25 * level)
    return Bundle("random", "1", networks, Preprocessing(), (0.5, 1.5, 2.5, 3.5))


@pytest.fixture(scope="session")
def bundle_folder(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle on disk; copy it before spoiling it."""
    folder = tmp_path_factory.mktemp("bundle")
    save_bundle(tiny_bundle, folder)
    return folder


@pytest.fixture(scope="session")
def grader(tiny_bundle: Bundle) -> Grader:
    """A grader with random weights."""
    return Grader(tiny_bundle)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Real photographs, where this machine has them; skips where not."""
    root = Path(os.environ.get("DRCORE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (root / "labels.csv").is_file():
        pytest.skip("there are no photographs: DRCORE_DATA does not name a folder with labels.csv")
    return root


def encode(pixels: np.ndarray, kind: str, orientation: int = 1, **options) -> bytes:
    """Write pixels as a file of some kind.

    Args:
        pixels: uint8 or uint16, grey, RGB or RGBA.
        kind: a format of Pillow, with a mode behind a slash ("JPEG/CMYK"), or "TIFF16", "PNG16".
        orientation: EXIF or TIFF orientation tag; the pixels are stored as they are.
        options: handed to Pillow, or to tifffile.
    """
    pixels = np.ascontiguousarray(pixels)
    if kind == "TIFF16":
        buffer = io.BytesIO()
        tags = [(274, "H", 1, orientation, True)]
        colour = "minisblack" if pixels.ndim == 2 else "rgb"
        tifffile.imwrite(
            buffer, pixels, photometric=colour, extratags=tags, metadata=None, **options
        )
        return buffer.getvalue()
    if kind == "PNG16":
        order = {2: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
        code = order[2 if pixels.ndim == 2 else pixels.shape[2]]
        stored = pixels if code is None else cv2.cvtColor(pixels, code)
        return cv2.imencode(".png", stored)[1].tobytes()
    name, _, mode = kind.partition("/")
    image = Image.fromarray(pixels)
    if mode:
        image = image.convert(mode)
    if orientation != 1 and name == "TIFF":
        options["tiffinfo"] = {274: orientation}
    elif orientation != 1:
        exif = Image.Exif()
        exif[274] = orientation
        options["exif"] = exif
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def encoded():
    """The function `encode`."""
    return encode


def stored_as(upright: np.ndarray, orientation: int) -> np.ndarray:
    """Return the pixels a camera stores so that the orientation tag turns them upright."""
    return {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: a.swapaxes(0, 1)[::-1],
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: a.swapaxes(0, 1)[:, ::-1],
    }[orientation](upright)


@pytest.fixture(scope="session")
def turned():
    """The function `stored_as`."""
    return stored_as


@pytest.fixture(scope="session")
def make_network():
    """The function `random_network`."""
    return random_network


def dicom_file(rgb: np.ndarray, frames: int = 1, **attributes) -> bytes:
    """Write an ophthalmic photograph as a camera stores it.

    Args:
        rgb: uint8 (h, w, 3).
        frames: how often it is stored.
        attributes: of the header, instead of those that are there.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SpecificCharacterSet = "ISO_IR 100"
    made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
    made.SOPInstanceUID, made.StudyInstanceUID = generate_uid(), generate_uid()
    made.SeriesInstanceUID = generate_uid()
    made.PatientID, made.PatientName = "P-7", "Müller^Jane"
    made.PatientBirthDate, made.PatientSex = "19600102", "F"
    made.StudyID, made.StudyDate, made.StudyTime = "31", "20260101", "101010"
    made.AccessionNumber, made.Modality, made.ImageLaterality = "A-1", "OP", "R"
    made.Rows, made.Columns = rgb.shape[:2]
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation = 7, 0
    if frames > 1:
        made.NumberOfFrames = frames
    made.PixelData = rgb.tobytes() * frames
    made["PixelData"].VR = "OB"
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def dicom_of():
    """The function `dicom_file`."""
    return dicom_file
