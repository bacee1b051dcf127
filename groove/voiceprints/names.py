"""People's names: one spelling for what looks the same, in any script.

A name is brought to Unicode's NFC, white space at the ends is dropped and inside becomes one space.
After that two names are the same name only if they are equal: case counts, and so do full-width
letters. What cannot be seen or turns the line around (controls, bidirectional overrides, lone
surrogates) is refused; joiners, which Persian and Indic names need, are kept.
Source: Unicode Standard Annex 15 (normalisation forms).
"""

from __future__ import annotations

import unicodedata

from groove.errors import SettingsError

MAX_LENGTH = 200
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
_REFUSED = ("Cc", "Cs", "Cn", "Co")


def normalise_name(name: str) -> str:
    """The one spelling of a name.

    Raises:
        SettingsError: empty, longer than 200 characters, or holding what cannot be seen.
    """
    composed = " ".join(unicodedata.normalize("NFC", name).split())
    if not 1 <= len(composed) <= MAX_LENGTH:
        raise SettingsError(f"a name has {len(composed)} characters; wanted 1 to {MAX_LENGTH}")
    for character in composed:
        if character in _BIDI or unicodedata.category(character) in _REFUSED:
            raise SettingsError(
                f"the name holds U+{ord(character):04X}, which cannot be seen; type it without"
            )
    return composed
