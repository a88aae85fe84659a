"""Line plots as SVG to be put into a page, with the page's text colour."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from modelzoo_mediswift.report.document import Figure, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Plot
    from matplotlib.transforms import Bbox

# Okabe and Ito's palette, which colour-blind readers can tell apart, in shades for light and dark
# pages, and a few more.
COLOURS = (
    *("#0a84c6", "#d9660a", "#0a9e78", "#c66aa0", "#b8900a"),
    *("#4fb0e0", "#8a63d2", "#c0392b", "#6f8f2f", "#7a7a7a"),
)
FOREGROUND = "#010203"  # no other colour in a plot; becomes the page's own
SIZE = (5.0, 2.8)  # inches of 72 points
SCATTER_SIZE = (5.0, 4.4)
PLACES = (  # of a name beside its point: points to the right and up, and which end is at it
    *(((4, 3), "left"), ((4, -4), "left"), ((-4, 3), "right"), ((-4, -4), "right")),
    *(((0, 7), "center"), ((0, -7), "center"), ((8, 9), "left"), ((8, -10), "left")),
)
STYLE: Any = {  # matplotlib's stubs take literal keys alone
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": FOREGROUND,
    "axes.edgecolor": FOREGROUND,
    "axes.labelcolor": FOREGROUND,
    "xtick.color": FOREGROUND,
    "ytick.color": FOREGROUND,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.4,
}


def colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def draw(figure: Figure, key: str) -> str:
    """The figure's lines as an <svg> element; ids in it begin with `key`.

    Names from outside are not in it: the page sets the legend.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Plot

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # the user's own style would change the bytes
        matplotlib.rcParams.update(STYLE | {"svg.hashsalt": key})
        plot = Plot(figsize=SCATTER_SIZE if figure.scatter else SIZE, layout="constrained")
        FigureCanvasSVG(plot)
        axes = plot.add_subplot()
        _plot(axes, figure)
        _name_points(plot, axes, figure)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        plot.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return _embeddable(buffer.getvalue(), key)


def _plot(axes: Axes, figure: Figure) -> None:
    for series in figure.series:
        if figure.scatter:
            _scatter(axes, series)
            continue
        axes.plot(
            series.x,
            series.y,
            color=colour(series.colour),
            linestyle="--" if series.dashed else "-",
            marker="o" if len(series.x) < 12 else None,
            markersize=3,
        )
    if figure.from_zero:
        axes.set_ylim(bottom=0)
    if figure.top is not None:
        bottom = min(min(series.y) for series in figure.series)
        axes.set_ylim(bottom - 0.05 * (figure.top - bottom), figure.top)
    axes.set_xlabel(figure.x_label)
    axes.set_ylabel(figure.y_label)
    axes.grid(color="#808080", alpha=0.25, linewidth=0.6)
    if figure.scatter:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(_nothing)
    axes.xaxis.set_major_formatter(_plain)
    axes.yaxis.set_major_formatter(_plain)


def _scatter(axes: Axes, series: Series) -> None:
    marker = "D" if series.dashed else "o"
    shade = colour(series.colour)
    axes.plot(series.x, series.y, color=shade, linestyle="", marker=marker, markersize=5)


def _name_points(plot: Plot, axes: Axes, figure: Figure) -> None:
    """Write each point's name beside it, in the first place where it covers no other name or point.

    A name that finds no place is left out: the table above the figure has them all.
    """
    plot.draw_without_rendering()
    points = [xy for s in figure.series for xy in zip(s.x, s.y, strict=True)]
    taken = [_around(axes.transData.transform(point)) for point in points]
    for series in figure.series:
        for x, y, label in zip(series.x, series.y, series.labels, strict=False):
            for offset, aligned in PLACES:
                name = axes.annotate(
                    label, (x, y), offset, textcoords="offset points", fontsize=5.5,
                    ha=aligned, va="center", annotation_clip=False,
                )  # fmt: skip
                name.set_in_layout(False)
                box = name.get_window_extent()
                inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.figure.bbox.x1
                if inside and not box.count_overlaps(taken):
                    taken.append(box)
                    break
                name.remove()


def _around(centre: Any) -> Bbox:
    """The box of a point's mark on the drawing."""
    from matplotlib.transforms import Bbox

    x, y = centre
    return Bbox.from_extents(x - 2, y - 2, x + 2, y + 2)


def _nothing(value: float, position: float) -> str:
    return ""


def _plain(value: float, position: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}"


def _embeddable(svg: str, key: str) -> str:
    """Drop what only a file of its own needs; make ids unique in the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style).*?</\1>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'font-family: [^;"]*', "font-family: inherit", svg)
    svg = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r"<svg \1>", svg, count=1)
    svg = re.sub(r'(\bid="|xlink:href="#|url\(#)', rf"\g<1>{key}-", svg)
    svg = svg.replace("xlink:href=", "href=")
    return svg.replace(FOREGROUND, "currentColor").strip()
