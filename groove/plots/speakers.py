"""Speakers in two dimensions: t-SNE of their recordings' embeddings.

The picture shows neighbourhoods, nothing else: distances between groups and their sizes mean
nothing (Wattenberg et al. 2016). The layout is a function of the embeddings and a seed.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
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
    with figure(path, names, size=(7.0, 6.0)) as (drawn, axes):
        places = _layout(embeddings, max(Counter(speakers).values()), seed)
        groups = {names[speaker]: places[who == speaker] for speaker in order}
        for i, own in enumerate(groups.values()):
            colour = _colour(i, len(order))
            axes.scatter(*own.T, s=26, color=colour, alpha=0.75, lw=0, zorder=4)  # above the names
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(visible=False)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        axes.set_title(f"{len(order)} speakers, {len(embeddings)} recordings (t-SNE)")
        axes.set_xlabel("near means alike; distances between groups mean nothing", fontsize=9)
        drawn.draw_without_rendering()  # now the places are known
        _write_names(axes, groups)
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


def _write_names(axes: Any, groups: Mapping[str, NDArray[np.float64]]) -> list[Any]:
    """Each name above its group, or below where another name is in the way."""
    found: list[Any] = []
    for text, own in groups.items():
        name = _name(axes, own, text, above=True)
        if _in_the_way(name, found):
            below = _name(axes, own, text, above=False)
            spare = name if not _in_the_way(below, found) else below
            name = below if spare is name else name
            spare.remove()
        found.append(name)
    return found


def _in_the_way(name: Any, others: Sequence[Any]) -> bool:
    box = name.get_window_extent()
    return any(box.overlaps(other.get_window_extent()) for other in others)


def _name(axes: Any, own: NDArray[np.float64], text: str, *, above: bool) -> Any:
    from matplotlib.patheffects import withStroke

    return axes.annotate(
        text,
        own[own[:, 1].argmax() if above else own[:, 1].argmin()],
        fontsize=8,
        color=INK,
        ha="center",
        va="bottom" if above else "top",
        xytext=(0, 5 if above else -5),
        textcoords="offset points",
        path_effects=[withStroke(linewidth=2.0, foreground="white")],
        annotation_clip=False,
    )
