"""Orders: ``update_time desc, name`` (AIP-132)."""

from __future__ import annotations

from admin.aip.fields import Fields, FieldType, known
from usageflow.domain.errors import InvalidArgument
from usageflow.domain.listing import Order

_FIX = "write such as `update_time desc, name`"
_MAX_FIELDS = 5


def parse_order(text: str, fields: Fields, *, last: str = "name") -> tuple[Order, ...]:
    """Returns the orders, the field that names an item at the end. Raises InvalidArgument (field ``order_by``)."""
    orders: list[Order] = []
    parts = text.split(",") if text.strip() else []
    if len(parts) > _MAX_FIELDS:
        raise InvalidArgument.of("order_by", f"names more than {_MAX_FIELDS} fields", _FIX)
    for part in parts:
        order = _order(part.split(), fields)
        if order.field in {each.field for each in orders}:
            raise InvalidArgument.of("order_by", f"names {order.field!r} twice", "name it once")
        orders.append(order)
    if last not in {each.field for each in orders}:
        orders.append(Order(last))
    return tuple(orders)


def _order(words: list[str], fields: Fields) -> Order:
    if not 1 <= len(words) <= 2 or words[1:] not in ([], ["asc"], ["desc"]):
        raise InvalidArgument.of("order_by", f"{' '.join(words)[:100]!r} is no field and direction", _FIX)
    if known(fields, words[0], "order_by") is FieldType.NODE:
        message = f"{words[0]!r} holds fields of its own"
        raise InvalidArgument.of("order_by", message, "name one of them")
    return Order(words[0], words[1:] == ["desc"])
