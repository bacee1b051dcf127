"""Augmentation: levels that are what was drawn, records that replay, and every clear refusal."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from groove.audio import SAMPLE_RATE, read_audio
from groove.errors import ManifestError, SettingsError
from groove.training.augment import (
    Augmentation,
    AugmentConfig,
    Augmenter,
    Codec,
    Noise,
    open_augmenter,
)
from groove.training.noises import NoiseBank, babble, mix, noise_utterances
from groove.training.packing import pack
from groove.training.rooms import RoomFolder
from tests.training.sounds import write_noise, write_tone

EVERYTHING = {
    "noise_probability": 0.5,
    "reverb_probability": 0.5,
    "gain_probability": 0.5,
    "codec_probability": 0.5,
}


@pytest.fixture
def musan(tmp_path: Path) -> Path:
    for kind, n in {"noise": 3, "music": 2, "speech": 4}.items():
        for i in range(n):
            write_noise(tmp_path / "musan" / kind / "free-sound" / f"{i}.wav", 3.0, seed=i)
    (tmp_path / "musan" / "README").write_text("not audio")
    return tmp_path / "musan"


@pytest.fixture
def speech(rng) -> np.ndarray:
    """Two seconds that come and go, as speech does."""
    envelope = np.abs(np.sin(np.arange(32_240) / 3000))
    return (0.1 * envelope * rng.standard_normal(32_240)).astype(np.float32)


def config_for(musan: Path, **changes) -> AugmentConfig:
    return AugmentConfig(**{"noise_folders": (str(musan),), **EVERYTHING, **changes})


# ---- records ------------------------------------------------------------------------------------


def test_the_same_seed_draws_and_applies_the_same(musan, speech):
    one, other = open_augmenter(config_for(musan)), open_augmenter(config_for(musan))
    for seed in [5, 3, 2**62 - 1, 4, 5]:
        augmentation = one.draw(seed)
        assert augmentation == other.draw(seed) == pickle.loads(pickle.dumps(augmentation))
        before = speech.copy()
        heard = one.apply(speech, augmentation)
        np.testing.assert_array_equal(speech, before)  # what came in is left alone
        np.testing.assert_array_equal(heard, other.apply(speech, augmentation))
        assert heard.shape == speech.shape and heard.dtype == np.float32


def test_probabilities_and_kinds_are_as_configured(musan):
    augmenter = open_augmenter(
        config_for(musan, noise_probability=0.6, reverb_probability=0.3, codec_probability=0.2)
    )
    n = 4000
    drawn = [augmenter.draw(seed) for seed in range(n)]
    for share, chance in [
        (sum(a.noise is not None for a in drawn) / n, 0.6),
        (sum(a.room is not None for a in drawn) / n, 0.3),
        (sum(a.gain_db != 0 for a in drawn) / n, 0.5),
        (sum(a.codec is not None for a in drawn) / n, 0.2),
    ]:
        assert abs(share - chance) < 5 * np.sqrt(chance * (1 - chance) / n)
    noises = [a.noise for a in drawn if a.noise]
    kinds = Counter(noise.kind for noise in noises)
    assert set(kinds) == {"noise", "music", "babble"}
    assert max(kinds.values()) - min(kinds.values()) < 5 * np.sqrt(len(noises))
    ranges = {"noise": (0, 15), "music": (5, 15), "babble": (13, 20)}
    for noise in noises:
        least, most = ranges[noise.kind]
        assert least <= noise.snr_db <= most
        assert len(noise.files) == len(noise.positions)
        assert len(noise.files) in (range(3, 8) if noise.kind == "babble" else (1,))
    assert {len(noise.files) for noise in noises if noise.kind == "babble"} == {3, 4, 5, 6, 7}
    assert {a.codec.name for a in drawn if a.codec} == {"alaw", "ulaw"}


def test_switching_one_step_off_leaves_the_choice_of_the_others(musan):
    both, one = (
        open_augmenter(config_for(musan)),
        open_augmenter(config_for(musan, reverb_probability=0)),
    )
    for seed in range(50):
        assert (both.draw(seed).noise is None) == (one.draw(seed).noise is None)


def test_opus_rates_are_drawn_within_their_range(musan):
    config = config_for(musan, codecs=("opus",), codec_probability=1.0)
    augmenter = open_augmenter(config)
    rates = [augmenter.draw(seed).codec.bits_per_s for seed in range(300)]
    assert 8_000 <= min(rates) < 9_000 and 22_000 < max(rates) <= 24_000


# ---- levels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["noise", "music", "babble"])
@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 12.3, 20.0])
def test_the_noise_is_as_loud_as_drawn(kind, snr_db, musan, speech):
    bank = NoiseBank((str(musan),))
    files = tuple(bank.files(kind)[: 3 if kind == "babble" else 1])
    noise = Noise(kind, files, (0.3,) * len(files), snr_db)
    heard = Augmenter(AugmentConfig(), bank).apply(0.1 * speech, Augmentation(noise=noise))
    added = heard.astype(float) - 0.1 * speech
    power_ratio = np.mean((0.1 * speech.astype(float)) ** 2) / np.mean(added**2)
    assert 10 * np.log10(power_ratio) == pytest.approx(snr_db, abs=0.01)


def test_voices_of_babble_are_equally_loud():
    t = np.arange(16_000) / SAMPLE_RATE
    tones = [
        (level * np.sin(2 * np.pi * hz * t)).astype(np.float32)
        for level, hz in [(0.5, 200), (0.001, 400), (0.1, 800)]
    ]
    spectrum = np.abs(np.fft.rfft(babble(tones)))
    np.testing.assert_allclose(spectrum[[400, 800]], spectrum[200], rtol=1e-3)
    assert np.isfinite(babble([np.zeros(100, np.float32), tones[0][:100]])).all()


def test_silence_on_either_side_adds_nothing(speech):
    silence = np.zeros_like(speech)
    np.testing.assert_array_equal(mix(silence, speech, 5.0), silence)
    np.testing.assert_array_equal(mix(speech, silence, 5.0), speech)


def test_silence_comes_through_everything_finite(musan):
    augmenter = open_augmenter(config_for(musan, codecs=("alaw", "ulaw", "opus")))
    silence = np.zeros(16_240, dtype=np.float32)
    for seed in range(40):
        heard = augmenter.apply(silence, augmenter.draw(seed))
        assert heard.shape == silence.shape
        assert np.isfinite(heard).all() and np.abs(heard).max() < 1e-3


def test_too_loud_is_turned_down_and_never_clipped(musan, speech):
    bank = NoiseBank((str(musan),))
    loud = (speech / np.abs(speech).max()).astype(np.float32)
    noise = Noise("noise", (bank.files("noise")[0],), (0.5,), 0.0)
    heard = Augmenter(AugmentConfig(), bank).apply(loud, Augmentation(noise=noise))
    assert np.abs(heard).max() == pytest.approx(1.0, abs=1e-6)
    assert np.count_nonzero(np.abs(heard) > 0.9999) == 1  # one peak; a clipped crop has many
    mixed = mix(loud, bank.read(noise.files[0], 0.5, len(loud)), 0.0)
    np.testing.assert_allclose(heard, mixed / np.abs(mixed).max(), atol=1e-6)
    louder = Augmenter(AugmentConfig()).apply(loud, Augmentation(gain_db=6.0))
    np.testing.assert_allclose(louder, loud, atol=1e-6)


def test_nothing_drawn_changes_nothing_and_a_gain_is_a_gain(speech):
    augmenter = Augmenter(AugmentConfig())
    assert augmenter.apply(speech, augmenter.draw(3)) is speech
    quieter = augmenter.apply(speech, Augmentation(gain_db=-20.0))
    np.testing.assert_allclose(quieter, 0.1 * speech, rtol=1e-6)


def test_the_steps_come_in_the_order_of_sound(musan, speech, tmp_path):
    """Reverberation before noise: the noise is not in the room, and the codec hears both."""
    soundfile.write(tmp_path / "r.wav", [0.1, 1.0, 0.0, 0.5], SAMPLE_RATE, subtype="FLOAT")
    bank, rooms = NoiseBank((str(musan),)), RoomFolder((str(tmp_path),))
    augmenter = Augmenter(AugmentConfig(), bank, _Only(rooms, "r.wav"))
    noise = Noise("noise", (bank.files("noise")[0],), (0.5,), 10.0)
    room = augmenter.apply(speech, Augmentation(room=0))
    noisy = augmenter.apply(room, Augmentation(noise=noise))
    wanted = augmenter.apply(noisy, Augmentation(codec=Codec("alaw", 64_000)))
    record = Augmentation(room=0, noise=noise, codec=Codec("alaw", 64_000))
    np.testing.assert_allclose(augmenter.apply(speech, record), wanted, atol=1e-6)


class _Only:
    def __init__(self, rooms: RoomFolder, name: str) -> None:
        self._rooms = rooms
        self._i = next(i for i in range(len(rooms)) if rooms.path(i).name == name)

    def __len__(self) -> int:
        return 1

    def response(self, i: int) -> np.ndarray:
        return self._rooms.response(self._i)


# ---- folders of noise ---------------------------------------------------------------------------


def test_musan_is_recognised_and_any_folder_is_noise(musan, tmp_path):
    bank = NoiseBank((str(musan),))
    assert bank.kinds == ("noise", "music", "babble")
    assert [len(bank.files(kind)) for kind in bank.kinds] == [3, 2, 4]
    assert NoiseBank((str(musan / "music"),)).kinds == ("music",)
    write_noise(tmp_path / "office" / "speech of a fan" / "a.flac", 1.0)
    write_noise(tmp_path / "office" / "rir" / "b.flac", 1.0)
    (tmp_path / "office" / ".hidden").mkdir()
    write_noise(tmp_path / "office" / ".hidden" / "c.flac", 1.0)
    office = NoiseBank((str(tmp_path / "office"),))
    assert office.kinds == ("noise",)
    assert [Path(office.name(i)).name for i in office.files("noise")] == ["a.flac"]
    both = NoiseBank((str(musan), str(tmp_path / "office"), str(musan)))
    assert len(both.files("noise")) == 4  # named twice, counted once


def test_a_piece_comes_from_its_place_and_short_files_repeat(tmp_path):
    ramp = np.arange(-16_000, 16_000).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", ramp, SAMPLE_RATE)
    bank = NoiseBank((str(tmp_path),))
    for position, start in [(0.0, 0), (0.5, 12_000), (0.9999999, 24_000)]:
        piece = np.rint(32768 * bank.read(0, position, 8000)).astype(int)
        np.testing.assert_array_equal(piece, ramp[start : start + 8000])
    piece = np.rint(32768 * bank.read(0, 0.25, 50_000)).astype(int)
    assert len(piece) == 50_000
    assert set(piece.tolist()) == set(ramp.tolist())
    assert not np.array_equal(piece, np.rint(32768 * bank.read(0, 0.75, 50_000)).astype(int))


def test_a_packed_bank_gives_the_same(musan, tmp_path, speech):
    pack(noise_utterances((str(musan),)), tmp_path / "musan.i16")
    files = open_augmenter(config_for(musan, noise_probability=1.0))
    packed = open_augmenter(
        config_for(musan, noise_probability=1.0, noise_pack=str(tmp_path / "musan.i16"))
    )
    for seed in range(20):
        assert files.draw(seed) == packed.draw(seed)
        np.testing.assert_array_equal(
            files.apply(speech, files.draw(seed)), packed.apply(speech, packed.draw(seed))
        )
    with_pack = config_for(musan, noise_probability=1.0, noise_pack=str(tmp_path / "musan.i16"))
    write_noise(musan / "noise" / "new.wav", 1.0)
    with pytest.raises(ManifestError, match="not in it"):
        open_augmenter(with_pack)
    (musan / "noise" / "new.wav").unlink()
    write_noise(musan / "music" / "free-sound" / "0.wav", 2.0)
    with pytest.raises(ManifestError, match=r"0\.wav: changed since .*groove prepare noise"):
        open_augmenter(with_pack)


def test_a_damaged_sound_is_passed_over_and_told_once(tmp_path, speech):
    """Its header is sound, so that nothing shows before it is decoded."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    rng = np.random.default_rng(3)
    for name in "abc":
        soundfile.write(folder / f"{name}.flac", 0.1 * rng.standard_normal(64_000), SAMPLE_RATE)
    whole = (folder / "b.flac").read_bytes()
    middle = len(whole) // 4
    (folder / "b.flac").write_bytes(whole[:middle] + bytes(20_000) + whole[middle + 20_000 :])
    augmenter = open_augmenter(config_for(folder, noise_probability=1.0))
    for at in np.linspace(0, 0.9, 5):
        given, other = (Augmentation(noise=Noise("noise", (i,), (at,), 5.0)) for i in (1, 2))
        np.testing.assert_array_equal(
            augmenter.apply(speech, given), augmenter.apply(speech, other)
        )
    ((name, reason),) = augmenter.damaged()
    assert name.endswith("sounds/b.flac") and "remove or replace" in reason
    assert augmenter.damaged() == ()
    for name in "ac":
        (folder / f"{name}.flac").unlink()
    only = open_augmenter(config_for(folder, noise_probability=1.0))
    with pytest.raises(SettingsError, match=r"b\.flac.*and so are those after it"):
        only.apply(speech, Augmentation(noise=Noise("noise", (0,), (0.4,), 5.0)))


