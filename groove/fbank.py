"""Log-mel filter banks as Kaldi computes them: waveform [S] -> frames [T, M].

Conventions
-----------
A frame is ``frame_length_ms`` of signal; frames start every ``frame_shift_ms``. Each frame has its
mean removed, is pre-emphasised (Kaldi's first sample uses itself as its predecessor), windowed,
zero-padded to the next power of two and transformed; the *power* spectrum is weighted by triangles
that are equally spaced on the mel scale 1127 ln(1 + f / 700), and the natural logarithm is taken
with a floor of 2^-23. There is no dither: the same samples give the same frames.

Every setting stands in `FbankConfig`, which travels inside the model file. Two computations share
its matrices: `log_mel` here (numpy, an FFT per frame), and the front end folded into the model file
(`fold_matrices`: one convolution and one matrix product), which training uses as well.

Sources: Povey et al. 2011 (Kaldi), feature-window.cc, feature-fbank.cc and mel-computations.cc;
the mel scale is HTK's (Young et al., The HTK Book, 5.4).
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groove.errors import CardError, EmptyAudio

MAX_GAIN = 2.0**20  # of `level_gain`: digital silence stays finite
FRAMES_PER_CHUNK = 256  # scratch of about 2 MB stays in the cache; measured best between 64 and 512


@dataclass(frozen=True)
class FbankConfig:
    """Every value that decides what the frames are.

    >>> FbankConfig()                                          # Kaldi, 80 bins, int16 scale
    >>> FbankConfig(window="hamming", sample_scale=32768.0)    # WeSpeaker's ECAPA
    >>> FbankConfig(sample_scale=1.0)                          # CAM++ by 3D-Speaker
    """

    sample_rate: int = 16_000
    n_mels: int = 80
    frame_length_ms: float = 25.0
    frame_shift_ms: float = 10.0
    window: str = "povey"  # povey | hamming | hann
    preemphasis: float = 0.97
    low_freq_hz: float = 20.0
    high_freq_hz: float = 0.0  # 0: the Nyquist frequency; negative: that far below it
    remove_dc: bool = True
    snip_edges: bool = True  # True: only whole frames; False: reflect at both ends
    min_rms: float = 0.0  # a quieter waveform is first raised to this level; 0: taken as it is
    sample_scale: float = 32768.0  # waveforms in [-1, 1] are multiplied by this first
    log_floor: float = 1.1920928955078125e-07  # 2^-23, Kaldi's float epsilon
    subtract_mean: bool = True  # per crop, over its frames

    def __post_init__(self) -> None:
        """Refuse settings that have no meaning."""
        if self.window not in _WINDOWS:
            raise CardError(f"front end: window {self.window!r}; wanted one of {sorted(_WINDOWS)}")
        if not 0 <= self.low_freq_hz < self.high_edge_hz <= self.sample_rate / 2:
            raise CardError(
                f"front end: mel range {self.low_freq_hz:g} to {self.high_edge_hz:g} Hz at "
                f"{self.sample_rate} Hz; wanted 0 <= low < high <= {self.sample_rate / 2:g}"
            )
        for name in ("frame_length_ms", "frame_shift_ms"):
            samples = self.sample_rate * getattr(self, name) / 1000
            if samples < 1 or samples != int(samples):
                raise CardError(f"front end: {name} is {samples:g} samples; wanted a whole number")
        if self.n_mels < 1 or self.sample_scale <= 0 or self.log_floor <= 0:
            raise CardError("front end: n_mels, sample_scale and log_floor must be positive")
        if not 0 <= self.min_rms < 1:
            raise CardError(f"front end: min_rms {self.min_rms:g}; wanted 0 to 1")

    @property
    def frame_length(self) -> int:
        """Samples in a frame."""
        return int(self.sample_rate * self.frame_length_ms / 1000)

    @property
    def frame_shift(self) -> int:
        """Samples between the starts of neighbouring frames."""
        return int(self.sample_rate * self.frame_shift_ms / 1000)

    @property
    def n_fft(self) -> int:
        """Length of the transform: the next power of two."""
        return 1 << (self.frame_length - 1).bit_length()

    @property
    def high_edge_hz(self) -> float:
        """Upper edge of the last mel triangle."""
        nyquist = self.sample_rate / 2
        return self.high_freq_hz if self.high_freq_hz > 0 else nyquist + self.high_freq_hz

    @property
    def min_samples(self) -> int:
        """Fewest samples that give one frame."""
        return self.frame_length if self.snip_edges else self.frame_length // 2

    def n_frames(self, n_samples: int) -> int:
        """Frames in a waveform of ``n_samples``."""
        if n_samples < self.min_samples:
            return 0
        if self.snip_edges:
            return 1 + (n_samples - self.frame_length) // self.frame_shift
        return (n_samples + self.frame_shift // 2) // self.frame_shift

    @property
    def hash(self) -> str:
        """Sixteen hex digits that change when any setting changes."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; floats stay floats so that the hash is stable."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FbankConfig:
        """Read what `to_dict` wrote; every setting must be there and none besides.

        Raises:
            CardError: an unknown or missing setting, or a value of another kind: nothing is
                rounded or read out of text, since a front end that differs goes unnoticed.
        """
        known = {field.name: field.type for field in fields(cls)}
        unknown, missing = sorted(set(values) - set(known)), sorted(set(known) - set(values))
        if unknown or missing:
            raise CardError(f"front end: unknown settings {unknown}, missing settings {missing}")
        return cls(**{name: _plain(name, str(known[name]), values[name]) for name in known})


