"""Embed files with Resemblyzer; runs in the peers' environment, imports nothing of Groove.

PYTHON benchmarks/peer_embed.py LIST OUT.npz

LIST holds a path a line. Writes embedding [N, D] (NaN where the peer gave none) as it comes out of
Resemblyzer's documented calls: preprocess_wav, which drops pauses, then embed_utterance.
"""

import sys
from pathlib import Path

import numpy as np


def main() -> None:
    from resemblyzer import VoiceEncoder, preprocess_wav

    encoder = VoiceEncoder("cpu", verbose=False)
    rows = []
    for path in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
        try:
            waveform = preprocess_wav(path)
            row = encoder.embed_utterance(waveform) if len(waveform) else np.full(256, np.nan)
        except (ValueError, RuntimeError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            row = np.full(256, np.nan)
        rows.append(np.asarray(row, dtype=np.float32))
    np.savez(sys.argv[2], embedding=np.stack(rows))


if __name__ == "__main__":
    main()
