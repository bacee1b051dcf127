"""How long a recording is, and whether it can be trusted: by decoding it, or by a short look.

Decoding finds everything: damage in the middle, NaN, digital silence. The short look reads the
header and the end of the file. It finds every file that was cut short in the formats that state
their length (flac by its last frame, wav and its relatives by their size), and decodes the others.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from groove.audio.flac import ends_whole
from groove.audio.stream import open_audio
from groove.errors import NoSpeech


def probe_audio(path: str | Path, *, verify: bool = True) -> float:
    """Seconds of a recording that is fit for use.

    Args:
        path: the recording.
        verify: decode all of it; False takes the short look where that is enough.

    Raises:
        AudioError: as for `groove.audio.open_audio`; `NoSpeech` if every sample is zero (found by
            decoding only).
    """
    with open_audio(path) as audio:
        if not verify and audio.promised_s and _ends_well(path, audio.format):
            return audio.promised_s
        loudest = max(float(np.abs(block).max()) for block in audio)
    if loudest == 0.0:
        raise NoSpeech(f"{audio.name}: {audio.seconds:.2f} s of digital silence (all samples zero)")
    return audio.seconds


def _ends_well(path: str | Path, format: str) -> bool:
    """Whether nothing is missing at the end; opening has compared the others' sizes already."""
    if not format.startswith("flac/"):
        return True
    with Path(path).open("rb") as file:
        return ends_whole(file, file.seek(0, 2))
