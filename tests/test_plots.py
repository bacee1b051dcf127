"""Figures: whole files, the same bytes twice, and no empty boxes in any script."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from groove import plots
from groove.evaluation.measures import Measured, TrialScores, measure

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

from groove.plots import fonts

PNG = b"\x89PNG\r\n\x1a\n"
NAMES = ("张三", "李四")


@pytest.fixture(scope="module")
def measured() -> Measured:
    random = np.random.default_rng(0)
    who = np.repeat(np.arange(12), 5)
    a, b = np.triu_indices(len(who), 1)
    same = who[a] == who[b]
    scores = random.normal(0, 1, len(a)) + 2.5 * same
    return measure(TrialScores(scores, same, who[a], who[b], 2.5 * scores - 3), n_draws=30)


@pytest.fixture
def font(tmp_path: Path) -> Path:
    """A font that has exactly the characters of NAMES, as filled squares."""
    return font_file(tmp_path / "squares.ttf", "".join(NAMES), "Groove Test Squares")


def font_file(path: Path, characters: str, family: str) -> Path:
    builder = pytest.importorskip("fontTools.fontBuilder").FontBuilder(1000, isTTF=True)
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    names = [".notdef", *(f"u{ord(c):x}" for c in characters)]
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(c): f"u{ord(c):x}" for c in characters})
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for point in ((100, 800), (900, 800), (900, 0)):
        pen.lineTo(point)
    pen.closePath()
    square = pen.glyph()
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 100)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(str(path))
    return path


def test_a_font_is_found_by_its_glyphs(font: Path) -> None:
    from matplotlib.font_manager import FontEntry

    assert fonts.glyphs(str(font)) == frozenset(map(ord, "".join(NAMES)))
    listed = [FontEntry(fname=str(font), name="Groove Test Squares", style="normal", weight=400)]
    found = fonts.font_with(frozenset(map(ord, "张四")), listed, ())
    assert found is not None and found.name == "Groove Test Squares"
    assert fonts.font_with(frozenset(map(ord, "张王")), listed, ()) is None
    assert fonts.glyphs(str(Path(__file__))) == frozenset()


def test_a_last_resort_font_that_draws_boxes_for_everything_does_not_count() -> None:
    from matplotlib.font_manager import fontManager

    everything = [e.fname for e in fontManager.ttflist if "Last Resort" in e.name]
    for path in everything:
        assert fonts.glyphs(path) == frozenset()


def test_a_font_that_matplotlib_has_not_listed_yet_is_found_as_well(font: Path) -> None:
    found = fonts.font_with(frozenset(map(ord, "张三")), [], [str(font)])
    assert found is not None and found.fname == str(font)


def test_names_that_no_font_has_are_numbered_and_the_note_says_what_to_install() -> None:
    beyond = "\U000f0001\U000f0002"  # private use: in no font's map
    found = fonts.drawable(["plain", beyond, "\U000f0003"])
    assert found["plain"] == "plain" and (found[beyond], found["\U000f0003"]) == ("#1", "#2")
    assert "2 names cannot be drawn" in found.note and "apt install fonts-noto-cjk" in found.note
    assert fonts.drawable(["plain"]).note == ""


def test_every_character_of_what_is_drawn_has_a_glyph() -> None:
    """With a Chinese font installed the names stay; without one they become numbers, not boxes."""
    found = fonts.drawable([*NAMES, "Zoë", "Müller"])
    for name in (*NAMES, "Zoë", "Müller"):
        assert not fonts.missing_glyphs(found[name], found.families)
    installed = fonts.font_with(frozenset(map(ord, "".join(NAMES))))
    assert (found["张三"] == "张三") == (installed is not None)


def test_all_figures_are_written_whole_and_the_same_twice(
    tmp_path: Path, measured: Measured
) -> None:
    random = np.random.default_rng(1)
    embeddings = random.normal(size=(20, 8)) + np.repeat(np.eye(4, 8) * 6, 5, axis=0)
    speakers = [name for name in (*NAMES, "$a$", "b") for _ in range(5)]

    def draw(folder: Path) -> list[Path]:
        systems = [("张三模型", measured), ("other", measured)]
        found = [
            plots.det(folder / "det.png", systems),
            plots.roc(folder / "roc.png", systems),
            plots.score_histogram(folder / "h.png", "张三", measured, card_threshold=1.0),
            plots.reliability(folder / "r.png", systems),
            plots.speaker_map(folder / "t.png", embeddings, speakers),
        ]
        return [path for path in found if path]

    first, second = draw(tmp_path / "a"), draw(tmp_path / "b")
    assert len(first) == 5
    for a, b in zip(first, second, strict=True):
        data = a.read_bytes()
        assert data.startswith(PNG) and data.endswith(b"IEND\xaeB`\x82") and len(data) > 10_000
        assert data == b.read_bytes(), a.name
    assert not list((tmp_path / "a").glob(".*"))


def test_a_map_of_too_few_recordings_is_not_drawn(tmp_path: Path) -> None:
    assert plots.speaker_map(tmp_path / "t.png", np.eye(4), list("abcd")) is None
    assert not (tmp_path / "t.png").exists()


def test_recordings_that_are_all_alike_are_drawn(tmp_path: Path) -> None:
    assert plots.speaker_map(tmp_path / "t.png", np.ones((9, 4)), list("aaabbbccc")) is not None


def test_names_give_way_to_each_other() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from groove.plots.speakers import _write_names

    drawn = Figure(figsize=(6, 4))
    FigureCanvasAgg(drawn)
    axes = drawn.add_subplot()
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    near = np.array([[0.4, 0.5], [0.41, 0.52]])
    first, second, far = _write_names(
        axes, {"a-long-name-1": near, "a-long-name-2": near + [0.05, 0.0], "far": near / 4}
    )
    boxes = [one.get_window_extent() for one in (first, second)]
    assert not boxes[0].overlaps(boxes[1]) and boxes[1].y1 < boxes[0].y0
    assert far.get_va() == "bottom" and len(axes.texts) == 3


def test_what_is_drawn_of_a_calibration_lies_in_the_figure(
    tmp_path: Path, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    def saved(drawn: Figure, *args: object, **settings: object) -> None:
        save(drawn, *args, **settings)  # type: ignore[arg-type]
        boxes.append((drawn.axes[0].get_tightbbox(), drawn.bbox))

    save, boxes = Figure.savefig, []
    monkeypatch.setattr(Figure, "savefig", saved)
    plots.reliability(tmp_path / "r.png", [("x", measured)])
    ((inner, outer),) = boxes
    assert outer.x0 <= inner.x0 and inner.x1 <= outer.x1 and inner.y1 <= outer.y1


def test_a_curve_without_errors_is_pointed_out(
    tmp_path: Path, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.axes import Axes

    said: list[str] = []
    annotate = Axes.annotate
    monkeypatch.setattr(
        Axes,
        "annotate",
        lambda axes, text, *a, **k: said.append(text) or annotate(axes, text, *a, **k),
    )
    same = np.array([True, True, False, False, False, False])
    who = np.array([0, 1, 0, 0, 1, 1]), np.array([0, 1, 1, 2, 0, 2])
    perfect = measure(TrialScores(np.arange(6.0)[::-1], same, *who), n_draws=5)
    for plot in (plots.det, plots.roc):
        plot(tmp_path / "x.png", [("faultless", perfect), ("other", measured)])
        assert [text for text in said if "separates all" in text and "faultless" in text]
        assert not any("other" in text for text in said)
        said.clear()


def test_the_style_of_others_is_left_alone(tmp_path: Path, measured: Measured) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    plots.det(tmp_path / "det.png", [("x", measured)])
    assert dict(matplotlib.rcParams) == before


def test_normal_deviates_are_those_of_the_normal_distribution() -> None:
    from groove.plots.curves import _deviate

    scipy_stats = pytest.importorskip("scipy.stats")
    rates = np.array([1e-6, 0.001, 0.3, 0.5, 0.99])
    np.testing.assert_allclose(_deviate(rates), scipy_stats.norm.ppf(rates), atol=1e-8)
    assert np.isfinite(_deviate(np.array([0.0, 1.0]))).all()
