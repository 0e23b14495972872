"""The shop's own sixteen tables, for the sample shop alone.

The desk never uses these to read or migrate a real shop: a real one may have other columns.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Date,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()


def _money(name: str, *, empty: bool = False, digits: int = 10) -> Column[Any]:
    return Column(name, Numeric(digits, 2, asdecimal=False), nullable=empty)


def _needed(name: str, kind: Any, **options: Any) -> Column[Any]:
    return Column(name, kind, nullable=False, **options)


def _times(*, index: bool = False) -> tuple[Column[Any], Column[Any]]:
    return _needed("created_at", DateTime, index=index), _needed("updated_at", DateTime)


def _key() -> Column[Any]:
    return Column("id", Integer, primary_key=True)


def _refers(name: str, target: str, *, empty: bool = False, **options: Any) -> Column[Any]:
    ondelete = options.pop("ondelete", None)
    return Column(name, ForeignKey(target, ondelete=ondelete), nullable=empty, **options)


def _address() -> list[Column[Any]]:
    return [
        _needed("shipping_address", Text),
        _needed("shipping_city", String(100)),
        _needed("shipping_state", String(100)),
        _needed("shipping_zip", String(20)),
        _needed("shipping_country", String(100)),
    ]


users = Table(
    "users",
    metadata,
    _key(),
    _needed("email", String(255), unique=True, index=True),
    Column("password_hash", String(255)),
    _needed("first_name", String(100)),
    _needed("last_name", String(100)),
    _needed("is_verified", Boolean),
    _needed("is_admin", Boolean, index=True),
    _needed("is_superadmin", Boolean, index=True),
    Column("verification_token", String(255)),
    Column("verification_token_expires", DateTime),
    Column("reset_token", String(255)),
    Column("reset_token_expires", DateTime),
    Column("google_id", String(255), unique=True, index=True),
    Column("facebook_id", String(255), unique=True, index=True),
    Column("profile_picture", String(500)),
    *_times(),
)

products = Table(
    "products",
    metadata,
    _key(),
    _needed("name", String(255), index=True),
    Column("description", Text),
    _money("price"),
    _needed("category", String(50), index=True),
    Column("color", String(50), index=True),
    Column("size", String(20)),
    Column("available_colors", Text),  # JSON: ["Navy", "Cream"]
    Column("available_sizes", Text),  # JSON: ["S", "M"]
    Column("size_stock", Text),  # JSON: {"S": 3, "M": 0}
    Column("fabric", String(100), index=True),
    Column("clothing_type", String(100), index=True),
    _needed("clothing_category", String(50), index=True),
    Column("dress_style", String(100), index=True),
    Column("occasion", String(100), index=True),
    Column("age_group", String(50), index=True),
    _needed("season", String(20), index=True),
    _needed("brand", String(50), index=True),
    Column("brand_other", String(255)),
    Column("image_url", String(500)),
    Column("images_by_color", Text),  # JSON: {"Navy": "/api/images/..."}
    _needed("stock_quantity", Integer),
    _needed("is_active", Boolean, index=True),
    _needed("sale_enabled", Boolean),
    Column("sale_start", Date),
    Column("sale_end", Date),
    _money("sale_percentage", empty=True, digits=5),
    _money("rating", digits=3),
    _needed("review_count", Integer),
    Column("slug", String(255), unique=True, index=True),
    Column("meta_title", String(255)),
    Column("meta_description", Text),
    *_times(),
    Index("idx_category_price", "category", "price"),
    Index("idx_category_season", "category", "season"),
    Index("idx_category_fabric", "category", "fabric"),
    Index("idx_category_occasion", "category", "occasion"),
    Index("idx_category_age_group", "category", "age_group"),
    Index("idx_category_clothing_type", "category", "clothing_type"),
    Index("idx_occasion_age_group", "occasion", "age_group"),
    Index("idx_is_active_category", "is_active", "category"),
    Index("idx_clothing_category", "clothing_category"),
    Index("idx_brand", "brand"),
)

product_variations = Table(
    "product_variations",
    metadata,
    _key(),
    _refers("product_id", "products.id", ondelete="CASCADE", index=True),
    _needed("size", String(50)),
    _needed("color", String(100)),
    _needed("stock_quantity", Integer),
    Column("sku", String(100), unique=True, index=True),
    *_times(),
    UniqueConstraint("product_id", "size", "color", name="uq_product_variation_size_color"),
)

product_relations = Table(
    "product_relations",
    metadata,
    _key(),
    _refers("product_id", "products.id", index=True),
    _refers("related_product_id", "products.id", index=True),
    _needed("is_fashion_match", Boolean, index=True),
    _needed("match_score", Float),
    _needed("created_at", DateTime),
    UniqueConstraint("product_id", "related_product_id", name="uq_product_relation"),
)

orders = Table(
    "orders",
    metadata,
    _key(),
    _needed("order_number", String(50), unique=True, index=True),
    _refers("user_id", "users.id", empty=True, index=True),  # NULL for guests
    Column("guest_email", String(255), index=True),
    _needed("shipping_name", String(255)),
    *_address(),
    Column("shipping_phone", String(20)),
    _money("subtotal"),
    _money("tax"),
    _money("shipping_cost"),
    _money("total"),
    _needed("currency", String(10)),
    _needed("status", String(50), index=True),
    *_times(index=True),
)

order_items = Table(
    "order_items",
    metadata,
    _key(),
    _refers("order_id", "orders.id", index=True),
    _refers("product_id", "products.id"),
    _needed("quantity", Integer),
    _money("price"),
)

cart_items = Table(
    "cart_items",
    metadata,
    _key(),
    _refers("user_id", "users.id", index=True),
    _refers("product_id", "products.id", index=True),
    _refers("variation_id", "product_variations.id", empty=True, ondelete="SET NULL", index=True),
    _needed("quantity", Integer),
    Column("selected_color", String(50)),
    Column("selected_size", String(20)),
    *_times(),
)

payments = Table(
    "payments",
    metadata,
    _key(),
    _refers("order_id", "orders.id", index=True),
    _needed("payment_method", String(50)),
    Column("payment_intent_id", String(255)),
    _money("amount"),
    _needed("currency", String(10)),
    _needed("status", String(50), index=True),
    Column("transaction_id", String(255), unique=True, index=True),
    *_times(index=True),
)

payment_logs = Table(
    "payment_logs",
    metadata,
    _key(),
    _refers("order_id", "orders.id", empty=True, index=True),
    _refers("user_id", "users.id", empty=True, index=True),
    _needed("payment_method", String(50), index=True),
    _money("amount"),
    _needed("currency", String(10)),
    _needed("status", String(50), index=True),
    Column("transaction_id", String(255), index=True),
    Column("payment_intent_id", String(255), index=True),
    Column("external_transaction_id", String(255), index=True),
    Column("request_data", Text),
    Column("response_data", Text),
    Column("error_message", Text),
    Column("ip_address", String(45)),
    Column("user_agent", String(500)),
    Column("card_last4", String(4)),
    Column("card_brand", String(50)),
    *_times(index=True),
)

shipments = Table(
    "shipments",
    metadata,
    _key(),
    _needed("tracking_number", String(100), unique=True, index=True),
    _refers("order_id", "orders.id", index=True),
    _needed("carrier", String(50)),
    _needed("status", String(50), index=True),
    Column("estimated_delivery", DateTime),
    Column("delivered_at", DateTime),
    *_address(),
    *_times(index=True),
)

returns = Table(
    "returns",
    metadata,
    _key(),
    _needed("return_number", String(50), unique=True, index=True),
    _refers("order_id", "orders.id", index=True),
    _refers("order_item_id", "order_items.id", index=True),
    _refers("user_id", "users.id", empty=True, index=True),
    Column("guest_email", String(255), index=True),
    _needed("reason", String(100)),
    _needed("status", String(50), index=True),
    Column("return_label_url", String(500)),
    *_times(index=True),
    Column("processed_at", DateTime),
)

reviews = Table(
    "reviews",
    metadata,
    _key(),
    _refers("product_id", "products.id", index=True),
    _refers("user_id", "users.id", empty=True, index=True),
    _needed("rating", Numeric(2, 1, asdecimal=False)),
    Column("comment", Text),
    Column("user_name", String(100)),
    *_times(index=True),
)

wishlist_items = Table(
    "wishlist_items",
    metadata,
    _key(),
    _refers("user_id", "users.id", index=True),
    _refers("product_id", "products.id", index=True),
    _money("price_when_added", empty=True),
    _needed("was_out_of_stock", Boolean),
    _needed("created_at", DateTime),
    UniqueConstraint("user_id", "product_id", name="uq_wishlist_user_product"),
)

sales = Table(
    "sales",
    metadata,
    _key(),
    _needed("name", String(255)),
    Column("description", Text),
    _needed("sale_type", String(50), index=True),
    Column("event_name", String(100)),
    _money("discount_percentage", digits=5),
    _needed("start_date", Date, index=True),
    _needed("end_date", Date, index=True),
    Column("product_filters", Text),  # JSON: {"category": "women"}
    _needed("is_active", Boolean, index=True),
    _needed("auto_activate", Boolean),
    *_times(),
    Index("idx_sale_dates", "start_date", "end_date"),
    Index("idx_sale_active_dates", "is_active", "start_date", "end_date"),
)

ai_assistant_configs = Table(
    "ai_assistant_configs",
    metadata,
    _key(),
    _needed("provider", String(50), unique=True),
    _needed("name", String(255)),
    Column("sdk", String(64)),
    Column("api_key", String(1024)),
    Column("model_id", String(255)),
    Column("region", String(64)),
    _needed("source", String(20)),
    _needed("is_valid", Boolean),
    _needed("is_enabled", Boolean),
    Column("last_tested_at", DateTime),
    Column("latency_ms", Integer),
    *_times(),
)

ai_selected_provider = Table(
    "ai_selected_provider",
    metadata,
    _key(),
    _needed("provider", String(20)),
    _needed("updated_at", DateTime),
)