def _plain(name: str, kind: str, value: Any) -> Any:
    types, wanted = _KINDS[kind]
    fits = isinstance(value, types) and isinstance(value, bool) == (kind == "bool")
    if not fits or (kind == "float" and not math.isfinite(value)):
        raise CardError(f"front end: {name} is {value!r}; wanted {wanted}")
    return float(value) if kind == "float" else value


_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a finite number"),
    "bool": ((bool,), "true or false"),
    "str": ((str,), "text"),
}


def log_mel(waveform: NDArray[np.floating[Any]], config: FbankConfig) -> NDArray[np.float32]:
    """Log-mel frames of one waveform.

    Args:
        waveform: [S], in [-1, 1] at ``config.sample_rate``.
        config: the settings; ``subtract_mean`` is applied over all frames of this call.

    Returns:
        [T, M] float32 with T = ``config.n_frames(S)``.

    Raises:
        EmptyAudio: fewer samples than one frame needs.
    """
    if waveform.ndim != 1:
        raise ValueError(f"waveform has shape {waveform.shape}; wanted [S]")
    n_frames = config.n_frames(len(waveform))
    if n_frames == 0:
        raise EmptyAudio(
            f"{len(waveform)} samples are less than one frame of {config.frame_length_ms:g} ms; "
            "use a longer recording"
        )
    raised = waveform.astype(np.float32, copy=False) * level_gain(waveform, config)
    framed = _framed(reflect_edges(raised, config), config)
    frames = np.empty((n_frames, config.n_mels), dtype=np.float32)  # [T, M]
    for start in range(0, n_frames, FRAMES_PER_CHUNK):
        stop = min(start + FRAMES_PER_CHUNK, n_frames)
        frames[start:stop] = _log_mel_chunk(framed[start:stop], config)
    if config.subtract_mean:
        frames -= frames.mean(axis=0, dtype=np.float64).astype(np.float32)
    return frames


def level_gain(waveform: NDArray[np.floating[Any]], config: FbankConfig) -> np.float32:
    """What a quiet waveform [S] is multiplied by: max(1, min_rms / rms), at most 2^20.

    The logarithm's floor is absolute. With samples in [-1, 1] it lies 90 dB higher than with
    Kaldi's 16-bit scale, and cuts into speech that is quiet; loud waveforms are left as they are.
    """
    if config.min_rms == 0:
        return np.float32(1)
    rms = np.sqrt(np.mean(np.square(waveform, dtype=np.float64)))
    return np.float32(np.clip(config.min_rms / max(float(rms), 1e-12), 1.0, MAX_GAIN))


def reflect_edges(waveform: NDArray[np.float32], config: FbankConfig) -> NDArray[np.float32]:
    """The waveform as framing wants it: unchanged, or mirrored at both ends (snip_edges false).

    x2 x1 x0 | x0 x1 x2 ... x8 x9 | x9 x8 x7      the edge sample is repeated, as in Kaldi
    """
    if config.snip_edges:
        return waveform
    before = (config.frame_length - config.frame_shift) // 2
    after = config.frame_length // 2
    return np.concatenate([waveform[:before][::-1], waveform, waveform[-after:][::-1]])


@dataclass(frozen=True)
class FoldedMatrices:
    """The front end as two matrices, for graphs that know convolutions but no FFT.

    ``kernel`` [2F, L] holds DC removal, pre-emphasis, window and the real and imaginary part of the
    transform (F = bins that a triangle touches, L = frame length); ``mel`` [F, M] the triangles.
    frames = log(max(mel^T (re^2 + im^2), floor)).
    """

    kernel: NDArray[np.float32]
    mel: NDArray[np.float32]


