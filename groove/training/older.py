"""The settings that an older run was trained with, as today's names and rules say them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any


def as_of_now(saved: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint's settings, so that the run can go on as it began.

    A key that is missing had its default then, but where the run was without it altogether. What
    was ignored then and would be refused now is left out.

    Args:
        saved: `Checkpoint.config`.
    """
    values = {name: copy.copy(section) for name, section in saved.items()}
    if "validate" in values:  # once all utterances were drawn from
        values["validate"].setdefault("per_speaker", 0)
    augment = values.get("augment", {})
    for chance, unheard in (
        ("noise_probability", {"noise_folders": [], "noise_pack": ""}),
        ("reverb_probability", {"rir_folders": []}),
    ):
        if not augment.get(chance, 0) and chance in augment:
            augment |= {key: empty for key, empty in unheard.items() if key in augment}
    data, run = values.get("data", {}), values.get("train", {})
    if data.get("sampler") == "pk" and "batch_size" in data and {"p", "k"} <= set(run):
        data["batch_size"] = 0
    if not values.get("distill", {}).get("teacher"):
        values.pop("distill", None)
    return values
