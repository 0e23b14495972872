"""What the sample shop sells: two hundred products put together from lines and colours."""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

PRODUCTS = 200

COLORS = {
    "Ink Navy": "#22304A",
    "Chalk White": "#F1EFEA",
    "Oatmeal": "#D9CBB2",
    "Soot Black": "#24242A",
    "Moss Green": "#5F6B45",
    "Brick Rust": "#A9583A",
    "Fog Gray": "#A4A9AE",
    "Plum Wine": "#5E2A3E",
    "Blush Pink": "#E3B8B2",
    "Sky Blue": "#8FB4D1",
    "Honey Mustard": "#CF9B32",
    "Camel Tan": "#B98C5A",
}
"""Colours of the house and how they are painted."""


@dataclass(frozen=True)
class Line:
    """One kind of garment that the shop carries."""

    noun: str
    category: str  # the shop's clothing_category
    shape: str  # how its picture is drawn
    fabrics: tuple[str, ...]
    prices: tuple[int, int]
    season: str
    occasion: str
    sizes: tuple[str, ...]
    who: tuple[str, ...]
    words: tuple[str, ...]
    use: str
    dress_style: str | None = None


_LETTERS = ("XS", "S", "M", "L", "XL")
_WAISTS = ("26", "28", "30", "32", "34")
_FEET = ("37", "38", "39", "40", "41", "42", "43")
_CHILD = ("104", "116", "128", "140")
_ADULTS = ("women", "men")
_ALL = ("women", "men", "kids")

