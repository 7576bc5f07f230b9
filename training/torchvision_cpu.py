"""torchvision beside a CPU-only torch.

PyPI has torchvision only as the CUDA build. Its C++ library does not load beside a CPU build of
torch, and then `import torchvision` stops at decorators that name two operators which that library
would have registered ("operator torchvision::nms does not exist"). Giving torch the bare schemas
of the two lets the import pass; nothing here calls them. Where the library loads, it has
registered them itself and this module leaves everything as it is.

Import torchvision through this module: `from training.torchvision_cpu import torchvision`.
"""

from __future__ import annotations

import torch

__all__ = ["torchvision"]

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

try:
    import torchvision
except RuntimeError as error:
    if "torchvision::nms" not in str(error):
        raise
    # Kept in a module variable: the registration ends with the object's life.
    _library = torch.library.Library("torchvision", "DEF")
    for _schema in _SCHEMAS:
        _library.define(_schema)
    import torchvision
