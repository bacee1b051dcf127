"""A manifest cut to the lengths at which a card is measured, and embedded.

The pieces of a condition (`groove.evaluation.card_measures.CONDITIONS`) are functions of the
manifest and a seed: whole utterances, one seeded crop of each, or a speaker's utterances joined
with short gaps. At most `PER_SPEAKER` utterances of a speaker are cropped, and at most
`MAX_UTTERANCES` take part. Telephone sound is each of them heard through two telephones, one with
the telephone's band and one with all that 8 kHz can hold, in A-law or mu-law.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from groove.audio import SAMPLE_RATE
from groove.embedder import Embedder
from groove.encoder import Encoder
from groove.errors import ScoringError
from groove.evaluation.cache import Embedded, EmbeddingCache, content_of, embed_sources, examined
from groove.evaluation.card_measures import (
    ANY_SPEECH_S,
    CONDITIONS,
    FULL,
    JOINED_S,
    SEED,
)
from groove.evaluation.card_trials import WIDE_BAND, EmbeddedSet
from groove.joined import files_of_utterance, read_joined
from groove.manifest import Utterance
from groove.telephone import telephone

GAP_S = 0.12  # between utterances that are joined
PER_SPEAKER = 4
MAX_UTTERANCES = 8_000
EIGHT_KHZ = "below 4 kHz"
TELEPHONES = ("300 to 3400 Hz", EIGHT_KHZ)

Progress = Callable[[str, int, int], None]
Lost = Callable[[Sequence[tuple[str, str]], str], None]  # (path, reason) each, of what


@dataclass(frozen=True)
class Piece:
    """What is embedded once: utterances of one speaker, cut or joined."""

    utterances: tuple[Utterance, ...]
    condition: str
    seed: int = 0  # of the crop
    channel: str = WIDE_BAND

    def read(self) -> tuple[NDArray[np.float32], int]:
        """The waveform and its rate."""
        parts = [read_joined(files_of_utterance(u))[0] for u in self.utterances]
        if self.condition not in (FULL, *map(_name, JOINED_S)):
            parts = [_crop(parts[0], float(self.condition), self.seed)]
        gap = np.zeros(round(GAP_S * SAMPLE_RATE), np.float32)
        with_gaps = [part for whole in parts for part in (whole, gap)][:-1]
        waveform = np.concatenate(with_gaps)
        if self.channel != WIDE_BAND:
            waveform = by_telephone(waveform, self.utterances[0].utterance_id, self.channel)
        return waveform, SAMPLE_RATE


def by_telephone(
    waveform: NDArray[np.float32], utterance_id: str, channel: str
) -> NDArray[np.float32]:
    """Through one of `TELEPHONES`; A-law or mu-law depends on the utterance's name alone."""
    return telephone(waveform, _law_of(utterance_id), whole_band=channel == EIGHT_KHZ)


