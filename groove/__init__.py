"""Groove (声纹): speaker verification.

>>> import groove
>>> groove.compare("a.wav", "b.wav").decision            # "same", "different" or "undecided"
>>> verifier = groove.Verifier("campplus-zh-en", fmr=0.001)
>>> groove.Embedder().embed("a.wav").shape               # [D], length 1
>>> groove.VoiceprintStore().identify("a.wav").name      # who of those enrolled; None: nobody

Importing this imports no torch and starts nothing.
"""

from __future__ import annotations

from groove.api import Embedder, Verifier, VoiceprintStore, compare
from groove.card import ModelCard
from groove.encoder import Encoder, OnnxEncoder
from groove.errors import GrooveError
from groove.loading import open_encoder
from groove.verifier import Comparison
from groove.version import VERSION as __version__

__all__ = [
    "Comparison",
    "Embedder",
    "Encoder",
    "GrooveError",
    "ModelCard",
    "OnnxEncoder",
    "Verifier",
    "VoiceprintStore",
    "__version__",
    "compare",
    "open_encoder",
]
