"""The front end in torch: waveform [B, S] -> log-mel frames [B, T, M].

It runs the matrices of `groove.fbank.fold_matrices`, so it differs from `groove.fbank.log_mel` by
rounding alone, and a graph exported from it needs neither an FFT nor a setting from outside:

    waveform -> gain -> (mirror) -> convolution -> square -> mel weights -> floor, log -> - mean

It always computes in float32. With 16-bit scale the power of speech reaches 1e13, which float16
(largest value 65504) cannot hold, so autocast is switched off inside and `half()` passes it by.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groove.fbank import MAX_GAIN, FbankConfig, fold_matrices

_LEAST_RMS = 1e-12  # digital silence divides by this, not by zero


class FbankFrontEnd(nn.Module):
    """Log-mel frames with nothing to learn; it has no entry in the state dict.

    >>> FbankFrontEnd(FbankConfig())(waveform).shape        # [B, S] -> [B, T, 80]
    """

    kernel: Tensor
    mel: Tensor

    def __init__(self, config: FbankConfig) -> None:
        """Fold the settings into two matrices."""
        super().__init__()
        self.config = config
        self._fold(torch.device("cpu"))

    def forward(self, waveform: Tensor) -> Tensor:
        """Frames of equally long waveforms.

        Args:
            waveform: [B, S], in [-1, 1] at ``config.sample_rate``, with
                S >= ``config.min_samples``.

        Returns:
            [B, T, M] float32, T = ``config.n_frames(S)``; the mean over T is subtracted if the
            settings say so.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            return self._frames(waveform.float())

    def _frames(self, waveform: Tensor) -> Tensor:
        raised = self._mirrored(self._raised(waveform))
        spectrum = F.conv1d(raised[:, None], self.kernel, stride=self.config.frame_shift)
        power = spectrum * spectrum  # [B, 2F, T]: re^2 below im^2; `mel` adds the halves up
        mel = F.conv1d(power, self.mel)  # [B, M, T]
        frames = mel.clamp(min=self.config.log_floor).log().transpose(1, 2)  # [B, T, M]
        if self.config.subtract_mean:
            frames = frames - frames.mean(dim=1, keepdim=True)
        return frames

    def _raised(self, waveform: Tensor) -> Tensor:
        """`groove.fbank.level_gain`, row by row."""
        if self.config.min_rms == 0:
            return waveform
        rms = (waveform * waveform).mean(dim=1, keepdim=True).sqrt()  # [B, 1]
        gain = (self.config.min_rms / rms.clamp(min=_LEAST_RMS)).clamp(1.0, MAX_GAIN)
        return waveform * gain

    def _mirrored(self, waveform: Tensor) -> Tensor:
        """`groove.fbank.reflect_edges`, row by row."""
        if self.config.snip_edges:
            return waveform
        before = (self.config.frame_length - self.config.frame_shift) // 2
        after = self.config.frame_length // 2
        edges = waveform[:, :before].flip(1), waveform[:, -after:].flip(1)
        return torch.cat([edges[0], waveform, edges[1]], dim=1)

    def _fold(self, device: torch.device) -> None:
        folded = fold_matrices(self.config)
        kernel = torch.from_numpy(folded.kernel)[:, None]  # [2F, 1, L]
        mel = torch.from_numpy(folded.mel).T  # [M, F]
        twice = torch.cat([mel, mel], dim=1)[:, :, None]  # [M, 2F, 1]
        self.register_buffer("kernel", kernel.to(device), persistent=False)
        self.register_buffer("mel", twice.contiguous().to(device), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Follow `to(device)`, but stay in float32 where `half()` would round and overflow."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.kernel.dtype != torch.float32:
            self._fold(self.kernel.device)
        return self
