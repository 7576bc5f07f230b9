"""A grader in forked processes, as multiprocessing on Linux and some web servers use it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system")

SCRIPT = """
import os, sys
import numpy as np
from drcore.grading.grader import Grader
grader = Grader.from_folder(sys.argv[1], "cpu")
rgb = np.random.default_rng(0).integers(0, 255, (600, 600, 3), np.uint8)
score = grader.grade(rgb).score
for again in (lambda: grader, lambda: Grader.from_folder(sys.argv[1], "cpu")):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, repr(float(again().grade(rgb).score)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert abs(float(os.read(reading, 99)) - score) < 1e-4
assert grader.grade(rgb).score == score
"""


@pytest.mark.timeout(200)
def test_a_grader_works_in_a_forked_process(bundle_folder):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(bundle_folder)],
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_single_source_is_a_list_of_one(grader, phantom, tmp_path):
    from PIL import Image

    rgb = phantom(seed=1).rgb
    Image.fromarray(rgb).save(tmp_path / "one.png")
    path = tmp_path / "one.png"
    for source in (str(path), path, path.read_bytes(), rgb, path.open("rb")):
        (report,) = grader.grade_many(source)
        assert report.status != "failed"
        if hasattr(source, "close"):
            source.close()
