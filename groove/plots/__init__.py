"""Figures: the only door to matplotlib and scikit-learn, both imported when a figure is drawn.

Every function writes one PNG, aside and renamed, and returns its path. Nothing global changes: the
style holds for the figure alone. Names in any script are drawn with whichever installed font has
their glyphs (`groove.plots.fonts`); where none has, the figure shows numbers and says what to
install, never empty boxes.
"""

from groove.plots.curves import det, roc
from groove.plots.scores import reliability, score_histogram
from groove.plots.speakers import speaker_map
from groove.plots.style import available

__all__ = ["available", "det", "reliability", "roc", "score_histogram", "speaker_map"]
