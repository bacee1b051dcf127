"""Datasets and the loader: the same bytes whatever the workers and ranks; crops; corrupt files."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from groove.audio import change_speed, read_audio  # noqa: E402
from groove.errors import SettingsError, UnreadableAudio  # noqa: E402
from groove.training.augment import AugmentConfig, open_augmenter  # noqa: E402
from groove.training.dataset import (  # noqa: E402
    CropDataset,
    FrameDataset,
    StoredFrames,
    loader,
)
from groove.training.loader import close  # noqa: E402
from groove.training.packing import PackedSource, pack  # noqa: E402
from groove.training.sampler import Draw, PKSampler, ShuffledSampler  # noqa: E402
from groove.training.waveforms import FileSource  # noqa: E402
from tests.training.sounds import corpus, peak_hz, write_noise  # noqa: E402

pytestmark = pytest.mark.torch
SIZES = [3, 1, 2, 5, 4]
CROP = 8000
SPEEDS = (1.0, 0.9, 1.1)


@pytest.fixture
def made(tmp_path: Path):
    """Utterances, labels and an augmenter that uses every step."""
    utterances, labels = corpus(tmp_path / "audio", SIZES, seconds=1.0)
    for kind in ("noise", "music", "speech"):
        write_noise(tmp_path / "musan" / kind / "a.wav", 2.0)
    config = AugmentConfig(
        noise_folders=(str(tmp_path / "musan"),),
        noise_probability=0.5,
        reverb_probability=0.5,
        gain_probability=0.5,
        codec_probability=0.5,
        n_rooms=3,
    )
    return utterances, labels, open_augmenter(config)


def dataset_of(made, **changes) -> CropDataset:
    utterances, labels, augmenter = made
    values = {
        "crop_samples": CROP,
        "speeds": SPEEDS,
        "augmenter": augmenter,
        "keep_clean": True,
        "labels": labels,
    }
    source = changes.pop("source", None) or FileSource(utterances)
    return CropDataset(utterances, source, **{**values, **changes})


def flat(batches) -> list[tuple]:
    return [
        (b.waveform.numpy().tobytes(), b.clean.numpy().tobytes(), b.speaker_index.tolist(), b.draws)
        for b in batches
    ]


def test_workers_epochs_and_resuming_change_no_byte(made):
    sampler = PKSampler(made[1], p=4, k=2, n_speeds=3, seed=1)
    plain = dataset_of(made)
    wanted = {e: flat(loader(plain, sampler, epoch=e)) for e in (0, 1)}
    assert wanted[0] != wanted[1]
    for workers in (1, 3):
        dataset = dataset_of(made)
        assert flat(loader(dataset, sampler, epoch=1, workers=workers)) == wanted[1]
        assert flat(loader(dataset, sampler, epoch=0, workers=workers)) == wanted[0]
        abandoned = loader(dataset, sampler, epoch=0, workers=workers)
        next(abandoned)
        rest = loader(dataset, sampler, epoch=1, start_batch=1, workers=workers)
        assert flat(rest) == wanted[1][1:]
        close(dataset)


def test_ranks_share_every_batch(made):
    sampler = PKSampler(made[1], p=4, k=2, n_speeds=3)
    whole = list(loader(dataset_of(made), sampler, epoch=0))
    ranks = [
        list(loader(dataset_of(made), sampler, epoch=0, rank=r, world_size=4)) for r in range(4)
    ]
    for i, batch in enumerate(whole):
        for r in range(4):
            assert ranks[r][i].draws == batch.draws[r::4]
            assert torch.equal(ranks[r][i].waveform, batch.waveform[r::4])
            assert torch.equal(ranks[r][i].speaker_index, batch.speaker_index[r::4])


def test_torch_s_own_random_numbers_are_left_alone(made):
    torch.manual_seed(3)
    wanted = torch.rand(4)
    for workers in (0, 1):
        torch.manual_seed(3)
        dataset = dataset_of(made)
        list(loader(dataset, PKSampler(made[1], p=2, k=2), epoch=0, workers=workers))
        close(dataset)
        assert torch.equal(torch.rand(4), wanted)


def test_a_batch_is_what_the_contract_says(made):
    batch = next(loader(dataset_of(made), PKSampler(made[1], p=4, k=2, n_speeds=3), epoch=0))
    assert batch.waveform.shape == batch.clean.shape == (8, CROP)
    assert batch.waveform.dtype == batch.clean.dtype == torch.float32
    assert batch.speaker_index.dtype == torch.int64
    assert batch.frames is None and batch.failures == ()
    for draw, index in zip(batch.draws, batch.speaker_index.tolist(), strict=True):
        assert index == made[1][draw.utterance] + len(SIZES) * draw.speed
    assert dataset_of(made, n_speakers=9).class_of(Draw(14, 2, 0)) == made[1][14] + 18
    moved = batch.to("meta")
    assert moved.waveform.device.type == "meta" and moved.draws == batch.draws
    assert (
        next(
            loader(dataset_of(made, keep_clean=False), PKSampler(made[1], p=2, k=2), epoch=0)
        ).clean
        is None
    )


@pytest.mark.parametrize("speed", [0, 1, 2])
def test_a_crop_is_its_utterance_at_its_speed(made, speed):
    dataset = dataset_of(made)
    for utterance in (0, 7, 14):
        item = dataset[Draw(utterance, speed, seed=utterance)]
        assert item.clean.shape == item.waveform.shape == (CROP,)
        assert item.class_index == made[1][utterance] + len(SIZES) * speed
        wanted = made[0][utterance].fields["hz"] * SPEEDS[speed]
        assert peak_hz(item.clean) == pytest.approx(wanted, abs=1.0)


def test_without_an_augmenter_a_crop_is_a_slice(made):
    whole = read_audio(write_noise(Path(made[0][5].path), 1.0))
    dataset = dataset_of(made, augmenter=None)
    starts = set()
    for seed in range(40):
        crop = dataset[Draw(5, 0, seed)].waveform
        (start,) = (
            s for s in range(len(whole) - CROP + 1) if np.array_equal(whole[s : s + CROP], crop)
        )
        starts.add(start)
    assert len(starts) > 30 and min(starts) < 1500 and max(starts) > 6500


def test_short_utterances_are_repeated(made, tmp_path):
    dataset = dataset_of(made, augmenter=None, crop_samples=40_000)
    whole = read_audio(made[0][2].path)
    crops = [dataset[Draw(2, 0, seed)].waveform for seed in range(5)]
    for crop in crops:
        np.testing.assert_array_equal(crop[:24_000], crop[16_000:])
        np.testing.assert_array_equal(np.sort(crop[:16_000]), np.sort(whole))
    assert not np.array_equal(crops[0], crops[1])
    faster = dataset[Draw(2, 2, 0)].waveform
    assert faster.shape == (40_000,) and np.isfinite(faster).all()


def test_packed_and_file_crops_are_the_same(made, tmp_path):
    pack(made[0], tmp_path / "p")
    packed = dataset_of(made, source=PackedSource(tmp_path / "p", made[0]))
    sampler = ShuffledSampler(made[1], batch_size=5, n_speeds=3)
    assert flat(loader(packed, sampler, epoch=0)) == flat(
        loader(dataset_of(made), sampler, epoch=0)
    )


def test_unlabelled_utterances_have_class_minus_one(made):
    dataset = dataset_of(made, labels=None)
    batch = next(loader(dataset, ShuffledSampler([-1] * 15, batch_size=4), epoch=0))
    assert batch.speaker_index.tolist() == [-1] * 4


# ---- corrupt utterances -------------------------------------------------------------------------


def spoil(made, i: int) -> str:
    Path(made[0][i].path).write_bytes(b"fLaC, they said")
    return made[0][i].utterance_id


@pytest.mark.parametrize("workers", [0, 2])
def test_a_corrupt_utterance_is_replaced_by_its_speaker_and_reported_once(made, workers):
    name = spoil(made, 7)  # speaker 3, who has five
    told = []
    dataset = dataset_of(made)
    sampler = PKSampler(made[1], p=4, k=2, n_speeds=3)
    for epoch in (0, 1):
        batches = list(
            loader(
                dataset, sampler, epoch=epoch, workers=workers, on_corrupt=lambda *w: told.append(w)
            )
        )
        for batch, drawn in zip(batches, sampler.epoch(epoch), strict=True):
            for used, wanted in zip(batch.draws, drawn, strict=True):
                assert used.seed == wanted.seed and used.speed == wanted.speed
                assert made[1][used.utterance] == made[1][wanted.utterance]
                assert used.utterance != 7
                assert used == wanted or wanted.utterance == 7
    assert [utterance_id for utterance_id, _ in told] == [name]
    assert "1.flac: damaged" in told[0][1]
    close(dataset)


def test_replacing_does_not_depend_on_what_was_read_before(made):
    spoil(made, 7)
    fresh, used = dataset_of(made), dataset_of(made)
    for seed in range(20):
        used[Draw(7, 1, seed)]
    for seed in (3, 11):
        one, other = dataset_of(made)[Draw(7, 1, seed)], used[Draw(7, 1, seed)]
        assert one.draw == other.draw == fresh[Draw(7, 1, seed)].draw
        np.testing.assert_array_equal(one.waveform, other.waveform)


def test_a_speaker_without_another_utterance_gives_way_to_any(made):
    spoil(made, 3)  # speaker 1 has this one only
    item = dataset_of(made)[Draw(3, 0, 9)]
    assert item.draw.utterance != 3
    assert item.class_index == made[1][item.draw.utterance] != 1
    assert item.failures[0][0] == made[0][3].utterance_id


@pytest.mark.parametrize("workers", [0, 1])
def test_more_than_one_per_cent_stops_with_a_clear_error(made, workers):
    spoil(made, 4), spoil(made, 8)
    dataset = dataset_of(made)
    with pytest.raises(UnreadableAudio, match=r"2 of 15 utterances are corrupt, more than 1 %"):
        list(loader(dataset, PKSampler(made[1], p=4, k=2), epoch=0, workers=workers))
    close(dataset)


@pytest.mark.parametrize("workers", [0, 1])
def test_all_corrupt_stops_in_one_line(made, workers):
    for i in range(15):
        spoil(made, i)
    dataset = dataset_of(made)
    with pytest.raises(UnreadableAudio) as caught:
        list(loader(dataset, PKSampler(made[1], p=4, k=2), epoch=0, workers=workers))
    assert "corrupt" in str(caught.value) and "\n" not in str(caught.value)
    close(dataset)


def test_the_default_is_a_warning_in_the_log(made, caplog):
    spoil(made, 7)
    list(loader(dataset_of(made), PKSampler(made[1], p=4, k=2), epoch=0))
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "s3-1 is left out" in caplog.text


# ---- stored features ----------------------------------------------------------------------------


def stored_frames(folder: Path, n_frames: list[int]) -> list[Path]:
    paths = []
    for i, n in enumerate(n_frames):
        paths.append(folder / f"{i}.pt")
        frames = 100 * i + torch.arange(n)[:, None] + torch.tensor([0.0, 0.5])
        torch.save(frames.half(), paths[-1])
    return paths


def test_stored_features_are_cut_and_their_mean_is_taken_off(made, tmp_path):
    utterances = made[0][:3]
    paths = stored_frames(tmp_path, [30, 8, 3])
    source = StoredFrames(paths, partial(torch.load, weights_only=True))
    dataset = FrameDataset(utterances, source, crop_frames=8, labels=[0, 1, 1])
    sampler = ShuffledSampler([0, 1, 1], batch_size=3)
    batch = next(loader(dataset, sampler, epoch=0))
    assert batch.waveform is None and batch.clean is None
    assert batch.frames.shape == (3, 8, 2) and batch.frames.dtype == torch.float32
    np.testing.assert_allclose(batch.frames.mean(dim=1), 0, atol=1e-6)
    ramp = dataset[Draw(0, 0, 1)].frames[:, 0]
    np.testing.assert_allclose(ramp, np.arange(8) - 3.5)
    kept = FrameDataset(utterances, source, crop_frames=8, subtract_mean=False)
    assert len({float(kept[Draw(0, 0, seed)].frames[0, 0]) for seed in range(60)}) > 15
    repeated = kept[Draw(2, 0, 1)].frames[:, 0]
    np.testing.assert_array_equal(repeated[:5], repeated[3:])
    with pytest.raises(
        SettingsError, match=r"another speed; set data.speeds=\[1.0\], or data.source=files"
    ):
        dataset[Draw(0, 1, 0)]
    again = loader(dataset, sampler, epoch=0, workers=1)
    assert torch.equal(next(again).frames, batch.frames)
    close(dataset)


# ---- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank": 2, "world_size": 2}, "rank 2 of 2"),
        ({"world_size": 3}, "a batch of 8 cannot be shared by 3 processes"),
        ({"start_batch": 99}, "start at batch 99"),
        ({"workers": -1}, "-1 workers"),
    ],
)
def test_impossible_loaders_are_refused_at_once(made, changes, message):
    with pytest.raises(SettingsError, match=message):
        loader(dataset_of(made), PKSampler(made[1], p=4, k=2), epoch=0, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_samples": 0}, "crops of 0 samples"),
        ({"speeds": (0.9, 1.0)}, "wanted 1.0 first"),
        ({"labels": [1, 2]}, "2 labels for 15 utterances"),
        ({"n_speakers": 4}, "4 speakers but labels up to 4"),
    ],
)
def test_impossible_datasets_are_refused(made, changes, message):
    with pytest.raises(SettingsError, match=message):
        dataset_of(made, **changes)
    with pytest.raises(SettingsError, match="without utterances"):
        CropDataset([], FileSource([]), crop_samples=5)


def test_a_crop_longer_than_stated_files_still_fills(made):
    """The manifest says 1.0 s, the file holds 0.6: the crop repeats what there is."""
    write_noise(Path(made[0][0].path), 0.6)
    crop = dataset_of(made, augmenter=None)[Draw(0, 0, 4)].waveform
    assert crop.shape == (CROP,) and np.abs(crop).mean() > 0.05
    assert len(change_speed(crop, 1.1)) == round(CROP / 1.1)


def test_damaged_sounds_are_told_but_do_not_count_as_utterances():
    from types import SimpleNamespace

    from groove.training.loader import _count_corrupt

    class Dataset(SimpleNamespace):
        def __len__(self):
            return len(self.utterance_ids)

    dataset, told = Dataset(utterance_ids=[f"u{i}" for i in range(100)], corrupt={}), []

    def meet(*names):
        batch = SimpleNamespace(failures=[(name, "damaged") for name in names])
        _count_corrupt(batch, dataset, lambda name, reason: told.append(name))

    meet("musan/a.wav", "musan/b.wav", "u3", "u3")
    assert told == ["musan/a.wav", "musan/b.wav", "u3"]
    with pytest.raises(UnreadableAudio, match=r"^2 of 100 utterances .* the first was u3 "):
        meet("u7")
