"""Training and validation on the features that a prepared folder holds, instead of its sound."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from groove.errors import ManifestError
from groove.fbank import FbankConfig
from groove.manifest import Utterance
from groove.preparation.lists import FBANK_LIST, feature_path
from groove.training.config import TrainConfig
from groove.training.dataset import FrameDataset, StoredFrames
from groove.training.stored import read_features
from groove.training.validation import LONGEST_S, StoredValidation


def stored_dataset(
    config: TrainConfig,
    fbank: FbankConfig,
    utterances: Sequence[Utterance],
    labels: Sequence[int],
) -> FrameDataset:
    """Crops of the stored features of ``data.train``.

    Raises:
        ManifestError: some are missing, or the last preparation did not store them.
    """
    folder = Path(config.data.train).parent
    frames = _stored_frames(folder, fbank, utterances)
    if (folder / FBANK_LIST).is_file() and not (folder / FBANK_LIST).stat().st_size:
        raise ManifestError(
            f"{folder}: prepared last without storing training features, so those that lie there "
            "may be of other recordings; prepare with --features all, or set data.source=files"
        )
    return FrameDataset(
        utterances,
        frames,
        crop_frames=config.train.crop_frames,
        subtract_mean=fbank.subtract_mean,
        labels=labels,
    )


def stored_validation(
    config: TrainConfig, fbank: FbankConfig, utterances: Sequence[Utterance]
) -> StoredValidation | None:
    """Features of a validation list whose recordings are gone; None where they are there.

    Raises:
        ManifestError: the recordings are gone, and training reads no features or some are missing.
    """
    if any(utterance.path.exists() for utterance in utterances):
        return None
    if config.data.source != "fbank":  # now, not after an epoch
        raise ManifestError(
            f"{config.data.val}: none of its {len(utterances):,} recordings is there (the first: "
            f"{utterances[0].path}); bring them back or prepare again"
        )
    return StoredValidation(
        _stored_frames(Path(config.data.val).parent, fbank, utterances),
        crop_frames=config.train.crop_frames_val,
        longest=round(1000 * LONGEST_S / fbank.frame_shift_ms),
        subtract_mean=fbank.subtract_mean,
    )


def _stored_frames(
    folder: Path, fbank: FbankConfig, utterances: Sequence[Utterance]
) -> StoredFrames:
    """The features that a prepared folder holds of utterances.

    Raises:
        ManifestError: some are missing.
    """
    paths = [folder / feature_path(utterance) for utterance in utterances]
    if missing := [path for path in paths if not path.is_file()]:
        raise ManifestError(
            f"{missing[0]}: no stored features ({len(missing):,} of {len(paths):,} are missing); "
            "prepare with --features all, or set data.source=files"
        )
    return StoredFrames(paths, partial(read_features, config=fbank))