LINES = (
    Line("Roll-Neck Sweater", "sweaters", "sweater", ("Wool", "Cashmere"), (48, 139), "fall,winter",
         "casual,business_casual", _LETTERS, _ALL, ("Ribbed", "Fine-Gauge", "Chunky"),
         "A steady layer from the first cold morning on."),
    Line("Cardigan", "sweaters", "sweater", ("Wool", "Blend", "Cotton"), (45, 98), "fall,spring",
         "casual,business_casual", _LETTERS, _ALL, ("Buttoned", "Long", "Boxy"),
         "Goes over everything and never looks fussy."),
    Line("Chinos", "pants", "trousers", ("Cotton", "Blend"), (39, 79), "all_season",
         "business_casual,casual", _WAISTS, _ADULTS, ("Slim", "Straight", "Pleated"),
         "Neat enough for a desk and easy enough for a walk."),
    Line("Jeans", "pants", "trousers", ("Denim",), (49, 95), "all_season", "casual", _WAISTS, _ALL,
         ("Straight", "Wide-Leg", "Tapered"), "Firm denim that gets better with every month."),
    Line("Corduroy Trousers", "pants", "trousers", ("Corduroy",), (55, 89), "fall,winter",
         "casual,date_night", _WAISTS, _ADULTS, ("Soft", "Wide-Wale", "Cropped"),
         "Warm ridges for the short days."),
    Line("Oxford Shirt", "shirts", "shirt", ("Cotton",), (35, 75), "all_season",
         "business_casual,business_formal", _LETTERS, _ALL, ("Classic", "Washed", "Easy-Iron"),
         "The collar holds its line under a knit."),
    Line("Linen Shirt", "shirts", "shirt", ("Linen",), (42, 82), "spring,summer",
         "casual,summer", _LETTERS, _ADULTS, ("Airy", "Relaxed", "Band-Collar"),
         "Light cloth that lets the breeze through."),
    Line("Silk Blouse", "shirts", "shirt", ("Silk", "Satin"), (69, 145), "all_season",
         "business_formal,date_night", _LETTERS, ("women",), ("Tie-Neck", "Fluid", "Pintucked"),
         "Moves softly and tucks in without a bulge."),
    Line("Tee", "t_shirts", "tee", ("Cotton", "Jersey"), (15, 35), "all_season", "casual",
         _LETTERS, _ALL, ("Heavyweight", "Striped", "Pocket"),
         "A good plain start for almost any outfit."),
    Line("Polo", "t_shirts", "tee", ("Cotton", "Jersey"), (29, 59), "spring,summer",
         "casual,business_casual", _LETTERS, ("men", "kids"), ("Piqué", "Knitted", "Tipped"),
         "Tidy without a jacket."),
    Line("Wrap Dress", "dresses", "dress", ("Jersey", "Blend"), (65, 119), "all_season",
         "business_casual,date_night", _LETTERS, ("women",), ("Printed", "Long-Sleeve", "Soft"),
         "Ties at the side and adjusts with you.", "wrap"),
    Line("Midi Dress", "dresses", "dress", ("Cotton", "Linen", "Satin"), (59, 129),
         "spring,summer", "wedding,brunch_weekend", _LETTERS, ("women", "kids"),
         ("Tiered", "Square-Neck", "Belted"), "Swings below the knee and packs small.", "midi"),
    Line("Evening Dress", "dresses", "dress", ("Velvet", "Satin"), (99, 219), "all_season",
         "evening_cocktail,wedding", _LETTERS, ("women",), ("Draped", "Slip", "Off-Shoulder"),
         "For the invitations that ask for more.", "maxi"),
    Line("Pleated Skirt", "skirts", "skirt", ("Blend", "Polyester"), (39, 85), "all_season",
         "business_casual,casual", _LETTERS, ("women", "kids"), ("Knife", "Box", "Sunray"),
         "The pleats stay in, the waist stays flat."),
    Line("Shorts", "shorts", "shorts", ("Cotton", "Linen"), (25, 55), "spring,summer",
         "casual,outdoor_active", _WAISTS, _ALL, ("Drawstring", "Tailored", "Cargo"),
         "Made for the warm half of the year."),
    Line("Blazer", "jackets", "jacket", ("Wool", "Tweed", "Linen"), (119, 249), "all_season",
         "business_formal,interview", _LETTERS, _ADULTS, ("Unlined", "Double-Breasted", "Soft"),
         "Sharp at the shoulder, calm everywhere else."),
    Line("Rain Jacket", "jackets", "jacket", ("Polyester",), (79, 159), "spring,fall",
         "outdoor_active,travel", _LETTERS, _ALL, ("Hooded", "Packable", "Seam-Sealed"),
         "Keeps the weather out and folds into its pocket."),
    Line("Wool Coat", "jackets", "jacket", ("Wool", "Cashmere"), (149, 329), "fall,winter",
         "winter,business_formal", _LETTERS, _ADULTS, ("Belted", "Single-Breasted", "Cocoon"),
         "The last layer, and the one people see first."),
    Line("Leather Trainers", "shoes", "shoe", ("Leather",), (69, 129), "all_season", "casual",
         _FEET, _ALL, ("Low", "Cupsole", "Retro"), "Clean lines that clean easily too."),
    Line("Loafers", "shoes", "shoe", ("Leather", "Suede"), (89, 169), "all_season",
         "business_casual,business_formal", _FEET, _ADULTS, ("Penny", "Tassel", "Soft"),
         "Slip in, look settled."),
    Line("Ankle Boots", "shoes", "boot", ("Leather", "Suede"), (99, 189), "fall,winter",
         "casual,winter", _FEET, _ADULTS, ("Chelsea", "Lace-Up", "Block-Heel"),
         "Sure on wet pavement, smart at the table."),
    Line("Belt", "other", "belt", ("Leather",), (25, 55), "all_season", "casual,business_casual",
         ("85", "95", "105"), _ADULTS, ("Slim", "Woven", "Reversible"),
         "Finishes the line between two halves."),
    Line("Scarf", "other", "scarf", ("Wool", "Cashmere", "Silk"), (25, 89), "fall,winter",
         "winter,casual", ("One Size",), _ALL, ("Fringed", "Checked", "Light"),
         "Brings colour where it is seen most."),
    Line("Tote Bag", "other", "bag", ("Canvas", "Leather"), (35, 149), "all_season",
         "casual,travel", ("One Size",), ("women", "men"), ("Everyday", "Market", "Structured"),
         "Holds a laptop, a loaf and a spare jumper."),
)  # fmt: skip

_BRANDS = ("Harbour & Pine", "Lund Atelier", "Quiet Thread", "Maison Ode", "Field Row")
_OPENINGS = (
    "Cut with room to move",
    "Made in small runs",
    "Finished by hand",
    "Softened in a wash",
    "Woven for years of wear",
)
_IMAGES = 40
"""So many products have a picture of their own; the others show that of a sibling."""


def products(rng: random.Random, now: datetime) -> list[dict[str, Any]]:
    """Two hundred product rows, ids from 1.

    Args:
        rng: decides everything; the same seed gives the same shop.
        now: naive UTC; products were added over the two years before.
    """
    # One of each line first, so that every kind of garment is among those with a picture.
    wanted = [
        (line, line.who[turn])
        for turn in range(len(_ALL))
        for line in LINES
        if turn < len(line.who)
    ]
    rows = []
    for number in range(1, PRODUCTS + 1):
        line, who = wanted[(number - 1) % len(wanted)]
        rows.append(_product(rng, now, number, line, who))
    _borrow_pictures(rows)
    return rows


