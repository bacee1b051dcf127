"""Which installed font can draw a text: found by its glyphs, not by its name.

matplotlib draws an empty box for a glyph that its font lacks, and goes on. So before a text is
drawn, the fonts are asked. `drawable` gives the families that draw all of some names, and stand-ins
("#1", "#2") for the names that no installed font can draw, with a note that says what to install.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

BASE = "DejaVu Sans"  # comes with matplotlib
LIKED = ("CJK SC", "Sans SC", "Hei", "CJK", "Song", "Sans")  # among fonts that have the glyphs
CHARACTERS_PER_GLYPH = 4  # real fonts share few glyphs between characters
INSTALL = (
    "install a font that has them, for example:  apt install fonts-noto-cjk  "
    "(macOS and Windows have one)"
)


@dataclass(frozen=True)
class Drawable:
    """How to draw some names: families for ``font.family``, and what to write for each name."""

    families: tuple[str, ...]
    labels: dict[str, str]
    note: str  # empty where every name can be drawn as it is

    def __getitem__(self, name: str) -> str:
        """What to write for a name; texts that were not asked about stay as they are."""
        return self.labels.get(name, name)


def drawable(names: Iterable[str]) -> Drawable:
    """Choose fonts for names, and stand-ins for those that no font can draw."""
    wanted = list(dict.fromkeys(names))
    families = [BASE]
    labels: dict[str, str] = {}
    for name in wanted:
        lacking = missing_glyphs(name, tuple(families))
        font = font_with(lacking) if lacking else None
        if font is not None:
            families.append(_listed(font))
        elif lacking:
            labels[name] = f"#{1 + len(labels)}"
    note = ""
    if labels:
        note = f"{len(labels)} names cannot be drawn here and are numbered; {INSTALL}"
    return Drawable(tuple(families), {name: labels.get(name, name) for name in wanted}, note)


def missing_glyphs(text: str, families: tuple[str, ...]) -> frozenset[int]:
    """The characters of a text that none of these families has."""
    wanted = frozenset(ord(character) for character in text if not character.isspace())
    for family in families:
        wanted -= glyphs(path_of(family))
    return wanted


def font_with(
    characters: frozenset[int],
    listed: Iterable[Any] | None = None,
    files: Iterable[str] | None = None,
) -> Any:
    """The entry of an installed font that has all of these characters; None: there is none.

    Args:
        characters: code points.
        listed: entries to choose from; None: what matplotlib has listed.
        files: font files beyond those; None: what was installed since matplotlib last looked.
    """
    from matplotlib.font_manager import fontManager, ttfFontProperty

    entries = fontManager.ttflist if listed is None else listed
    for entry in _sorted(entries):
        if characters <= glyphs(entry.fname):
            return entry
    for path in _not_listed() if files is None else files:
        if characters <= glyphs(path):
            from matplotlib.ft2font import FT2Font

            return ttfFontProperty(FT2Font(path))
    return None


def _listed(font: Any) -> str:
    """The font's family, after making sure that matplotlib finds it by that name."""
    from matplotlib.font_manager import fontManager

    if all(entry.fname != font.fname for entry in fontManager.ttflist):
        fontManager.addfont(font.fname)
    return str(font.name)


@lru_cache(maxsize=512)
def glyphs(path: str) -> frozenset[int]:
    """The characters that a font file draws; empty for a file that is no font.

    Empty as well for a "last resort" font, which maps every character there is to a few boxes.
    """
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
        characters = frozenset(font.get_charmap())
    except (OSError, RuntimeError):
        return frozenset()
    is_last_resort = len(characters) > CHARACTERS_PER_GLYPH * font.num_glyphs
    return frozenset() if is_last_resort else characters


@lru_cache(maxsize=64)
def path_of(family: str) -> str:
    """The file that matplotlib takes for a family."""
    from matplotlib.font_manager import FontProperties, findfont

    return str(findfont(FontProperties(family=family)))


def _sorted(entries: Iterable[Any]) -> list[Any]:
    """Upright, regular and sans-serif ones first, so that the first that fits also looks right."""

    def rank(entry: Any) -> tuple[bool, bool, int, str]:
        liked = [i for i, word in enumerate(LIKED) if word in entry.name]
        weight = entry.weight if isinstance(entry.weight, int) else 400
        upright = entry.style == "normal"
        return (not upright, not 350 <= weight <= 500, min(liked, default=99), entry.name)

    return sorted(entries, key=rank)


def _not_listed() -> list[str]:
    from matplotlib.font_manager import findSystemFonts, fontManager

    listed = {entry.fname for entry in fontManager.ttflist}
    return sorted(path for path in findSystemFonts() if path not in listed)
