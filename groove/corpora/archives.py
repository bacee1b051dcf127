"""The archives that CN-Celeb comes in, against their published MD5.

Source of the sums: WeSpeaker's recipe, examples/cnceleb/v2/local/download_data.sh. CN-Celeb2 comes
in three pieces whose sum is that of the pieces one after the other; a whole archive is taken too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

MD5 = {
    "cn-celeb_v2.tar.gz": "7ab1b214028a7439e26608b2d5a0336c",
    "cn-celeb2_v2.tar.gz": "55c47cf0b6d0bf793e88bf79d5dfc660",
}
PIECES = ("aa", "ab", "ac")
BLOCK_BYTES = 1 << 22


def find_archives(folder: Path) -> dict[str, list[Path]]:
    """The files of each archive that lies in a folder: one, or its pieces in order."""
    found: dict[str, list[Path]] = {}
    for name in MD5:
        pieces = [folder / f"{name}{piece}" for piece in PIECES]
        if (folder / name).is_file():
            found[name] = [folder / name]
        elif all(piece.is_file() for piece in pieces):
            found[name] = pieces
    return found


def check_archives(
    found: dict[str, list[Path]], advance: Callable[[int], None] = lambda n_bytes: None
) -> list[str]:
    """What is wrong with archives, as warnings; none if all are as published.

    Args:
        found: from `find_archives`.
        advance: told the bytes that were read since.
    """
    warnings = []
    for name, published in MD5.items():
        if name not in found:
            warnings.append(f"{name}: not there (nor its three pieces), so its MD5 is not checked")
            continue
        digest = hashlib.md5(usedforsecurity=False)
        for path in found[name]:
            with path.open("rb") as file:
                while block := file.read(BLOCK_BYTES):
                    digest.update(block)
                    advance(len(block))
        if digest.hexdigest() != published:
            warnings.append(
                f"{name}: MD5 {digest.hexdigest()}, published {published}; another release, or a "
                "damaged download"
            )
    return warnings
