"""How many photographs a DICOM file holds, from its first bytes."""

from __future__ import annotations

import io
import logging
import warnings

__all__ = ["HEAD_BYTES", "LONG_HEAD_BYTES", "frames_in"]

# What pydicom warns of and logs is told by the row, when the file is read.
warnings.filterwarnings("ignore", module=r"pydicom\.")
logging.getLogger("pydicom").setLevel(logging.CRITICAL)

HEAD_BYTES = 64 * 1024
"""Bytes that are looked at: the number of frames comes long before the pixels."""

LONG_HEAD_BYTES = 4 * 1024 * 1024
"""Bytes that are looked at where that costs little: private elements may come first."""

MAX_FRAMES = 1000
"""What declares more is not parted; to read it tells what is wrong with it."""


def frames_in(head: bytes) -> int:
    """Count the frames that a file declares, without reading it whole.

    To look at a million files twice would cost a day. A wrong answer loses nothing: reading checks
    the number again, and tells in the row of the file where it differs.

    Args:
        head: the first `HEAD_BYTES` of a file or more, or all of a shorter one.

    Returns:
        The number of photographs; 1 for a file that does not tell, or is not DICOM.
    """
    try:
        from pydicom import dcmread

        header = dcmread(
            io.BytesIO(head), stop_before_pixels=True, force=True,
            specific_tags=["NumberOfFrames"],
        )  # fmt: skip
        count = int(header.get("NumberOfFrames", 1) or 1)
    except Exception:  # noqa: BLE001 - pydicom raises whatever it likes on hostile bytes
        return 1
    return count if 1 <= count <= MAX_FRAMES else 1
