"""Audio files below a folder, and what kind of sound each is: noise, music or speech.

MUSAN's layout is recognised: a folder with subfolders ``noise``, ``music`` or ``speech`` (or which
is called so itself) says what is in them. Any other folder holds noise. Subfolders of impulse
responses (``rir``, ``rirs``, ``impulse_responses``) are no noise and are passed over when noise is
looked for.
"""

from __future__ import annotations

import os
from pathlib import Path

from groove.corpora.files import AUDIO_SUFFIXES
from groove.errors import SettingsError

KINDS = ("noise", "music", "speech")
RESPONSES = frozenset(["rir", "rirs", "impulse_responses"])


def audio_files(folder: str | Path, wanted_for: str) -> list[tuple[Path, str]]:
    """Audio files below a folder, each with its kind, in the order of their names.

    Args:
        folder: is searched with all that is below it; hidden files are left out.
        wanted_for: "noise" or "reverberation", for the message.

    Raises:
        SettingsError: no such folder, or no audio in it.
    """
    root = Path(folder)
    if not root.is_dir():
        state = "is not a folder" if root.exists() else "does not exist"
        raise SettingsError(
            f"{root}: the folder for {wanted_for} {state}; give another or switch {wanted_for} off"
        )
    found = []
    for base, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in names:
            path = Path(base, name)
            if path.suffix.lower() in AUDIO_SUFFIXES and not name.startswith("."):
                found.append((path, _kind(path.relative_to(root), root)))
    if wanted_for == "noise":
        found = [f for f in found if not RESPONSES & set(f[0].relative_to(root).parts[:-1])]
    if not found:
        raise SettingsError(
            f"{root}: no audio file in the folder for {wanted_for}; "
            f"give another or switch {wanted_for} off"
        )
    return sorted(found, key=lambda f: f[0].relative_to(root).as_posix())


def _kind(path: Path, root: Path) -> str:
    if len(path.parts) > 1 and path.parts[0] in KINDS:
        return path.parts[0]
    return root.name if root.name in KINDS else "noise"
