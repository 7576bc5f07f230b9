"""How fast photographs reach an archive and come back: C-STORE and C-GET with Orthanc.

python -m tests.benchmarks.pacs --count 20 --side 2400
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from pydicom.uid import generate_uid

from drcore.pacs.connection import Query, connect
from drcore.pacs.servers import DicomServer
from tests.support.orthanc import AE_TITLE, orthanc_server
from tests.support.photographs import dicom_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--side", type=int, default=2400, help="of the photographs, in pixels")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "archive").mkdir()
        study, series = generate_uid(), generate_uid()
        random = np.random.default_rng(0)
        files = []
        for number in range(options.count):
            rgb = random.integers(0, 256, (options.side, options.side, 3), np.uint8)
            file = folder / f"{number}.dcm"
            file.write_bytes(dicom_file(rgb, StudyInstanceUID=study, SeriesInstanceUID=series))
            files.append(file)
        size = sum(file.stat().st_size for file in files) / 1e6
        with orthanc_server(folder / "archive") as orthanc:
            connection = connect(
                DicomServer(
                    name="benchmark", kind="dicom", host="127.0.0.1", port=orthanc.dicom_port,
                    ae_title=AE_TITLE,
                )
            )  # fmt: skip
            for what in ("send", "send again", "fetch"):
                began = time.perf_counter()
                if what == "fetch":
                    (found,) = connection.find(Query(study_uid=study))
                    assert connection.fetch(found, folder / "fetched").new == options.count
                else:
                    expected = "sent" if what == "send" else "already there"
                    assert {sent.outcome for sent in connection.send(files)} == {expected}
                seconds = time.perf_counter() - began
                print(f"{what}: {options.count} files, {size:.0f} MB, {seconds:.1f} s")


if __name__ == "__main__":
    main()
