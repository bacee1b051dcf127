"""Make the example recordings again: two synthetic voices, by flite 2.2 (apt install flite).

    python examples/make_examples.py

flite synthesises without chance, so the same version writes the same samples. The recordings are
16 kHz, 16 bit, mono, exactly as flite wrote them.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

FOLDER = Path(__file__).resolve().parent

EXAMPLES = {  # file -> (flite voice, text)
    "voice_a_1.wav": (
        "slt",
        "My voice is my passport, and the evening train leaves from platform seven.",
    ),
    "voice_a_2.wav": (
        "slt",
        "Good morning. Please open the garden gate, and bring the blue umbrella with you.",
    ),
    "voice_b_1.wav": (
        "kal16",
        "The harbour was quiet that night, and only two small boats came home.",
    ),
}


def main() -> None:
    for name, (voice, text) in EXAMPLES.items():
        path = FOLDER / name
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
