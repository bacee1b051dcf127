"""What a card promises, measured on embeddings whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from groove.audio import read_audio
from groove.bench import wav_bytes
from groove.calibration import fit_calibration, threshold_table
from groove.card import ThresholdTable
from groove.embedder import Embedder
from groove.errors import ScoringError
from groove.evaluation import card_measures
from groove.evaluation.cache import EmbeddingCache
from groove.evaluation.card_measures import (
    CONDITIONS,
    measure_card,
    strictest,
    table_of,
)
from groove.evaluation.card_pieces import (
    TELEPHONES,
    Piece,
    by_turns,
    embed_pieces,
    limited,
    pieces_of,
)
from groove.evaluation.card_trials import WIDE_BAND, EmbeddedSet, length_trials
from groove.manifest import Utterance
from groove.scoring import Calibration
from groove.telephone import telephone
from tests.conftest import VOICE_A, VOICE_A2, VOICE_B
from tests.fakes import FakeEncoder, fake_card

N_SPEAKERS, N_EACH, D = 60, 3, 24


def pool(noise: float, speech_s: float, seed: int) -> EmbeddedSet:
    """Speakers are fixed directions; the shorter the crop, the noisier each utterance."""
    voices = np.random.default_rng(0).standard_normal((N_SPEAKERS, D))
    random = np.random.default_rng(seed)
    rows = np.repeat(voices, N_EACH, axis=0) + noise * random.standard_normal(
        (N_SPEAKERS * N_EACH, D)
    )
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    speaker = np.repeat([f"s{i:02d}" for i in range(N_SPEAKERS)], N_EACH)
    utterance = np.array([f"{s}/{i}" for i, s in enumerate(speaker)])
    speech = np.full(len(rows), speech_s) * random.uniform(0.9, 1.1, len(rows))
    channel = np.full(len(rows), WIDE_BAND)
    return EmbeddedSet(rows.astype(np.float32), speaker, utterance, speech, channel)


@pytest.fixture(scope="module")
def sets() -> dict[str, EmbeddedSet]:
    noise = {"full": 0.7, "4": 0.65, "6": 0.6, "10": 0.55, "3": 0.8, "2": 1.0, "1.5": 1.3, "1": 1.8}
    noise |= {"0.75": 2.4, "0.5": 3.5}
    speech = {"full": 3.5, "4": 4.5, "6": 6.0, "10": 10.0}
    return {
        name: pool(noise[name], speech.get(name) or float(name), i)
        for i, name in enumerate(CONDITIONS)
    }


def test_pairs_are_those_of_different_utterances(sets: dict[str, EmbeddedSet]) -> None:
    a, b = sets["1"].at_least(0.95), sets["full"]
    for left, right in ((a, a), (a, b)):
        target, nontarget = [], []
        for i in range(len(left.speaker)):
            for j in range(len(right.speaker)):
                if left.utterance[i] == right.utterance[j] or (left is right and i >= j):
                    continue
                score = float(left.embedding[i] @ right.embedding[j])
                speech = min(left.speech_s[i], right.speech_s[j])
                same = left.speaker[i] == right.speaker[j]
                (target if same else nontarget).append((score, speech))
        found = length_trials(left, right)
        for scores, seconds, wanted in (
            (found.target, found.target_speech_s, target),
            (found.nontarget, found.nontarget_speech_s, nontarget),
        ):
            np.testing.assert_allclose(np.sort(scores), np.sort([w[0] for w in wanted]), atol=1e-5)
            np.testing.assert_allclose(np.sort(seconds), np.sort([w[1] for w in wanted]), atol=1e-5)


def test_the_measured_card_keeps_the_rules(sets: dict[str, EmbeddedSet]) -> None:
    said: list[str] = []
    found = measure_card(sets, "a test", said.append)
    assert 0.5 <= found.min_speech_s < found.short_speech_s < 3.5
    lengths = [table.speech_s for table in found.thresholds]
    assert lengths == sorted(lengths) and lengths[0] >= found.min_speech_s
    full = length_trials(*[sets["full"].at_least(found.min_speech_s)] * 2)
    (table,) = [t for t in found.thresholds if 3.2 < t.speech_s < 3.8]
    assert table.rows == threshold_table(full.target, full.nontarget, N_SPEAKERS)
    # 180 target pairs of the whole utterances; each kind counts its own, however often it is drawn.
    n_kinds = len(lengths) + sum(length < 3.2 for length in lengths)
    assert 180 * (len(lengths) - 1) <= found.calibration.n_target <= 180 * 2 * n_kinds
    card = found.applied_to(fake_card())
    assert card.thresholds == found.thresholds and card.calibration == found.calibration
    assert card.from_json(card.to_json()).to_json() == card.to_json()
    assert any("no answer below" in line for line in said)
    for start in ("whole utterances, ", "3 s crops, ", "joined to 6 s, "):
        assert any(line.startswith(start) and "non-target trials" in line for line in said), start
    again = measure_card(sets, "a test")
    assert again == found


def test_without_joined_utterances_there_are_fewer_tables(sets: dict[str, EmbeddedSet]) -> None:
    some = {name: found for name, found in sets.items() if name not in ("4", "6", "10")}
    assert len(measure_card(some, "t").thresholds) == len(measure_card(sets, "t").thresholds) - 3


def test_too_few_speakers_are_refused(sets: dict[str, EmbeddedSet]) -> None:
    few = {
        name: EmbeddedSet(*(column[: 2 * N_EACH] for column in vars(found).values()))
        for name, found in sets.items()
    }
    with pytest.raises(ScoringError, match="no length has 30 false matches"):
        measure_card(few, "t")
    alone = {
        name: EmbeddedSet(*(column[::N_EACH] for column in vars(found).values()))
        for name, found in sets.items()
    }
    with pytest.raises(ScoringError, match="0 target and .* several utterances"):
        measure_card(alone, "t")


def utterances(n_speakers: int, n_each: int) -> list[Utterance]:
    return [
        Utterance(f"{s}-{i}", f"s{s}", VOICE_A if i % 2 else VOICE_B, 5.0)
        for s in range(n_speakers)
        for i in range(n_each)
    ]


def test_pieces_are_functions_of_manifest_and_seed() -> None:
    listed = [*utterances(2, 6), Utterance("alone", "s9", VOICE_A, 5.0)]
    assert [p.utterances[0] for p in pieces_of(listed, "full")] == listed
    crops = list(pieces_of(listed, "1"))
    assert [p.utterances[0].utterance_id for p in crops] == [
        f"{s}-{i}" for s in range(2) for i in range(4)
    ]
    joined = list(pieces_of(listed, "10"))
    assert [len(p.utterances) for p in joined] == [2] * 6
    assert len({u.utterance_id for p in joined for u in p.utterances}) == 12  # none twice
    first, again = (Piece((listed[0],), "1", 7).read()[0] for _ in range(2))
    assert len(first) == 16_000
    np.testing.assert_array_equal(first, again)
    whole, rate = joined[0].read()
    parts = [Piece((u,), "full").read()[0] for u in joined[0].utterances]
    assert rate == 16_000 and len(whole) == sum(map(len, parts)) + round(0.12 * 16_000)
    np.testing.assert_array_equal(whole[: len(parts[0])], parts[0])
    assert limited(listed) == listed


def test_a_piece_by_telephone_is_of_one_band_and_either_law_and_says_so_in_the_cache() -> None:
    listed = [Utterance(f"u{i}", "a", VOICE_A, 5.0) for i in range(20)]
    plain = Piece((listed[0],), "full").read()[0]
    for channel, whole_band in zip(TELEPHONES, (False, True), strict=True):
        heard = [Piece((u,), "full", channel=channel).read()[0] for u in listed]
        laws = [telephone(plain, law, whole_band=whole_band) for law in ("alaw", "ulaw")]
        found = [[np.array_equal(law, h) for law in laws] for h in heard]
        assert all(sum(of_one) == 1 for of_one in found) and {first for first, _ in found} == {0, 1}
    assert {by_turns(u.utterance_id) for u in listed} == set(TELEPHONES)
    with EmbeddingCache() as cache:
        embedder = Embedder(FakeEncoder(min_speech_s=0.01))
        voices = {"a1": VOICE_A, "a2": VOICE_A2, "b1": VOICE_B}
        pair = [Utterance(name, name[0], voice, 5.0) for name, voice in voices.items()]
        again = (False, True, False)
        sets = [embed_pieces(pair, embedder, cache, on_telephone=on) for on in again]
    for condition, wide in sets[0].items():
        np.testing.assert_array_equal(wide.embedding, sets[2][condition].embedding)
        assert set(wide.channel) == {WIDE_BAND}
        for channel in TELEPHONES:
            narrow = sets[1][condition].heard_through(channel)
            kept = np.isin(wide.utterance, narrow.utterance)  # through the band less is speech
            assert condition != "full" or kept.all()
            assert not kept.any() or not np.allclose(wide.embedding[kept], narrow.embedding)


def test_of_two_channels_the_stricter_threshold_counts(sets: dict[str, EmbeddedSet]) -> None:
    """Strangers on one line are drawn together there; a pair of two lines is no trial."""

    def through(found: EmbeddedSet, channel: str, likeness: float) -> EmbeddedSet:
        drawn = found.embedding.copy()
        drawn[:, 0] += likeness
        drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
        return replace(found, embedding=drawn, channel=np.full(len(drawn), channel))

    likeness = dict(zip(TELEPHONES, (0.0, 0.4), strict=True))
    heard = {
        name: [through(found, *channel) for channel in likeness.items()]
        for name, found in sets.items()
    }
    both = {
        name: EmbeddedSet(*map(np.concatenate, zip(*(vars(x).values() for x in two), strict=True)))
        for name, two in heard.items()
    }

    def long_tables(some: dict[str, EmbeddedSet]) -> list[ThresholdTable]:
        """Those that the limit of speech, which all channels share, does not touch."""
        return [table for table in measure_card(some, "t").thresholds if table.speech_s > 3]

    found = long_tables(both)
    loose, strict = (long_tables({n: two[i] for n, two in heard.items()}) for i in (0, 1))
    assert len(found) == len(strict) == len(loose) == 4
    for joint, one, other in zip(found, strict, loose, strict=True):
        for row, wanted, lower in zip(joint.rows, one.rows, other.rows, strict=True):
            assert row == wanted if row.threshold is not None else wanted.threshold is None
            assert row.threshold is None or row.threshold > (lower.threshold or 1)
    # the channel that decides was heard with less speech: the table is for no more than that
    slow, fast = heard["full"][0], heard["full"][1]
    brief = replace(fast, speech_s=fast.speech_s - 1)
    found_s = [table_of(length_trials(a, a), "t").speech_s for a in (slow, brief)]
    strict_s = strictest([table_of(length_trials(a, a), "t") for a in (slow, brief)]).speech_s
    assert strict_s == min(found_s) < max(found_s)
    # what one channel cannot measure is promised for none
    few = replace(heard["full"][1], embedding=-heard["full"][1].embedding)
    rate = strictest(
        [table_of(length_trials(a, a), "t") for a in (heard["full"][0], few.at_least(3.7))]
    )
    measured = {row.fmr for row in rate.rows if row.threshold is not None}
    assert measured < {row.fmr for row in found[-1].rows if row.threshold is not None}


def test_a_card_takes_both(sets: dict[str, EmbeddedSet]) -> None:
    wide, narrow = measure_card(sets, "rooms"), measure_card(sets, "calls")
    card = wide.applied_to(fake_card(), on_telephone=narrow)
    assert card.thresholds == wide.thresholds and card.calibration == wide.calibration
    assert card.narrow_band is not None and card.narrow_band.calibration == narrow.calibration
    assert {t.measured_on for t in card.narrow_band.thresholds} == {"calls"}
    assert wide.applied_to(card).narrow_band is None  # nothing old stays beside the new


def test_telephone_tables_that_miss_a_rate_are_left_out(sets: dict[str, EmbeddedSet]) -> None:
    """Else a promise that wide-band speech can have would be refused to everybody."""
    wide, narrow = measure_card(sets, "rooms"), measure_card(sets, "calls")
    first, *rest = narrow.thresholds
    holes = tuple(replace(row, threshold=None, fnmr=None) for row in first.rows)
    poor = replace(narrow, thresholds=(replace(first, rows=holes), *rest))
    card = wide.applied_to(fake_card(), on_telephone=poor)
    assert card.narrow_band is not None and card.narrow_band.thresholds == tuple(rest)
    with pytest.raises(ScoringError, match="no table of telephone sound measures all"):
        wide.applied_to(fake_card(), on_telephone=replace(poor, thresholds=poor.thresholds[:1]))


def test_what_no_piece_could_be_made_of_is_counted(tmp_path: Path) -> None:
    mute, gone = tmp_path / "mute.wav", tmp_path / "gone.wav"
    mute.write_bytes(wav_bytes(np.zeros(48_000, np.float32)))
    named = {"a": VOICE_A, "mute": mute, "gone": gone}
    utterances = [Utterance(name, "a", path, 3.0) for name, path in named.items()]
    lost = []
    with EmbeddingCache() as cache:
        embed_pieces(
            utterances,
            Embedder(FakeEncoder(min_speech_s=0.01)),
            cache,
            lost=lambda rows, of_what: lost.extend((path, of_what) for path, _ in rows),
        )
    assert lost[:2] == [(str(gone), "of 3 recordings"), (str(mute), "of 2 pieces at full")]
    assert (str(mute), "of 2 pieces at 0.5") in lost


def test_a_length_without_speech_is_left_out_and_a_manifest_without_any_refused(
    tmp_path: Path,
) -> None:
    """Speech after twenty seconds of silence: no crop by seed of under a second meets it."""
    spoken = read_audio(VOICE_A)
    late, mute = tmp_path / "late.wav", tmp_path / "mute.wav"
    silence = np.zeros(16_000, np.float32)
    late.write_bytes(wav_bytes(np.concatenate([np.tile(silence, 20), spoken])))
    mute.write_bytes(wav_bytes(np.tile(silence, 3)))
    embedder = Embedder(FakeEncoder(min_speech_s=0.01))
    with EmbeddingCache() as cache:
        pair = [Utterance(name, "a", late, 24.0) for name in ("a1", "a2")]
        found = embed_pieces(pair, embedder, cache)
        assert "full" in found and "0.5" not in found
        with pytest.raises(ScoringError, match="no recording gave an embedding: no speech"):
            embed_pieces([Utterance("m", "a", mute, 3.0)], embedder, cache)


def test_a_length_at_which_nobody_is_heard_twice_is_passed_over(
    sets: dict[str, EmbeddedSet],
) -> None:
    """Through a telephone few crops of half a second hold speech, and none may."""
    all_lengths = measure_card(sets, "t")
    lone = EmbeddedSet(*(column[:2] for column in vars(sets["10"]).values()))
    one_voice = replace(lone, speaker=np.array(["s00", "s00"]))
    for changed in ({"0.5": one_voice}, {"0.5": None}):
        some = {n: found for n in sets if (found := (sets | changed)[n]) is not None}
        said: list[str] = []
        found = measure_card(some, "t", said.append)
        assert found.thresholds == all_lengths.thresholds
        assert found.short_speech_s == all_lengths.short_speech_s
        assert found.min_speech_s >= 0.5
        assert ("0.5 s crops: no trials of both kinds: left out" in said) == ("0.5" in some)
    whole = {n: found for n, found in sets.items() if n in ("full", "4", "6", "10")}
    with pytest.raises(ScoringError, match="no length of crops gives trials of both kinds"):
        measure_card(whole, "t")


def test_one_crop_a_speaker_is_compared_with_whole_utterances_alone(
    sets: dict[str, EmbeddedSet],
) -> None:
    once = EmbeddedSet(*(column[::N_EACH] for column in vars(sets["2"]).values()))
    found = measure_card(sets | {"2": once}, "t")
    (table,) = [t for t in found.thresholds if 1.8 < t.speech_s < 2.2]
    strict = length_trials(
        once.at_least(found.min_speech_s), sets["full"].at_least(found.min_speech_s)
    )
    assert table.rows == threshold_table(strict.target, strict.nontarget, N_SPEAKERS)


def test_a_model_whose_speech_says_nothing_is_calibrated_on_the_score_alone(
    sets: dict[str, EmbeddedSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a network of a few steps, of which a quality-aware calibration would turn scores over."""

    def refusing(*given: np.ndarray, **named: object) -> Calibration:
        if len(given) == 4:
            raise ScoringError("a higher score would lower the llr")
        return fit_calibration(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(card_measures, "fit_calibration", refusing)
    said: list[str] = []
    found = measure_card(sets, "t", said.append).calibration
    assert found.w_speech == found.w_score_speech == 0
    assert "the score alone, without seconds of speech: a higher score would" in said[-1]