def by_turns(utterance_id: str) -> str:
    """One of `TELEPHONES`, which depends on the utterance's name alone, and not as the law does."""
    return TELEPHONES[_drawn(utterance_id) // 2 % 2]


def _law_of(utterance_id: str) -> str:
    return ("alaw", "ulaw")[_drawn(utterance_id) % 2]


def _drawn(utterance_id: str) -> int:
    return crc32(utterance_id.encode())


class Lenient:
    """The same encoder without its limit of speech: what a card refuses cannot be measured."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.card = replace(encoder.card, min_speech_s=ANY_SPEECH_S)

    @property
    def model_hash(self) -> str:
        """The encoder's."""
        return self._encoder.model_hash

    def __call__(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the encoder says."""
        return self._encoder(waveforms)


def embed_pieces(
    utterances: Sequence[Utterance],
    embedder: Embedder,
    cache: EmbeddingCache,
    *,
    on_telephone: bool = False,
    workers: int = 1,
    progress: Progress | None = None,
    lost: Lost | None = None,
) -> dict[str, EmbeddedSet]:
    """Every condition's embeddings; pieces without enough speech are left out.

    Args:
        utterances: the manifest's, with several utterances a speaker.
        embedder: see `groove.evaluation.cache.embed_files`.
        cache: see there.
        on_telephone: hear each through both telephones, which makes two pieces of it.
        workers: threads.
        progress: called with the condition, how many pieces are done, of how many.
        lost: called with what was left out, where something was: files that cannot be read, and
            then, condition by condition, pieces without an embedding.

    A condition of which nothing is left is missing from the answer.

    Raises:
        ScoringError: no whole recording gave an embedding.
    """
    chosen = limited(utterances)
    hashes: dict[str, str] = {}
    unreadable: list[tuple[str, str]] = []
    for utterance in chosen:
        content = content_of(*files_of_utterance(utterance))
        if isinstance(content, str):
            hashes[utterance.utterance_id] = content
        else:
            unreadable.append((str(utterance.path), content.reason))
    if lost:
        lost(unreadable, f"of {len(chosen):,} recordings")
    readable = [u for u in chosen if u.utterance_id in hashes]
    channels = TELEPHONES if on_telephone else (WIDE_BAND,)
    found = {}
    for condition in CONDITIONS:
        heard = (replace(p, channel=c) for p in pieces_of(readable, condition) for c in channels)
        pieces = {_content(piece, hashes): piece for piece in heard}
        done = 0

        def advance(n: int, total: int = len(pieces), what: str = condition) -> None:
            nonlocal done
            done += n
            if progress:
                progress(what, done, total)

        sources = {content: _bound(piece, embedder) for content, piece in pieces.items()}
        rows = embed_sources(sources, embedder, cache, workers=workers, progress=advance)
        failed = [
            (str(piece.utterances[0].path), rows[content].reason)
            for content, piece in pieces.items()
            if rows[content].embedding is None
        ]
        if lost:
            lost(failed, f"of {len(pieces):,} pieces at {condition}")
        if embedded := _set(pieces, rows):
            found[condition] = embedded
        elif condition == FULL:
            reason = next((row.reason for row in rows.values()), "no utterance")
            raise ScoringError(f"no recording gave an embedding: {reason}")
    return found


def _bound(piece: Piece, embedder: Embedder) -> Callable[[], Embedded]:
    return lambda: examined(piece.read(), embedder)


def limited(utterances: Sequence[Utterance]) -> list[Utterance]:
    """All of them, or `MAX_UTTERANCES` drawn by seed, in the manifest's order."""
    if len(utterances) <= MAX_UTTERANCES:
        return list(utterances)
    drawn = np.random.RandomState(SEED).permutation(len(utterances))[:MAX_UTTERANCES]
    return [utterances[i] for i in np.sort(drawn).tolist()]


def pieces_of(utterances: Sequence[Utterance], condition: str) -> Iterator[Piece]:
    """The pieces of one condition, in the manifest's order."""
    if condition == FULL:
        yield from (Piece((u,), condition) for u in utterances)
        return
    own: dict[str, list[Utterance]] = defaultdict(list)
    for u in utterances:
        own[u.speaker_id].append(u)
    for listed in own.values():
        if condition in map(_name, JOINED_S):
            yield from _joined(listed, condition)
        elif len(listed) > 1:  # who has one utterance is in no target trial
            for u in listed[:PER_SPEAKER]:
                yield Piece((u,), condition, SEED)


def _joined(utterances: Sequence[Utterance], condition: str) -> Iterator[Piece]:
    group: list[Utterance] = []
    for utterance in utterances:
        group.append(utterance)
        if sum(u.seconds + GAP_S for u in group) >= float(condition):
            yield Piece(tuple(group), condition)
            group = []


def _crop(waveform: NDArray[np.float32], seconds: float, seed: int) -> NDArray[np.float32]:
    """A crop at a place that depends on seed and length alone; all of a shorter waveform."""
    n = round(seconds * SAMPLE_RATE)
    spare = len(waveform) - n
    if spare <= 0:
        return waveform
    start = int(np.random.RandomState((seed + len(waveform)) % 2**32).randint(spare + 1))
    return waveform[start : start + n]


def _content(piece: Piece, hashes: Mapping[str, str]) -> str:
    files = "+".join(hashes[u.utterance_id] for u in piece.utterances)
    cut = "" if piece.condition == FULL else f":{piece.condition}:{piece.seed}"
    if piece.channel == WIDE_BAND:
        return f"{files}{cut}"
    return f"{files}{cut}:{piece.channel}, {_law_of(piece.utterances[0].utterance_id)}"


def _set(pieces: Mapping[str, Piece], rows: Mapping[str, Embedded]) -> EmbeddedSet | None:
    usable = [(piece, rows[c]) for c, piece in pieces.items() if rows[c].embedding is not None]
    if not usable:
        return None
    return EmbeddedSet(
        np.stack([row.embedding for _, row in usable if row.embedding is not None]),
        np.array([piece.utterances[0].speaker_id for piece, _ in usable]),
        np.array([piece.utterances[0].utterance_id for piece, _ in usable]),
        np.array([row.speech_s for _, row in usable]),
        np.array([piece.channel for piece, _ in usable]),
    )


def _name(seconds: float) -> str:
    return f"{seconds:g}"