def line_of(row: dict[str, Any]) -> Line:
    """The line that a product row was made from."""
    return next(line for line in LINES if line.noun == row["clothing_type"])


def _product(
    rng: random.Random, now: datetime, number: int, line: Line, who: str
) -> dict[str, Any]:
    colors = rng.sample(list(COLORS), rng.randint(2, 4))
    offered = _CHILD if who == "kids" and line.sizes in (_LETTERS, _WAISTS) else line.sizes
    start = rng.randint(0, max(0, len(offered) - 4))
    sizes = list(offered[start : start + 4])
    stock = {size: rng.choice((0, 2, 3, 5, 8, 12, 15)) for size in sizes}
    fabric = rng.choice(line.fabrics)
    name = f"{rng.choice(line.words)} {line.noun}"
    added = now - timedelta(days=rng.randint(95, 720), seconds=rng.randint(0, 86_399))
    low, high = line.prices
    price = rng.randint(low, high) * (0.7 if who == "kids" else 1.0)
    text = (
        f"{rng.choice(_OPENINGS)} in {colors[0].lower()} {fabric.lower()}. {line.use} "
        f"For {who}, in {len(sizes)} {'size' if len(sizes) == 1 else 'sizes'}."
    )
    on_sale = rng.random() < 0.12
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower().replace("é", "e")).strip("-")
    return {
        "id": number,
        "name": name,
        "description": text,
        # A third of all prices are whole numbers, as in the real shop.
        "price": round(price + rng.choice((0, 0.5, 0.99)), 2),
        "category": who,
        "color": colors[0],
        "size": sizes[0],
        "available_colors": json.dumps(colors),
        "available_sizes": json.dumps(sizes),
        "size_stock": json.dumps(stock),
        "fabric": fabric,
        "clothing_type": line.noun,
        "clothing_category": line.category,
        "dress_style": line.dress_style,
        "occasion": line.occasion,
        "age_group": "child" if who == "kids" else rng.choice(("all", "all", "young_adult")),
        "season": line.season,
        "brand": "other",
        "brand_other": rng.choice(_BRANDS),
        "image_url": None,
        "images_by_color": None,
        "stock_quantity": sum(stock.values()),
        "is_active": True,
        "sale_enabled": on_sale,
        "sale_start": (now - timedelta(days=5)).date() if on_sale else None,
        "sale_end": (now + timedelta(days=16)).date() if on_sale else None,
        "sale_percentage": rng.choice((10, 15, 20, 30)) if on_sale else None,
        "rating": 0,
        "review_count": 0,
        "slug": f"{slug}-{number}",
        "meta_title": None,
        "meta_description": None,
        "created_at": added,
        "updated_at": added,
    }


def _borrow_pictures(rows: list[dict[str, Any]]) -> None:
    own = rows[:_IMAGES]
    by_kind = {row["clothing_type"]: row["id"] for row in reversed(own)}
    for row in rows:
        picture = row["id"] if row["id"] <= _IMAGES else by_kind.get(row["clothing_type"])
        if picture is not None:
            row["image_url"] = f"/api/images/product-{picture}.png"
            row["images_by_color"] = json.dumps({row["color"]: row["image_url"]})


def pictured(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The products that have a picture of their own."""
    return rows[:_IMAGES]


def variations(rng: random.Random, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every size in every colour, with its stock."""
    made: list[dict[str, Any]] = []
    for row in rows:
        colors = json.loads(row["available_colors"])
        for size, stock in json.loads(row["size_stock"]).items():
            left = stock
            for color in colors:
                here = left if color == colors[-1] else rng.randint(0, left)
                left -= here
                made.append(
                    {
                        "id": len(made) + 1,
                        "product_id": row["id"],
                        "size": size,
                        "color": color,
                        "stock_quantity": here,
                        "sku": f"SKU-{row['id']}-{size}-{color}".replace(" ", "-"),
                        "created_at": row["created_at"],
                        "updated_at": row["updated_at"],
                    }
                )
    return made


def relations(rng: random.Random, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Products that go together: the same wearer, another kind of garment."""
    made: list[dict[str, Any]] = []
    for row in rows[::4]:
        others = [
            other["id"]
            for other in rows
            if other["category"] == row["category"]
            and other["clothing_category"] != row["clothing_category"]
        ]
        for other in sorted(rng.sample(others, 2)):
            made.append(
                {
                    "id": len(made) + 1,
                    "product_id": row["id"],
                    "related_product_id": other,
                    "is_fashion_match": True,
                    "match_score": round(rng.uniform(0.55, 0.97), 3),
                    "created_at": row["created_at"],
                }
            )
    return made
