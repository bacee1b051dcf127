"""Validation against `groove.embedder`'s way, done by hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from groove.crops import crop_starts  # noqa: E402
from groove.errors import TrainingError, UnreadableAudio  # noqa: E402
from groove.fbank import FbankConfig  # noqa: E402
from groove.manifest import Utterance  # noqa: E402
from groove.metrics import eer  # noqa: E402
from groove.training import ddp  # noqa: E402
from groove.training.networks import Network, build_encoder  # noqa: E402
from groove.training.validation import Validator, thinned  # noqa: E402
from groove.trials import draw_trials  # noqa: E402
from tests.training.voices import RATE, voice  # noqa: E402

pytestmark = pytest.mark.torch
HERE = ddp.Place(0, 1, torch.device("cpu"))
UTTERANCES = [
    Utterance(f"s{s}-{i}", f"s{s}", Path(f"{s}-{i}.wav"), 0.5 + 0.2 * i)
    for s in range(4)
    for i in range(3)
]


class Memory:
    """A source of synthetic voices; some cannot be read."""

    def __init__(self, *unreadable: int) -> None:
        self.unreadable = unreadable

    def seconds(self, i: int) -> float:
        return UTTERANCES[i].seconds

    def read(self, i: int, start_s: float, length_s: float) -> NDArray[np.float32]:
        if i in self.unreadable:
            raise UnreadableAudio("damaged")
        start = round(start_s * RATE)
        return voice(i // 3, i % 3, self.seconds(i))[start : start + round(length_s * RATE)]


def validator(source: Memory, num_crops: int, n_target: int = 9) -> Validator:
    return Validator(
        UTTERANCES,
        source,
        crop_samples=round(0.6 * RATE),
        num_crops=num_crops,
        n_target=n_target,
        n_nontarget=30,
        seed=3,
    )


@pytest.mark.parametrize("num_crops", [0, 1, 3])
def test_it_is_the_eer_of_averaged_crops_on_the_drawn_trials(num_crops: int) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(Network("ecapa", 16, 16), FbankConfig(n_mels=16))
    with torch.no_grad():  # running statistics that are not those of a new network
        encoder(torch.from_numpy(np.stack([voice(s, 9, 0.6) for s in range(4)])))
    found = validator(Memory(), num_crops)(encoder, HERE)
    encoder.eval()
    means = {}
    for i, utterance in enumerate(UTTERANCES):
        waveform = Memory().read(i, 0, 60)
        length = round(0.6 * RATE) if num_crops else len(waveform)
        starts = crop_starts(len(waveform), length, max(num_crops, 1))
        total = np.zeros(16)
        for start in starts:
            crop = torch.from_numpy(waveform[start : start + length])[None]
            with torch.inference_mode():
                embedding = encoder(crop)[0].numpy().astype(np.float64)
            total += embedding / np.linalg.norm(embedding)
        means[utterance.utterance_id] = total / np.linalg.norm(total)
    trials = draw_trials(UTTERANCES, 9, 30, 3)
    scores = [means[t.enrollment_id] @ means[t.test_id] for t in trials]
    wanted = eer(
        [s for s, t in zip(scores, trials, strict=True) if t.is_target],
        [s for s, t in zip(scores, trials, strict=True) if not t.is_target],
    )
    assert found.eer == pytest.approx(wanted, abs=1e-9)
    assert (found.n_target, found.n_nontarget, found.n_unreadable) == (9, 30, 0)


def test_the_encoder_keeps_its_mode_and_its_statistics() -> None:
    encoder = build_encoder(Network("ecapa", 16, 16), FbankConfig(n_mels=16)).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    validator(Memory(), 1)(encoder, HERE)
    assert encoder.training
    assert all(torch.equal(v, before[n]) for n, v in encoder.state_dict().items())


def test_what_cannot_be_read_takes_its_trials_along() -> None:
    encoder = build_encoder(Network("ecapa", 16, 16), FbankConfig(n_mels=16))
    found = validator(Memory(0, 5), 1, n_target=12)(encoder, HERE)
    assert found.n_unreadable == 2 and found.n_target == 8  # two speakers lost two pairs each
    with pytest.raises(TrainingError, match="12 of 12 utterances cannot be read"):
        validator(Memory(*range(12)), 1)(encoder, HERE)


def test_a_network_that_diverged_is_named() -> None:
    encoder = build_encoder(Network("ecapa", 16, 16), FbankConfig(n_mels=16))
    torch.nn.init.constant_(encoder.backbone.linear.weight, torch.nan)
    with pytest.raises(TrainingError, match="not finite; the network has diverged"):
        validator(Memory(), 1)(encoder, HERE)


def test_every_part_of_the_network_keeps_its_mode() -> None:
    """An imported network: the outer module says evaluation, the backbone is trained."""
    encoder = build_encoder(Network("ecapa", 16, 16), FbankConfig()).eval()
    encoder.backbone.train()
    frozen = next(m for m in encoder.backbone.modules() if isinstance(m, torch.nn.BatchNorm1d))
    frozen.eval()
    before = {name: module.training for name, module in encoder.named_modules()}
    validator(Memory(), 1)(encoder, HERE)
    assert {name: module.training for name, module in encoder.named_modules()} == before
    assert encoder.backbone.training and not frozen.training


def test_a_speaker_with_many_utterances_does_not_decide() -> None:
    many = [Utterance(f"m-{i:03d}", "m", Path(f"m{i}.wav"), 1.0) for i in range(200)]
    few = thinned([*many, *UTTERANCES], 5, seed=1)
    by_speaker = Counter(u.speaker_id for u in few)
    assert by_speaker == {"m": 5, "s0": 3, "s1": 3, "s2": 3, "s3": 3}
    again = thinned([*UTTERANCES, *reversed(many)], 5, seed=1)
    assert few == again != thinned([*many, *UTTERANCES], 5, seed=2)
    source = Memory()
    found = Validator(
        UTTERANCES, source, crop_samples=RATE, num_crops=1, n_target=99, n_nontarget=999, seed=3,
        per_speaker=2,
    )(build_encoder(Network("ecapa", 16, 16), FbankConfig(n_mels=16)), HERE)  # fmt: skip
    assert (found.n_target, found.n_nontarget) == (4, 4 * 6)  # of two utterances of four speakers


def test_whole_utterances_of_a_minute_do_not_go_through_all_at_once() -> None:
    rows: list[tuple[int, ...]] = []

    class Long(Memory):
        def seconds(self, i: int) -> float:
            return 60.0

        def read(self, i: int, start_s: float, length_s: float) -> NDArray[np.float32]:
            return np.tile(voice(i // 3, i % 3, 0.5), 120)

    class Counting(torch.nn.Module):
        def forward(self, crops: torch.Tensor) -> torch.Tensor:
            rows.append(tuple(crops.shape))
            return crops[:, :8] + torch.eye(8)[: len(crops)]

    validator(Long(), 0)(Counting(), HERE)  # type: ignore[arg-type]
    assert sum(n for n, _ in rows) == len(UTTERANCES)
    assert max(n * length for n, length in rows) <= 320 * RATE and max(n for n, _ in rows) == 5
