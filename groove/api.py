"""The public face over models by name: what `import groove` offers.

`groove.embedder` and `groove.verifier` know encoders only; here a name or a path will do.
"""

from __future__ import annotations

import os

from groove import embedder, verifier
from groove.audio import AudioSource
from groove.encoder import Encoder
from groove.loading import open_encoder

Model = str | os.PathLike[str] | Encoder | None


class Embedder(embedder.Embedder):
    """Recordings -> embeddings, with a model by name.

    >>> groove.Embedder().embed("a.wav")                       # [D], length 1
    >>> groove.Embedder("model.onnx", threads=1)
    >>> groove.Embedder(num_crops=6, crop_sec=3.0)
    """

    def __init__(
        self,
        model: Model = None,
        *,
        threads: int | None = None,
        num_crops: int | None = None,
        crop_sec: float | None = None,
        channel: int | None = None,
    ) -> None:
        """Open ``model``: a catalogue name, a path, an open encoder, or None for the default.

        The other arguments are those of `open_encoder` and `groove.embedder.Embedder`.
        """
        super().__init__(
            _encoder(model, threads), num_crops=num_crops, crop_sec=crop_sec, channel=channel
        )


class Verifier(verifier.Verifier):
    """Compares recordings, with a model by name.

    >>> groove.Verifier().compare("a.wav", "b.wav").decision
    >>> groove.Verifier("campplus-zh-en", fmr=0.001)
    """

    def __init__(
        self,
        model: Model = None,
        *,
        threads: int | None = None,
        fmr: float | None = None,
        threshold: float | None = None,
        num_crops: int | None = None,
        crop_sec: float | None = None,
        channel: int | None = None,
    ) -> None:
        """Open ``model``: a catalogue name, a path, an open encoder, or None for the default.

        The other arguments are those of `open_encoder` and `groove.verifier.Verifier`.
        """
        super().__init__(
            _encoder(model, threads),
            fmr=fmr,
            threshold=threshold,
            num_crops=num_crops,
            crop_sec=crop_sec,
            channel=channel,
        )


def compare(
    a: AudioSource,
    b: AudioSource,
    *,
    model: Model = None,
    fmr: float | None = None,
    threshold: float | None = None,
) -> verifier.Comparison:
    """Compare two recordings once; keep a `Verifier` to compare many.

    Args:
        a: a path, bytes, a binary file object, or ``(array, sample_rate)``.
        b: likewise.
        model: a catalogue name, a path, an open encoder, or None for the default.
        fmr: the false-match rate to promise (default 0.01).
        threshold: use this cosine instead of a measured threshold.

    Raises:
        GrooveError: see `Verifier` and `open_encoder`.
    """
    return Verifier(model, fmr=fmr, threshold=threshold).compare(a, b)


def _encoder(model: Model, threads: int | None) -> Encoder:
    if model is None or isinstance(model, (str, os.PathLike)):
        return open_encoder(model, threads=threads)
    return model
