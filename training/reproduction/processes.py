"""Several processes that train together, as `torchrun` starts them."""

from __future__ import annotations

import datetime
import os

import torch
from torch import distributed as dist

__all__ = ["join_processes", "rank_and_count", "wait_for_all"]


def rank_and_count() -> tuple[int, int]:
    """Return the number of this process, 0 for the first, and how many train together."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def wait_for_all() -> None:
    """Wait until every process is here."""
    if rank_and_count()[1] > 1:
        dist.barrier()


def join_processes(device: str | None = None) -> torch.device:
    """Join the other processes where `torchrun` started several, and choose the device.

    Args:
        device: "cpu" or "cuda"; CUDA where there is one, if left out.
    """
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        # Hours: the first process measures a finished run while the others wait in the next one.
        dist.init_process_group(
            "nccl" if kind == "cuda" else "gloo", timeout=datetime.timedelta(hours=6)
        )
    if kind == "cuda":
        torch.cuda.set_device(local)
        return torch.device("cuda", local)
    return torch.device("cpu")
