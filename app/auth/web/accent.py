"""A tenant's accent colour as a style sheet: shades that can be read, in light and dark. Pure.

The colour is six hex digits and nothing else reaches the sheet, so none can carry CSS of its own.
Contrast follows WCAG 2.2: 4.5:1 for words, and for words on the fill of a button.
"""

from __future__ import annotations

import re

_HEX = re.compile(r"[0-9a-f]{6}\Z")
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_SURFACE = {"light": (245, 246, 246), "dark": (32, 42, 48)}
_TEXT = 4.5
_STEPS = 50

Colour = tuple[int, int, int]


def parse(text: str) -> Colour | None:
    """Return the colour that six hex digits stand for, or None."""
    if not _HEX.match(text):
        return None
    return int(text[:2], 16), int(text[2:4], 16), int(text[4:], 16)


def stylesheet(accent: Colour) -> str:
    """Return the variables of `iam.css` that depend on the accent."""
    dark = f"@media (prefers-color-scheme: dark) {{\n{_rule(accent, 'dark')}}}\n"
    return _rule(accent, "light") + dark


def contrast(one: Colour, other: Colour) -> float:
    """Return the contrast of two colours, from 1 to 21 (WCAG 2.2)."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def readable(colour: Colour, ground: Colour) -> Colour:
    """Return the shade of a colour nearest to it that can be read on a ground."""
    pole = _BLACK if contrast(_BLACK, ground) > contrast(_WHITE, ground) else _WHITE
    for step in range(_STEPS + 1):
        found = _mix(colour, pole, step / _STEPS)
        if contrast(found, ground) >= _TEXT:
            return found
    return pole


def _rule(accent: Colour, scheme: str) -> str:
    ground = _SURFACE[scheme]
    fill = readable(accent, ground)
    on_fill = _WHITE if contrast(_WHITE, fill) >= _TEXT else _BLACK
    soft = _mix(ground, fill, 0.12)
    values = {
        "accent": fill,
        "accent-strong": _mix(fill, _BLACK if scheme == "light" else _WHITE, 0.2),
        "on-accent": on_fill,
        "accent-soft": soft,
        "link": readable(fill, soft),
        "focus": fill,
    }
    lines = "".join(f"  --iam-{name}: {_hex(value)};\n" for name, value in values.items())
    return f":root {{\n{lines}}}\n"


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _luminance(colour: Colour) -> float:
    parts = [value / 255 for value in colour]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _hex(colour: Colour) -> str:
    return "#" + "".join(f"{value:02x}" for value in colour)
