"""What several test modules share: synthetic fundi, a tiny bundle of random networks, encoders."""

from __future__ import annotations

import functools
import os
import signal
from pathlib import Path

import pytest

from drcore.grading.grader import Grader
from drcore.model.bundle import Bundle, save_bundle
from drcore.preprocessing.network_input import Preprocessing
from tests.support.networks import random_network
from tests.support.orthanc import Orthanc, orthanc_server
from tests.support.photographs import dicom_file, encode, stored_as
from training.synthetic.phantom import make_phantom
from training.synthetic.recipe import PhantomRecipe

pytest_plugins = ["tests.support.second_chance"]

# A shell starts what it runs in the background with interrupts ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

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


@pytest.fixture(scope="session")
def encoded():
    """The function `encode`."""
    return encode


@pytest.fixture(scope="session")
def turned():
    """The function `stored_as`."""
    return stored_as


@pytest.fixture(scope="session")
def make_network():
    """The function `random_network`."""
    return random_network


@pytest.fixture(scope="session")
def dicom_of():
    """The function `dicom_file`."""
    return dicom_file


@pytest.fixture(scope="session")
def running_orthanc(tmp_path_factory: pytest.TempPathFactory):
    """An archive that all tests share; skips where Orthanc is not installed."""
    with orthanc_server(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture
def orthanc(running_orthanc: Orthanc) -> Orthanc:
    """The shared archive, empty."""
    running_orthanc.clear()
    return running_orthanc
