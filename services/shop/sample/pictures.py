"""The sample shop's product pictures: flat garments in the product's colour."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.shop.sample.catalogue import COLORS, line_of

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

Point = tuple[float, float]
Rgb = tuple[int, int, int]

WIDTH, HEIGHT = 360, 450
_DRAWN_AT = 3  # drawn so much larger and scaled down: smooth edges
_PAPERS = ("#F4F1EC", "#EEF1F0", "#F3EEF0", "#EDF0F4", "#F2F2EA")
_TONES = 48  # colours of a finished file; flat shapes need no more

# Outlines in a box of 100 x 125, the right half only where a garment is symmetrical; they
# are mirrored at x = 50. The first list is the body, further ones are sleeves and legs.
_MIRRORED: dict[str, list[list[Point]]] = {
    "tee": [
        [(50, 30), (59, 27), (74, 33), (90, 52), (80, 60), (72, 52), (72, 98), (50, 98)],
    ],
    "shirt": [
        [(50, 26), (58, 22), (74, 29), (88, 86), (79, 89), (71, 60), (72, 98), (50, 102)],
    ],
    "sweater": [
        [
            (50, 22),
            (58, 22),
            (60, 28),
            (76, 33),
            (92, 88),
            (81, 92),
            (73, 64),
            (74, 100),
            (50, 100),
        ],
    ],
    "jacket": [
        [(50, 30), (58, 20), (76, 28), (90, 92), (80, 95), (73, 62), (76, 106), (50, 106)],
    ],
    "dress": [
        [(50, 32), (60, 20), (66, 22), (66, 38), (61, 56), (64, 64), (80, 110), (50, 113)],
    ],
    "skirt": [
        [(50, 30), (66, 30), (67, 37), (84, 98), (50, 103)],
    ],
    "trousers": [
        [(50, 20), (67, 20), (70, 40), (70, 112), (56, 112), (52, 52), (50, 50)],
    ],
    "shorts": [
        [(50, 34), (70, 34), (78, 86), (55, 88), (52, 66), (50, 64)],
    ],
    "bag": [
        [(50, 52), (76, 52), (81, 100), (50, 100)],
    ],
}

_WHOLE: dict[str, list[list[Point]]] = {
    "shoe": [
        [(14, 66), (34, 60), (42, 68), (58, 76), (80, 80), (88, 88), (86, 93), (14, 93)],
    ],
    "boot": [
        [(26, 30), (52, 30), (51, 66), (62, 76), (82, 82), (86, 92), (84, 97), (26, 97)],
    ],
    "belt": [
        [(10, 58), (90, 54), (90, 66), (10, 70)],
    ],
    "scarf": [
        [(34, 22), (66, 22), (70, 34), (62, 44), (66, 106), (50, 108), (48, 46), (32, 36)],
    ],
}

# Lines drawn over the shape: seams, plackets, soles. Not mirrored.
_SEAMS: dict[str, list[list[Point]]] = {
    "tee": [[(41, 28), (45, 33), (55, 33), (59, 28)]],
    "shirt": [
        [(50, 34), (50, 100)],
        [(42, 23), (50, 34), (58, 23)],
        [(57, 52), (66, 52), (66, 61), (57, 61)],
    ],
    "sweater": [[(42, 28), (58, 28)], [(27, 94), (73, 94)]],
    "jacket": [
        [(50, 56), (50, 105)],
        [(43, 22), (50, 56), (57, 22)],
        [(58, 80), (70, 80)],
        [(30, 80), (42, 80)],
    ],
    "dress": [
        [(39, 57), (61, 57)],
        [(50, 62), (50, 108)],
        [(42, 62), (36, 106)],
        [(58, 62), (64, 106)],
    ],
    "skirt": [
        [(34, 37), (66, 37)],
        [(44, 40), (38, 98)],
        [(50, 40), (50, 100)],
        [(56, 40), (62, 98)],
    ],
    "trousers": [
        [(33, 26), (67, 26)],
        [(50, 26), (50, 48)],
        [(38, 50), (37, 108)],
        [(62, 50), (63, 108)],
    ],
    "shorts": [[(30, 40), (70, 40)], [(50, 40), (50, 62)]],
    "bag": [[(24, 60), (76, 60)]],
    "shoe": [[(14, 87), (87, 87)], [(40, 68), (36, 76)], [(48, 72), (44, 80)]],
    "boot": [[(26, 91), (86, 91)], [(42, 32), (44, 62)]],
    "belt": [[(12, 61), (80, 58)], [(72, 53), (72, 68), (84, 67), (84, 52), (72, 53)]],
    "scarf": [[(36, 34), (62, 43)], [(51, 96), (65, 94)], [(51, 101), (65, 99)]],
}


def picture_name(product: dict[str, Any]) -> str:
    """File name of a product's picture."""
    return f"product-{product['id']}.png"


