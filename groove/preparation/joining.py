"""Short utterances joined within speaker and genre, as the best CN-Celeb recipes do.

Over a third of CN-Celeb's utterances are shorter than 2 s. Joined to at least 5 s they give crops
that hold speech from end to end (wespeaker examples/cnceleb/v2; Chen et al. 2022, arXiv
2206.11699).
No audio is written: a joined utterance is the list of its parts.
"""

from __future__ import annotations

from collections.abc import Sequence

Group = list[int]  # indices of the parts; one index: an utterance as it is


def join_short(
    indices: Sequence[int], seconds: Sequence[float], conditions: Sequence[object], min_s: float
) -> list[Group]:
    """Group one speaker's utterances.

    An utterance of ``min_s`` or more stands alone. Shorter ones of a condition (the genre) are
    joined in their order until they reach it. A rest that does not is added to the last joined
    group of its condition, or else to its last long utterance; without either it stays
    short.

    Args:
        indices: of the utterances, in order.
        seconds: length of each of ``indices``.
        conditions: only utterances with equal ones are joined.
        min_s: 0 joins nothing.

    Returns:
        Groups in the order of their first parts; every index is in one of them.
    """
    pools: dict[object, list[tuple[int, float]]] = {}
    for index, length, condition in zip(indices, seconds, conditions, strict=True):
        pools.setdefault(condition, []).append((index, length))
    groups = [group for pool in pools.values() for group in _join_pool(pool, min_s)]
    return sorted(groups, key=lambda group: group[0])


def _join_pool(pool: Sequence[tuple[int, float]], min_s: float) -> list[Group]:
    long, joined = list[Group](), list[Group]()
    parts, total = list[int](), 0.0
    for index, length in pool:
        if length >= min_s:
            long.append([index])
            continue
        parts.append(index)
        total += length
        if total >= min_s:
            joined.append(parts)
            parts, total = [], 0.0
    if parts:
        home = joined or long
        if home:
            home[-1] = sorted([*home[-1], *parts])
        else:
            joined.append(parts)
    return long + joined