@lru_cache(maxsize=8)
def fold_matrices(config: FbankConfig) -> FoldedMatrices:
    """Compute the folded matrices in float64 and round once."""
    length, n_bins = config.frame_length, config.n_fft // 2 + 1
    frame = np.eye(length)
    if config.remove_dc:
        frame = frame - 1.0 / length
    shifted = np.vstack([frame[:1], frame[:-1]])
    frame = (frame - config.preemphasis * shifted) * _window(config)[:, None]  # [L, L]
    angle = -2.0 * np.pi * np.outer(np.arange(n_bins), np.arange(length)) / config.n_fft
    mel = _mel_weights(config)  # [F, M]
    used = mel.any(axis=1)
    kernel = np.concatenate([np.cos(angle)[used] @ frame, np.sin(angle)[used] @ frame])
    kernel *= config.sample_scale
    return FoldedMatrices(kernel.astype(np.float32), mel[used].astype(np.float32))


def _framed(waveform: NDArray[np.float32], config: FbankConfig) -> NDArray[np.float32]:
    """A view [T, L] of overlapping frames; nothing is copied."""
    windows = np.lib.stride_tricks.sliding_window_view(waveform, config.frame_length)
    return windows[:: config.frame_shift]


def _log_mel_chunk(framed: NDArray[np.float32], config: FbankConfig) -> NDArray[np.float32]:
    frame = framed * np.float32(config.sample_scale)  # [t, L]; a copy, safe to change
    if config.remove_dc:
        frame -= frame.mean(axis=1, keepdims=True)
    emphasised = np.empty_like(frame)
    coefficient = np.float32(config.preemphasis)
    emphasised[:, 1:] = frame[:, 1:] - coefficient * frame[:, :-1]
    emphasised[:, 0] = frame[:, 0] - coefficient * frame[:, 0]
    emphasised *= _window(config).astype(np.float32)
    spectrum = np.fft.rfft(emphasised, n=config.n_fft, axis=1)  # [t, F] complex64
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    mel = _weigh(power.astype(np.float32, copy=False), config)  # [t, M]
    return np.log(np.maximum(mel, np.float32(config.log_floor)))


def _weigh(power: NDArray[np.float32], config: FbankConfig) -> NDArray[np.float32]:
    """``power @ mel_weights``, in products too small for BLAS to wake its threads.

    Those threads would fight onnxruntime's for the cores (measured: 65 ms against 35 ms for a
    compare). OpenBLAS stays on the calling thread up to m n k = 2^18; 8 x 257 x 80 is below it.
    """
    n_frames, n_bins = power.shape
    whole = n_frames - n_frames % 8
    weights = _mel_weights(config).astype(np.float32)
    blocks = power[:whole].reshape(-1, 8, n_bins) @ weights
    rest = power[whole:] @ weights
    return np.concatenate([blocks.reshape(whole, config.n_mels), rest])


@lru_cache(maxsize=8)
def _window(config: FbankConfig) -> NDArray[np.float64]:
    window: NDArray[np.float64] = _WINDOWS[config.window](config.frame_length)
    return window


_WINDOWS = {
    "povey": lambda n: (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / (n - 1))) ** 0.85,
    "hamming": lambda n: 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(n) / (n - 1)),
    "hann": lambda n: 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / (n - 1)),
}


def _mel(hz: NDArray[np.float64] | float) -> Any:
    return 1127.0 * np.log1p(np.asarray(hz) / 700.0)


def _mel_points(config: FbankConfig) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mel values of the bins [F] and of the triangles' corners [M + 2]."""
    n_bins = config.n_fft // 2 + 1
    bins = _mel(np.arange(n_bins) * config.sample_rate / config.n_fft)
    low, high = _mel(config.low_freq_hz), _mel(config.high_edge_hz)
    return bins, np.linspace(low, high, config.n_mels + 2)


@lru_cache(maxsize=8)
def _mel_weights(config: FbankConfig) -> NDArray[np.float64]:
    """Triangles [F, M]; Kaldi leaves the Nyquist bin out."""
    bins, corners = _mel_points(config)
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    up = (bins[:, None] - left) / (centre - left)
    down = (right - bins[:, None]) / (right - centre)
    weights = np.maximum(0.0, np.minimum(up, down))
    weights[-1] = 0.0
    return weights
