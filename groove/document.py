"""A small document: headings, paragraphs, tables, figures; as Markdown, HTML, or plain text.

What a report says is written once (`groove.report`); the three forms differ in looks alone. The
HTML is one file: its style is inside, and so are the figures.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the title."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    is_note: bool = False  # smaller, beside the point
    is_warning: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first column is text, the others are numbers."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Picture:
    """A PNG beside the document."""

    path: Path
    caption: str


Block = Heading | Text | Table | Picture


def to_markdown(blocks: Sequence[Block]) -> str:
    """Pictures are linked by file name."""
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def to_text(blocks: Sequence[Block]) -> str:
    """Aligned columns, no pictures."""
    following = [*blocks[1:], None]
    shown = [
        _plain(block)
        for block, after in zip(blocks, following, strict=True)
        if not isinstance(block, Picture) and not isinstance(after, Picture)
    ]
    return "\n\n".join(shown) + "\n"


def to_html(blocks: Sequence[Block], title: str) -> str:
    """One file that needs nothing beside it."""
    body = "\n".join(_html(block) for block in blocks)
    return _PAGE.format(title=html.escape(title), style=_STYLE, body=body)


def _markdown(block: Block) -> str:
    match block:
        case Heading():
            return f"{'#' * block.level} {block.text}"
        case Text():
            return f"**{block.text}**" if block.is_warning else block.text
        case Table():
            rows = [block.header, ("---", *["---:"] * (len(block.header) - 1)), *block.rows]
            return "\n".join(
                f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
                for row in rows
            )
        case Picture():
            return f"![{block.caption}]({block.path.name})\n\n*{block.caption}*"


def _plain(block: Block) -> str:
    match block:
        case Heading():
            return f"{block.text}\n{'=-'[block.level > 1] * _width(block.text)}"
        case Text():
            return f"! {block.text}" if block.is_warning else block.text
        case Table():
            rows = [block.header, *block.rows]
            widths = [max(_width(row[i]) for row in rows) for i in range(len(block.header))]
            return "\n".join(_line(row, widths) for row in rows)
        case Picture():
            return ""


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    first = row[0] + " " * (widths[0] - _width(row[0]))
    rest = [" " * (w - _width(cell)) + cell for cell, w in zip(row[1:], widths[1:], strict=True)]
    return "  ".join([first, *rest]).rstrip()


def _width(text: str) -> int:
    """Columns in a terminal: Chinese characters take two."""
    import unicodedata

    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _html(block: Block) -> str:
    match block:
        case Heading():
            return f"<h{block.level}>{html.escape(block.text)}</h{block.level}>"
        case Text():
            kind = ' class="warning"' if block.is_warning else ""
            kind = ' class="note"' if block.is_note else kind
            return f"<p{kind}>{html.escape(block.text)}</p>"
        case Table():
            head = "".join(f"<th>{html.escape(cell)}</th>" for cell in block.header)
            rows = "\n".join(
                f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>"
                for row in block.rows
            )
            return (
                f'<div class="table"><table><thead><tr>{head}</tr></thead>\n'
                f"<tbody>\n{rows}\n</tbody></table></div>"
            )
        case Picture():
            data = base64.b64encode(block.path.read_bytes()).decode("ascii")
            caption = html.escape(block.caption)
            return (
                f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
                f"<figcaption>{caption}</figcaption></figure>"
            )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""

_STYLE = """
:root { color-scheme: light; --ink: #22272e; --faint: #6b7480; --line: #e4e8ec; --blue: #0060a8; }
* { box-sizing: border-box; }
body { margin: 0; background: #f6f7f9; color: var(--ink); line-height: 1.55;
  font-family: system-ui, -apple-system, "Segoe UI", "Noto Sans", "PingFang SC",
    "Microsoft YaHei", "Noto Sans CJK SC", sans-serif; }
main { max-width: 60rem; margin: 2rem auto; padding: 2.5rem 3rem 3rem; background: white;
  border: 1px solid var(--line); border-radius: 10px; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1rem; letter-spacing: -.01em; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; padding-top: 1rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p { margin: .5rem 0; max-width: 46rem; }
p.note { color: var(--faint); font-size: .9rem; }
p.warning { background: #fff4e5; border-left: 4px solid #d0541b; padding: .5rem .9rem; }
.table { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem 1.1rem .35rem 0; text-align: right; white-space: nowrap; }
th { color: var(--faint); font-weight: 600; border-bottom: 2px solid var(--line);
  vertical-align: bottom; white-space: normal; }
td { border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1.4rem 0; }
figure img { max-width: 100%; height: auto; max-height: 34rem; display: block; }
figcaption { color: var(--faint); font-size: .9rem; max-width: 46rem; }
@media (max-width: 40rem) { main { margin: 0; padding: 1.2rem; border: 0; border-radius: 0; } }
@media print { body { background: white; } main { border: 0; margin: 0; padding: 0; } }
"""
