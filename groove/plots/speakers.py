"""Speakers in two dimensions: t-SNE of their recordings' embeddings.

The picture shows neighbourhoods, nothing else: distances between groups and their sizes mean
nothing (Wattenberg et al. 2016). The layout is a function of the embeddings and a seed.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groove.plots.fonts import drawable
from groove.plots.style import INK, figure

MIN_RECORDINGS = 8
MAX_PERPLEXITY = 30.0


def speaker_map(
    path: Path, embeddings: NDArray[np.float64], speakers: Sequence[str], *, seed: int = 0
) -> Path | None:
    """t-SNE of embeddings [N, D]; None where there are too few for a picture.

    Args:
        path: the file to write.
        embeddings: of unit length.
        speakers: [N], the speaker of each.
        seed: of the layout.
    """
    if len(embeddings) < MIN_RECORDINGS:
        return None
    who = np.array(speakers)
    order = list(dict.fromkeys(speakers))
    names = drawable(order)
    with figure(path, names, size=(7.0, 6.0)) as (_, axes):
        places = _layout(embeddings, max(Counter(speakers).values()), seed)
        for i, speaker in enumerate(order):
            own = places[who == speaker]
            colour = _colour(i, len(order))
            axes.scatter(*own.T, s=26, color=colour, alpha=0.75, lw=0)
            _name(axes, own[own[:, 1].argmax()], names[speaker])
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(visible=False)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        axes.set_title(f"{len(order)} speakers, {len(embeddings)} recordings (t-SNE)")
        axes.set_xlabel("near means alike; distances between groups mean nothing", fontsize=9)
    return path


def _layout(embeddings: NDArray[np.float64], n_each: int, seed: int) -> NDArray[np.float64]:
    from sklearn.manifold import TSNE

    # As many neighbours as a speaker has recordings; t-SNE asks for fewer than there are.
    perplexity = min(MAX_PERPLEXITY, max(5.0, n_each), (len(embeddings) - 1) / 3)
    spread = bool((embeddings.std(axis=0) > 0).any())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a change of a default that is set here
        layout = TSNE(
            perplexity=perplexity,
            init="pca" if spread else "random",
            learning_rate="auto",
            random_state=seed,
        )
        found: NDArray[np.float64] = layout.fit_transform(embeddings.astype(np.float32))
    return found


def _colour(i: int, n: int) -> Any:
    """Neighbours in the list differ in lightness too."""
    from matplotlib.colors import hsv_to_rgb

    return hsv_to_rgb(((i / max(n, 1)) % 1.0, 0.72, (0.62, 0.82, 0.48)[i % 3]))


def _name(axes: Any, at: NDArray[np.float64], text: str) -> None:
    from matplotlib.patheffects import withStroke

    axes.annotate(
        text,
        at,
        fontsize=8,
        color=INK,
        ha="center",
        va="bottom",
        xytext=(0, 5),
        textcoords="offset points",
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
    )
