"""Makes silero_golden.json: upstream's probabilities for examples/voice_a_1.wav.

    python -m tests.data.make_silero_golden silero_vad_16k_sequence.onnx

The argument is the file of the wheel silero-vad 6.2.3; it hears the frames as groove.speech scales
them (without the 64 mirrored samples, which upstream's graph appends itself).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from groove.audio import read_audio
from groove.runtime import open_session
from groove.speech import SpeechDetector

HERE = Path(__file__).parent


def main(source: str) -> None:
    stream = SpeechDetector().stream()
    waveform = read_audio(HERE.parent.parent / "examples" / "voice_a_1.wav")
    frames, _ = stream._frames(np.concatenate([np.zeros(64, np.float32), waveform]))
    feeds = {name: np.zeros((1, 1, 128), np.float32) for name in ("h", "c")}
    session = open_session(source, threads=1)
    probabilities = session.run(["speech_probs"], {"input": frames[:, :576], **feeds})[0]
    values = {"source": "silero-vad 6.2.3, silero_vad_16k_sequence.onnx"}
    values["probabilities"] = [round(float(p), 6) for p in probabilities]
    (HERE / "silero_golden.json").write_text(json.dumps(values) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
