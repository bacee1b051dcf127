"""Which numbers the network computes in: fp32, or half precision by autocast.

bf16 has the range of fp32 and needs nothing else. fp16 overflows at 65504 and underflows at 6e-8,
so its loss is scaled up before backward and the gradients down after it (`torch.amp.GradScaler`),
which skips the odd step that overflowed. Most cards with 6 GB have no bf16. The front end, the
pooling's statistics and the head compute in fp32 by themselves.
"""

from __future__ import annotations

from typing import Any

import torch

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose(precision: str, device: torch.device) -> str:
    """What "auto" means on a device: bf16 where its hardware has it, else fp16; fp32 on a CPU."""
    if precision != "auto":
        return precision
    if device.type != "cuda":
        return "fp32"
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if has_bf16 else "fp16"


def autocast(precision: str, device: torch.device) -> Any:
    """The context in which the network's forward runs."""
    dtype = DTYPES.get(precision, torch.bfloat16)
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32")


def grad_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """The loss scaler; it does nothing but for fp16."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
