"""Which device computes."""

from __future__ import annotations

import torch


def check_device(device: str | torch.device) -> torch.device:
    """The device, if it can be used here.

    Raises:
        ValueError: unknown name, or no such device on this machine.
    """
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"unknown device {str(device)!r}; choose cpu, cuda, cuda:N or mps.") from error
    here = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (wanted.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not here.get(wanted.type, True):
        raise ValueError(f"device {str(device)!r} is not available on this machine. Choose device='cpu'.")
    return wanted