def write_pictures(folder: Path, products: list[dict[str, Any]]) -> None:
    """Draw one picture per product into a new folder.

    Args:
        folder: is made.
        products: product rows that have a picture of their own.
    """
    from PIL import Image, ImageDraw

    folder.mkdir(parents=True)
    large = (WIDTH * _DRAWN_AT, HEIGHT * _DRAWN_AT)
    for product in products:
        rng = random.Random(product["id"])  # noqa: S311 - tints, not secrets
        paper, main = _rgb(rng.choice(_PAPERS)), _rgb(COLORS[product["color"]])
        image = Image.new("RGB", large, paper)
        _garment(ImageDraw.Draw(image), line_of(product).shape, main, paper)
        small = image.resize((WIDTH, HEIGHT), Image.Resampling.BOX)
        small.quantize(_TONES).save(folder / picture_name(product), optimize=True)


def _garment(draw: ImageDraw, shape: str, main: Rgb, paper: Rgb) -> None:
    shadow = _mix(paper, (0, 0, 0), 0.08)
    draw.ellipse(_scaled([(18, 109), (82, 117)]), fill=shadow)
    # A pale garment needs its edge, a dark one a lighter seam.
    bright = sum(main) > 500
    seam = _mix(main, (0, 0, 0), 0.22) if bright else _mix(main, (255, 255, 255), 0.28)
    edge = _mix(main, (0, 0, 0), 0.16)
    if shape == "bag":
        handle = _scaled([(36, 26), (64, 74)])
        draw.arc(handle, 180, 360, fill=edge, width=round(2.6 * _unit()))
    for outline in _outlines(shape):
        smooth = _rounded(outline)
        draw.polygon(_scaled(smooth), fill=main)
        draw.line(_scaled([*smooth, smooth[0]]), fill=edge, width=round(0.7 * _unit()))
    for line in _SEAMS[shape]:
        draw.line(_scaled(line), fill=seam, width=round(0.7 * _unit()), joint="curve")


def _outlines(shape: str) -> list[list[Point]]:
    if shape in _WHOLE:
        return _WHOLE[shape]
    return [
        half + [(100 - x, y) for x, y in reversed(half) if x != 50] for half in _MIRRORED[shape]
    ]


def _rounded(points: list[Point], times: int = 2) -> list[Point]:
    """Cut the corners of a closed outline (Chaikin), keeping most of its shape."""
    for _ in range(times):
        cut: list[Point] = []
        for here, there in zip(points, [*points[1:], points[0]], strict=True):
            for share in (0.12, 0.88):
                cut.append(
                    (
                        here[0] + (there[0] - here[0]) * share,
                        here[1] + (there[1] - here[1]) * share,
                    )
                )
        points = cut
    return points


def _unit() -> float:
    return WIDTH * _DRAWN_AT / 100


def _scaled(points: list[Point]) -> list[Point]:
    return [(x * _unit(), y * _unit()) for x, y in points]


def _rgb(text: str) -> Rgb:
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def _mix(one: Rgb, other: Rgb, share: float) -> Rgb:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue
