"""The sample shop's people and what they did: ninety days of orders, carts and reviews."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

Row = dict[str, Any]

USERS = 60
ORDERS = 300
DAYS = 90
DOMAIN = "example.org"
"""Reserved for examples: no message can reach anybody."""

_FIRST = ("Ada", "Bela", "Carla", "Dino", "Elif", "Femi", "Greta", "Hugo", "Ines", "Jonas", "Kaja",
          "Liam", "Mira", "Noor", "Otto", "Pia", "Quim", "Rosa", "Sami", "Tove")  # fmt: skip
_LAST = ("Abel", "Brandt", "Costa", "Dufour", "Eriksen", "Fontana", "Garcia", "Hansen", "Ito",
         "Jensen", "Kowalski", "Lindqvist")  # fmt: skip
_PLACES = (
    ("Portland", "OR", "97205"),
    ("Austin", "TX", "78701"),
    ("Madison", "WI", "53703"),
    ("Savannah", "GA", "31401"),
    ("Boulder", "CO", "80302"),
    ("Ithaca", "NY", "14850"),
)
_STREETS = ("Alder Street", "Bay Road", "Cedar Lane", "Dock Square", "Elm Court", "Ferry Way")
_CARRIERS = ("UPS", "FedEx", "USPS")
_COMMENTS = (
    "Fits as described and feels better than expected.",
    "The colour is a little deeper than on my screen, which I like.",
    "Good cloth. I would take one size down next time.",
    "Arrived quickly; has already survived three washes.",
    "Nice cut, but the sleeves are long on me.",
    "My favourite of the season.",
    "Does what it should. Nothing more, nothing less.",
)
# Monday to Sunday: quiet in the middle of the week, busy from Friday evening on.
_WEEKDAYS = (1.0, 0.8, 0.75, 0.9, 1.2, 1.6, 1.75)
_TAX = 0.08
_SHIPPING = 5
_FREE_FROM = 120


def users(rng: random.Random, now: datetime) -> list[Row]:
    """Sixty customers; the first is the one administrator. Nobody has a password."""
    rows = []
    for number in range(1, USERS + 1):
        first, last = _FIRST[number % len(_FIRST)], _LAST[(number * 7) % len(_LAST)]
        joined = now - timedelta(days=rng.randint(DAYS + 5, 700), seconds=rng.randint(0, 86_399))
        rows.append(
            {
                "id": number,
                "email": f"{first}.{last}.{number}@{DOMAIN}".lower(),
                "password_hash": None,
                "first_name": first,
                "last_name": last,
                "is_verified": number == 1 or rng.random() < 0.85,
                "is_admin": number == 1,
                "is_superadmin": number == 1,
                "google_id": f"sample-google-{number}" if number % 11 == 0 else None,
                "created_at": joined,
                "updated_at": joined,
            }
        )
    return rows


def orders(
    rng: random.Random, now: datetime, people: list[Row], goods: list[Row]
) -> tuple[list[Row], list[Row]]:
    """Three hundred orders over the last ninety days, and what was in them."""
    weights = [
        _WEEKDAYS[(now - timedelta(days=ago)).weekday()] * (1.15 - ago / (DAYS * 2))
        for ago in range(DAYS)
    ]
    # The first thirty are one every three days, so that no stretch of the chart is empty.
    days = [3 * n + 1 for n in range(30)] + rng.choices(range(DAYS), weights, k=ORDERS - 30)
    moments = sorted(
        now - timedelta(days=ago, seconds=rng.randint(1, 80_000), microseconds=rng.randint(0, 999))
        for ago in days
    )
    made: list[Row] = []
    items: list[Row] = []
    for number, moment in enumerate(moments, start=1):
        basket = rng.sample(goods, rng.choices((1, 2, 3, 4), (45, 33, 16, 6))[0])
        subtotal = 0.0
        for product in basket:
            quantity = rng.choices((1, 2, 3), (85, 12, 3))[0]
            subtotal += quantity * product["price"]
            items.append(
                {
                    "id": len(items) + 1,
                    "order_id": number,
                    "product_id": product["id"],
                    "quantity": quantity,
                    "price": product["price"],
                }
            )
        made.append(_order(rng, now, number, moment, people, subtotal))
    return made, items


def _order(
    rng: random.Random,
    now: datetime,
    number: int,
    moment: datetime,
    people: list[Row],
    subtotal: float,
) -> Row:
    guest = rng.random() < 0.14
    person = None if guest else rng.choice(people[1:])
    city, state, code = rng.choice(_PLACES)
    shipping = 0 if subtotal >= _FREE_FROM else _SHIPPING
    tax = subtotal * _TAX  # not rounded, as the shop writes it
    name = f"{person['first_name']} {person['last_name']}" if person else "Guest"
    return {
        "id": number,
        "order_number": f"ORD-{moment:%Y%m%d}-{rng.getrandbits(32):08X}",
        "user_id": person["id"] if person else None,
        "guest_email": None if person else f"guest.{number}@{DOMAIN}",
        "shipping_name": name,
        "shipping_address": f"{rng.randint(1, 240)} {rng.choice(_STREETS)}",
        "shipping_city": city,
        "shipping_state": state,
        "shipping_zip": code,
        "shipping_country": "USA",
        "shipping_phone": None,
        "subtotal": subtotal,
        "tax": tax,
        "shipping_cost": shipping,
        "total": subtotal + tax + shipping,
        "currency": "USD",
        "status": _status(rng, (now - moment).total_seconds() / 86_400),
        "created_at": moment,
        "updated_at": min(now, moment + timedelta(hours=rng.randint(1, 96))),
    }


def _status(rng: random.Random, age_days: float) -> str:
    if rng.random() < 0.05:
        return "cancelled"
    if age_days < 1:
        return rng.choice(("pending", "pending", "processing"))
    if age_days < 3:
        return rng.choice(("processing", "processing", "shipped"))
    if age_days < 8:
        return rng.choice(("shipped", "shipped", "delivered"))
    return "delivered"


def payments(rng: random.Random, rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """What was paid, and the shop's log of every try; one in twenty fails first."""
    paid: list[Row] = []
    tried: list[Row] = []
    for order in rows:
        if order["status"] == "pending":
            continue
        transaction = f"TXN-{order['created_at']:%Y%m%d%H%M%S}-{rng.getrandbits(32):08X}"
        common = {
            "order_id": order["id"],
            "payment_method": rng.choices(("stripe", "paypal"), (80, 20))[0],
            "amount": round(order["total"], 2),
            "currency": "USD",
            "created_at": order["created_at"] + timedelta(seconds=2),
            "updated_at": order["created_at"] + timedelta(seconds=3),
        }
        done = "refunded" if order["status"] == "cancelled" else "completed"
        if rng.random() < 0.05:
            tried.append(
                _try(len(tried) + 1, common, order, "failed", None, "The card was declined.")
            )
        paid.append({**common, "id": len(paid) + 1, "status": done, "transaction_id": transaction})
        tried.append(_try(len(tried) + 1, common, order, done, transaction, None))
    return paid, tried


def _try(
    number: int, common: Row, order: Row, status: str, transaction: str | None, error: str | None
) -> Row:
    return {
        **common,
        "id": number,
        "user_id": order["user_id"],
        "status": status,
        "transaction_id": transaction,
        "request_data": json.dumps({"order_id": order["id"], "sample": True}),
        "response_data": json.dumps({"status": status, "sample": True}),
        "error_message": error,
        "ip_address": "192.0.2.10",  # reserved for documentation
        "user_agent": "sample",
    }


def shipments(rng: random.Random, rows: list[Row]) -> list[Row]:
    """One parcel for every order that left the house."""
    made: list[Row] = []
    for order in rows:
        if order["status"] not in ("shipped", "delivered"):
            continue
        left = order["created_at"] + timedelta(hours=rng.randint(10, 40))
        arrived = left + timedelta(hours=rng.randint(30, 110))
        delivered = order["status"] == "delivered"
        address = {
            name: order[name]
            for name in order
            if name.startswith("shipping_")
            and name not in ("shipping_name", "shipping_phone", "shipping_cost")
        }
        made.append(
            {
                **address,
                "id": len(made) + 1,
                "tracking_number": f"TRK{left:%Y%m%d}{rng.getrandbits(32):08X}",
                "order_id": order["id"],
                "carrier": rng.choice(_CARRIERS),
                "status": "delivered" if delivered else "in_transit",
                "estimated_delivery": left + timedelta(days=4),
                "delivered_at": arrived if delivered else None,
                "created_at": left,
                "updated_at": arrived if delivered else left,
            }
        )
    return made


