"""Which precision "auto" means: nobody who has one card only could see the other choice."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from groove.training.precision import choose  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    ("device", "in_hardware", "wanted"),
    [("cuda", True, "bf16"), ("cuda", False, "fp16"), ("cpu", True, "fp32")],
)
def test_auto_takes_bf16_only_where_the_hardware_has_it(
    monkeypatch: pytest.MonkeyPatch, device: str, in_hardware: bool, wanted: str
) -> None:
    """A card without it emulates it, slowly: torch counts that as support unless asked not to."""

    def supported(including_emulation: bool = True) -> bool:
        return in_hardware or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert choose("auto", torch.device(device)) == wanted
    assert choose("fp32", torch.device(device)) == "fp32"
