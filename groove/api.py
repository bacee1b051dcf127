"""The public face over models by name: what `import groove` offers.

`groove.embedder` and `groove.verifier` know encoders only; here a name or a path will do.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property

from groove import embedder, verifier
from groove.audio import AudioSource
from groove.encoder import Encoder
from groove.loading import open_encoder
from groove.voiceprints import answers, recognition, store
from groove.voiceprints.identification import DEFAULT_FPIR

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


class VoiceprintStore(store.VoiceprintStore):
    """People and their voices in one file, with a model by name; opened when first listened with.

    >>> store = groove.VoiceprintStore("people.db")
    >>> store.enroll("张三", ["a.wav", "b.wav"], consent="form 17")
    >>> store.verify("张三", "c.wav").decision
    >>> store.identify("c.wav").name                           # None: nobody
    >>> store.forget(["张三"])
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        model: Model = None,
        threads: int | None = None,
        fmr: float | None = None,
        threshold: float | None = None,
        fpir: float = DEFAULT_FPIR,
        must_exist: bool = False,
    ) -> None:
        """Open the file at ``path``, or make it; None takes the user's own.

        Args:
            path: see `groove.voiceprints.store.VoiceprintStore`.
            model: a catalogue name, a path, an open encoder, or None for the default.
            threads: see `open_encoder`.
            fmr: see `groove.verifier.Verifier`; for `verify` and the check while enrolling.
            threshold: see `groove.verifier.Verifier`; for `identify`, too.
            fpir: see `groove.voiceprints.recognition.Recognizer`.
            must_exist: refuse to make a new file.
        """
        super().__init__(path, must_exist=must_exist)
        self._model, self._threads = model, threads
        self._fmr, self._threshold, self._fpir = fmr, threshold, fpir

    @cached_property
    def recognizer(self) -> recognition.Recognizer:
        """The store together with the model."""
        judge = Verifier(
            self._model, threads=self._threads, fmr=self._fmr, threshold=self._threshold
        )
        return recognition.Recognizer(self, judge, fpir=self._fpir)

    def enroll(
        self,
        name: str,
        sources: Sequence[AudioSource],
        *,
        consent: str = "",
        same_person: bool = False,
    ) -> answers.Enrollment:
        """Enrol recordings of one person; see `Recognizer.enroll`."""
        return self.recognizer.enroll(name, sources, consent=consent, same_person=same_person)

    def verify(self, name: str, source: AudioSource) -> answers.Verification:
        """Is this the person of that name? See `Recognizer.verify`."""
        return self.recognizer.verify(name, source)

    def identify(self, source: AudioSource, *, top: int = 5) -> answers.Identification:
        """Who is talking, or nobody? See `Recognizer.identify`."""
        return self.recognizer.identify(source, top=top)

    def reembed(
        self, name: str, sources: Sequence[AudioSource], *, same_person: bool = False
    ) -> answers.Enrollment:
        """Replace a person's embeddings by this model's; see `Recognizer.reembed`."""
        return self.recognizer.reembed(name, sources, same_person=same_person)


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