def test_a_silent_impulse_response_is_passed_over_too(tmp_path, speech):
    for name, response in (("a", np.zeros(800)), ("b", np.eye(1, 800)[0])):
        soundfile.write(tmp_path / f"{name}.wav", response, SAMPLE_RATE)
    augmenter = open_augmenter(AugmentConfig(reverb_probability=1.0, rir_folders=(str(tmp_path),)))
    np.testing.assert_allclose(
        augmenter.apply(speech, Augmentation(room=0)), speech, rtol=0, atol=1e-6
    )
    ((name, reason),) = augmenter.damaged()
    assert name.endswith("a.wav") and "silent" in reason


def test_a_missing_or_empty_folder_is_a_clear_error_at_once(musan, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name, message in [
        ("none", "none: the folder for noise does not exist; give another or switch noise off"),
        ("file", "file: the folder for noise is not a folder"),
        ("empty", "empty: no audio file in the folder for noise"),
    ]:
        with pytest.raises(SettingsError, match=message):
            open_augmenter(config_for(musan, noise_folders=(str(tmp_path / name),)))
    with pytest.raises(SettingsError, match="the folder for reverberation does not exist"):
        open_augmenter(config_for(musan, rir_folders=(str(tmp_path / "none"),)))
    write_tone(tmp_path / "bad" / "a.wav", 300, 1.0)
    (tmp_path / "bad" / "b.flac").write_bytes(b"fLaC and no more")
    with pytest.raises(SettingsError, match=r"noise .*b.flac: .*; remove or replace the file"):
        open_augmenter(config_for(musan, noise_folders=(str(tmp_path / "bad"),)))


def test_all_off_is_no_augmenter():
    assert open_augmenter(AugmentConfig()) is None
    assert AugmentConfig().is_off


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise_probability": 0.5}, "without any augment.noise_folders"),
        ({"reverb_probability": 1.5}, "augment.reverb_probability is 1.5; wanted 0 to 1"),
        ({"noise_snr_db": (5.0, 1.0)}, r"augment.noise_snr_db is \(5.0, 1.0\); wanted"),
        ({"gain_db": (1.0,)}, "augment.gain_db"),
        ({"codecs": ("amr",)}, "augment.codecs"),
        ({"codecs": (), "codec_probability": 0.1}, "augment.codecs"),
        ({"babble_voices": (0, 3)}, "babble_voices"),
        ({"opus_bits_per_s": (1000, 9000)}, "opus_bits_per_s"),
        ({"room_t60_s": (0.0, 1.0), "reverb_probability": 0.1}, "simulated rooms"),
    ],
)
def test_settings_that_cannot_be_honoured_are_refused(changes, message):
    with pytest.raises(SettingsError, match=message):
        open_augmenter(AugmentConfig(**changes))


def test_an_augmenter_without_what_it_needs_is_refused(musan):
    config = replace(config_for(musan), gain_probability=0.0, codec_probability=0.0)
    with pytest.raises(SettingsError, match="without a bank"):
        Augmenter(config)
    with pytest.raises(SettingsError, match="without rooms"):
        Augmenter(config, NoiseBank((str(musan),)))


# ---- real sounds --------------------------------------------------------------------------------


@pytest.mark.speech
def test_real_noise_and_rooms(speech_root):
    config = AugmentConfig(
        noise_folders=(str(speech_root / "noise"),),
        rir_folders=(str(speech_root / "noise" / "rir"),),
        codecs=("alaw", "ulaw", "opus"),
        **EVERYTHING,
    )
    augmenter = open_augmenter(config)
    path = sorted((speech_root / "train").rglob("*.opus"))[0]
    voice = read_audio(path)[:32_240]
    for seed in range(30):
        heard = augmenter.apply(voice, augmenter.draw(seed))
        assert heard.shape == voice.shape
        assert np.isfinite(heard).all() and np.abs(heard).max() <= 1