def returns(rng: random.Random, rows: list[Row], items: list[Row]) -> list[Row]:
    """A few things that came back."""
    delivered = {row["id"]: row for row in rows if row["status"] == "delivered"}
    back = [item for item in items if item["order_id"] in delivered and rng.random() < 0.04]
    made: list[Row] = []
    for item in back:
        order = delivered[item["order_id"]]
        at = order["created_at"] + timedelta(days=6, minutes=rng.randint(0, 900))
        made.append(
            {
                "id": len(made) + 1,
                "return_number": f"RMA-{at:%Y%m%d}-{rng.getrandbits(32):08X}",
                "order_id": order["id"],
                "order_item_id": item["id"],
                "user_id": order["user_id"],
                "guest_email": order["guest_email"],
                "reason": rng.choice(("Wrong Size", "Not as Expected", "Changed Mind")),
                "status": rng.choice(("approved", "processed")),
                "return_label_url": None,
                "created_at": at,
                "updated_at": at,
            }
        )
    return made


def carts(rng: random.Random, now: datetime, people: list[Row], variants: list[Row]) -> list[Row]:
    """What lies in the carts of a third of the customers."""
    made: list[Row] = []
    for person in people[1::3]:
        for variant in rng.sample(variants, rng.randint(1, 3)):
            at = now - timedelta(hours=rng.randint(1, 400))
            made.append(
                {
                    "id": len(made) + 1,
                    "user_id": person["id"],
                    "product_id": variant["product_id"],
                    "variation_id": variant["id"],
                    "quantity": rng.choice((1, 1, 1, 2)),
                    "selected_color": variant["color"],
                    "selected_size": variant["size"],
                    "created_at": at,
                    "updated_at": at,
                }
            )
    return made


def wishlists(rng: random.Random, now: datetime, people: list[Row], goods: list[Row]) -> list[Row]:
    """What half of the customers keep for later."""
    made: list[Row] = []
    for person in people[1::2]:
        for product in rng.sample(goods, rng.randint(1, 4)):
            made.append(
                {
                    "id": len(made) + 1,
                    "user_id": person["id"],
                    "product_id": product["id"],
                    "price_when_added": product["price"],
                    "was_out_of_stock": product["stock_quantity"] == 0,
                    "created_at": now - timedelta(hours=rng.randint(1, 2_000)),
                }
            )
    return made


def reviews(
    rng: random.Random, now: datetime, people: list[Row], rows: list[Row], items: list[Row]
) -> list[Row]:
    """What buyers said of what they got; every review belongs to a delivered order."""
    by_person = {person["id"]: person for person in people}
    by_order = {row["id"]: row for row in rows if row["status"] == "delivered" and row["user_id"]}
    made: list[Row] = []
    for item in items:
        order = by_order.get(item["order_id"])
        if order is None or rng.random() > 0.25:
            continue
        at = min(now, order["created_at"] + timedelta(days=rng.randint(7, 20)))
        made.append(
            {
                "id": len(made) + 1,
                "product_id": item["product_id"],
                "user_id": order["user_id"],
                "rating": rng.choices((5, 4.5, 4, 3, 2), (35, 20, 28, 12, 5))[0],
                "comment": rng.choice(_COMMENTS),
                "user_name": by_person[order["user_id"]]["first_name"],
                "created_at": at,
                "updated_at": at,
            }
        )
    return made


def rate(goods: list[Row], opinions: Iterable[Row]) -> None:
    """Write the mean rating and the number of reviews into the products."""
    given: dict[int, list[float]] = {}
    for opinion in opinions:
        given.setdefault(opinion["product_id"], []).append(opinion["rating"])
    for product in goods:
        ratings = given.get(product["id"], [])
        product["review_count"] = len(ratings)
        product["rating"] = round(sum(ratings) / len(ratings), 2) if ratings else 0


def odds_and_ends(now: datetime) -> dict[str, list[Row]]:
    """The running sale and the assistant's settings (no key in them)."""
    start = (now - timedelta(days=5)).date()
    times = {"created_at": now - timedelta(days=6), "updated_at": now - timedelta(days=6)}
    providers = (("anthropic", "Anthropic"), ("openai", "OpenAI"), ("gemini", "Gemini"))
    return {
        "sales": [
            {
                "id": 1,
                "name": "Mid-season sale",
                "description": "Selected pieces for three weeks.",
                "sale_type": "seasonal",
                "event_name": None,
                "discount_percentage": 15,
                "start_date": start,
                "end_date": start + timedelta(days=21),
                "product_filters": json.dumps({"category": "women"}),
                "is_active": True,
                "auto_activate": True,
                **times,
            }
        ],
        "ai_assistant_configs": [
            {
                "id": number,
                "provider": provider,
                "name": name,
                "sdk": "REST API",
                "api_key": None,
                "source": "env",
                "is_valid": False,
                "is_enabled": False,
                **times,
            }
            for number, (provider, name) in enumerate(providers, start=1)
        ],
        "ai_selected_provider": [{"id": 1, "provider": "auto", "updated_at": now}],
    }
