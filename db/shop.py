"""What the desk knows of the shop's own schema: as little as it can."""

from __future__ import annotations

SHOP_TABLES = frozenset({"users", "products", "orders", "order_items"})
"""What makes a database this shop's."""

HEADLINE_TABLES = ("orders", "products", "users")
"""What people look for first when they ask what a snapshot holds."""
