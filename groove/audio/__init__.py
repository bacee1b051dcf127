r"""A file, bytes or an array -> mono float32 waveform [S] at 16 kHz, nominally in [-1, 1].

Conventions
-----------
A recording is recognised by its content, never by its name. It is decoded, one channel is picked or
all are mixed down by their mean, and the result is resampled (soxr, HQ). Everything streams: memory
does not grow with the length, and `read_audio` is the concatenation of what `open_audio` yields,
bit for bit, whatever the block size. The same source opened twice gives the same samples.

Channels count from 1. Integer samples are divided by the range of their type (int16 by 2^15), so
full scale is 1.0; floats are taken as they are and may overshoot (lossy decoders do).

    path, bytes, file object --> containers.recognise --> libsndfile         (soundfiles.py)
                                                     \-> PyAV, else ffmpeg   (decoders.py)
    (array, sample_rate) ------------------------------> arrays.py
                                                          |
                     stream.py: pick / mix, check, measure clipping --> blocks [s]
                                                          |
                                               resampling.py (soxr)

The base install reads wav (RIFF, RIFX, RF64, W64), flac, ogg (vorbis, opus), mp3, mp2, aiff, au,
caf, NIST sphere, voc, ircam, avr, svx, paf and pvf; mp4, m4a, aac, amr, wma, webm, mkv and more
need the ``formats`` extra or an ``ffmpeg`` on the PATH.
"""

from groove.audio.probing import probe_audio
from groove.audio.resampling import change_speed
from groove.audio.soundfiles import through_opus
from groove.audio.stream import (
    SAMPLE_RATE,
    AudioSource,
    AudioStream,
    open_audio,
    read_audio,
    read_span,
)

__all__ = [
    "SAMPLE_RATE",
    "AudioSource",
    "AudioStream",
    "change_speed",
    "open_audio",
    "probe_audio",
    "read_audio",
    "read_span",
    "through_opus",
]
