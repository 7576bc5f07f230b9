"""The kinds of DICOM objects that drcore exchanges, and how they may be encoded."""

from __future__ import annotations

__all__ = [
    "FETCHED", "NATIVE", "PHOTOGRAPHS", "SYNTAXES", "VERIFICATION", "kind_name", "syntax_name",
]  # fmt: skip

VERIFICATION = "1.2.840.10008.1.1"

PHOTOGRAPHS = {
    "1.2.840.10008.5.1.4.1.1.77.1.5.1": "Ophthalmic Photography 8 Bit Image",
    "1.2.840.10008.5.1.4.1.1.77.1.5.2": "Ophthalmic Photography 16 Bit Image",
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture Image",
    "1.2.840.10008.5.1.4.1.1.7.4": "Multi-frame True Color Secondary Capture Image",
    "1.2.840.10008.5.1.4.1.1.77.1.4": "VL Photographic Image",
}
"""SOP classes of photographs, by UID: what the listener accepts."""

_DOCUMENTS = {
    "1.2.840.10008.5.1.4.1.1.88.33": "Comprehensive SR",
    "1.2.840.10008.5.1.4.1.1.88.22": "Enhanced SR",
    "1.2.840.10008.5.1.4.1.1.88.11": "Basic Text SR",
    "1.2.840.10008.5.1.4.1.1.104.1": "Encapsulated PDF",
}

FETCHED = {**PHOTOGRAPHS, **_DOCUMENTS}
"""SOP classes that are fetched where an archive does not tell which it has."""

NATIVE = {
    "1.2.840.10008.1.2.1": "Explicit VR Little Endian",
    "1.2.840.10008.1.2": "Implicit VR Little Endian",
}

SYNTAXES = {
    **NATIVE,
    "1.2.840.10008.1.2.4.50": "JPEG Baseline",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 Lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.5": "RLE Lossless",
}
"""Transfer syntaxes by UID: those that drcore reads."""


def kind_name(sop_class: str) -> str:
    """Return what a SOP class is called."""
    return FETCHED.get(sop_class, f"SOP class {sop_class}")


def syntax_name(transfer_syntax: str) -> str:
    """Return what a transfer syntax is called."""
    return SYNTAXES.get(transfer_syntax, f"transfer syntax {transfer_syntax}")
