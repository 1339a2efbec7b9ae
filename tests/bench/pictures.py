"""Charts as SVG, in colours that can be read on white and on black."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

WIDTH: Final = 760
HEIGHT: Final = 400
LEFT, RIGHT, TOP, BOTTOM = 64, 110, 52, 52
COLOURS: Final = ("#2f81f7", "#db6d28", "#2da44e", "#a371f7")
OURS: Final = COLOURS[0]
OTHERS: Final = "#8b949e"
STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#7d8590}.title{font-size:16px;font-weight:600}"
    ".grid{stroke:#7d8590;stroke-opacity:.25}.line{fill:none;stroke-width:2.5}"
)
LABEL_HEIGHT: Final = 16.0
BAR: Final = 26
BAR_LEFT: Final = 170


@dataclass
class Svg:
    """A picture in the making."""

    width: int
    height: int
    title: str
    _parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, text: str, **attributes: str) -> None:
        self._parts.append(f'<text x="{x:.1f}" y="{y:.1f}"{_attributes(attributes)}>{escape(text)}</text>')

    def add(self, name: str, **attributes: str) -> None:
        self._parts.append(f"<{name}{_attributes(attributes)}/>")

    def __str__(self) -> str:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" role="img"'
            f' aria-label="{escape(self.title)}">'
        )
        return "\n".join([head, f"<style>{STYLE}</style>", *self._parts, "</svg>\n"])


@dataclass(frozen=True)
class Axis:
    """From values to places on the picture; logarithmic from the first power of ten below the least value."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = self.low, self.high, value
        if self.logarithmic:
            low, high, at = math.log10(low), math.log10(high), math.log10(max(value, low))
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> Iterator[float]:
        if self.logarithmic:
            for power in range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1):
                yield from (10.0**power * step for step in (1, 2, 5) if self.low <= 10.0**power * step <= self.high)
            return
        rough = (self.high - self.low) / 5
        step = next(
            10.0 ** math.floor(math.log10(rough)) * nice
            for nice in (1, 2, 5, 10)
            if 10.0 ** math.floor(math.log10(rough)) * nice >= rough
        )
        yield from (number * step for number in range(int(self.high / step) + 1))


def lines(
    title: str,
    labels: tuple[str, str],
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    logarithmic: bool = False,
    none_at: float | None = None,
) -> str:
    """Lines over a logarithmic axis, each with its name at its end. `none_at` is where x = 0 is shown, as "none"."""
    svg = _titled(WIDTH, HEIGHT, title)
    points = {name: [(x or none_at or x, y) for x, y in line] for name, line in series.items()}
    xs = [x for line in points.values() for x, _ in line]
    ys = [y for line in points.values() for _, y in line]
    across = Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT, logarithmic=True)
    up = Axis(min(ys) * 0.8 if logarithmic else 0, max(ys) * 1.1, HEIGHT - BOTTOM, TOP, logarithmic=logarithmic)
    for value in up.ticks():
        svg.add(
            "line",
            x1=f"{LEFT}",
            x2=f"{WIDTH - RIGHT}",
            y1=f"{up(value):.1f}",
            y2=f"{up(value):.1f}",
            **{"class": "grid"},
        )
        svg.text(LEFT - 8, up(value) + 4, _short(value), **{"text-anchor": "end"})
    for value in sorted(set(xs)):
        name = "none" if value == none_at else _short(value)
        svg.text(across(value), HEIGHT - BOTTOM + 20, name, **{"text-anchor": "middle"})
    svg.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, labels[0], **{"text-anchor": "middle"})
    svg.text(LEFT - 48, TOP - 14, labels[1])
    _draw(svg, points, across, up)
    return str(svg)


def bars(title: str, label: str, values: Sequence[tuple[str, float, float, float]], ours: str) -> str:
    """A bar for each name: its median, and a mark from the least to the most."""
    height = TOP + len(values) * (BAR + 10) + 34
    svg = _titled(WIDTH, height, title)
    across = Axis(0, max(most for *_, most in values) * 1.02, BAR_LEFT, WIDTH - RIGHT)
    for number, (name, value, least, most) in enumerate(values):
        y = TOP + number * (BAR + 10)
        svg.text(BAR_LEFT - 10, y + BAR / 2 + 5, name, **{"text-anchor": "end"})
        svg.add(
            "rect", x=f"{BAR_LEFT}", y=f"{y}", width=f"{across(value) - BAR_LEFT:.1f}", height=f"{BAR}", rx="3",
            fill=OURS if name == ours else OTHERS,
        )  # fmt: skip
        middle = f"{y + BAR / 2}"
        svg.add(
            "line", x1=f"{across(least):.1f}", x2=f"{across(most):.1f}", y1=middle, y2=middle, stroke="#57606a",
            **{"stroke-width": "2"},
        )  # fmt: skip
        svg.text(across(most) + 8, y + BAR / 2 + 5, _short(value))
    svg.text((BAR_LEFT + WIDTH - RIGHT) / 2, height - 8, label, **{"text-anchor": "middle"})
    return str(svg)


def _titled(width: int, height: int, title: str) -> Svg:
    svg = Svg(width, height, title)
    svg.text(16, 24, title, **{"class": "title"})
    return svg


def _draw(svg: Svg, points: Mapping[str, Sequence[tuple[float, float]]], across: Axis, up: Axis) -> None:
    lowest = math.inf
    # From the bottom up, so that names that would meet move upwards.
    for number, (name, line) in sorted(enumerate(points.items()), key=lambda each: each[1][1][-1][1]):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in line)
        svg.add("polyline", points=path, stroke=colour, **{"class": "line"})
        for x, y in line:
            svg.add("circle", cx=f"{across(x):.1f}", cy=f"{up(y):.1f}", r="3.5", fill=colour)
        lowest = min(up(line[-1][1]) + 4, lowest - LABEL_HEIGHT)
        svg.text(across(line[-1][0]) + 10, lowest, name, style=f"fill:{colour};font-weight:600")


def _short(value: float) -> str:
    if value >= 1_000_000:
        return f"{value / 1_000_000:g}M"
    return f"{value / 1000:.3g}k" if value >= 1000 else f"{value:.3g}"


def _attributes(attributes: Mapping[str, str]) -> str:
    return "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
