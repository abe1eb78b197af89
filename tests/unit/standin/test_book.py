"""Stripe's rules as the stand-in keeps them, without HTTP."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from usageflow.standin import Book, catalog, invoices, metering, subscriptions
from usageflow.standin.clock import Clock
from usageflow.standin.control import Control
from usageflow.standin.errors import StripeError
from usageflow.standin.faults import Faults
from usageflow.standin.notices import collect, get

NOW = 1_700_000_000
HOUR = 3_600
DAY = 86_400


@pytest.fixture
def book() -> Book:
    made = Book(Clock(lambda: NOW))
    Control(made, Faults()).seed(
        {
            "customers": [{"id": "cus_1"}],
            "meters": [
                {"id": "mtr_sum", "event_name": "calls"},
                {"id": "mtr_hour", "event_name": "level", "event_time_window": "hour"},
            ],
            "prices": [
                {"id": "price_m", "recurring": {"meter": "mtr_sum"}, "unit_amount_decimal": "2"},
                {"id": "price_old", "recurring": {"usage_type": "metered"}},
                {"id": "price_once", "unit_amount_decimal": "0.5"},
            ],
            "subscriptions": [
                {
                    "id": "sub_1",
                    "customer": "cus_1",
                    "current_period_start": NOW - 10 * DAY,
                    "current_period_end": NOW + DAY,
                    "items": [{"id": "si_m", "price": "price_m"}, {"id": "si_old", "price": "price_old"}],
                }
            ],
        }
    )
    return made


def event(book: Book, identifier: str, value: str = "1", at_s: int = NOW, **more: Any) -> Any:
    invoices.roll(book)
    payload = {"stripe_customer_id": "cus_1", "value": value, **more.pop("payload", {})}
    fields = {"event_name": "calls", "identifier": identifier, "timestamp": str(at_s), "payload": payload}
    return metering.create_event(book, {**fields, **more})


def refused(call: Any, *arguments: Any) -> StripeError:
    with pytest.raises(StripeError) as error:
        call(*arguments)
    return error.value


def test_an_identifier_counts_once_for_a_day(book: Book) -> None:
    event(book, "a")
    assert "already exists with identifier a" in refused(event, book, "a").message
    book.clock.advance(DAY + 1)
    event(book, "a", at_s=NOW + DAY)
    assert metering.total(book, book.get("billing.meter", "mtr_sum"), "cus_1") == 2


@pytest.mark.parametrize("at_s", [NOW - 35 * DAY - 1, NOW + 301])
def test_a_time_out_of_range_is_refused(book: Book, at_s: int) -> None:
    assert refused(event, book, "a", "1", at_s).code in {"timestamp_too_far_in_past", "timestamp_in_future"}


@pytest.mark.parametrize("value", ["", "x", "1e3", "NaN", "1234567890123456", "0.1234567890123456"])
def test_a_value_that_is_none_is_refused(book: Book, value: str) -> None:
    assert refused(event, book, "a", value).status == 400


def test_an_unknown_customer_is_told_afterwards(book: Book) -> None:
    event(book, "a", payload={"stripe_customer_id": "cus_gone"})
    (thin,) = collect(book)
    told = get(book, {"id": thin["id"]})["data"]["reason"]
    assert thin["type"] == "v1.billing.meter.error_report_triggered"
    assert told["error_types"][0]["sample_errors"][0]["request"]["identifier"] == "a"
    assert metering.by_hour(book) == []


def test_an_unknown_event_name_is_told_afterwards(book: Book) -> None:
    event(book, "a", event_name="nothing")
    assert collect(book)[0]["type"] == "v1.billing.meter.no_meter_found"


def test_a_cancelled_event_counts_no_more_within_a_day(book: Book) -> None:
    event(book, "a", "3")
    event(book, "b", "4")
    wanted = {"event_name": "calls", "type": "cancel", "cancel": {"identifier": "a"}}
    metering.cancel_event(book, wanted)
    assert refused(metering.cancel_event, book, wanted).status == 400
    book.clock.advance(DAY + 1)
    assert refused(metering.cancel_event, book, {**wanted, "cancel": {"identifier": "b"}}).status == 400
    assert metering.by_hour(book)[0]["units"] == "4"


def test_of_a_meter_with_a_window_the_newest_counts(book: Book) -> None:
    hour = NOW // HOUR * HOUR
    for number, (at_s, value) in enumerate([(hour, "5"), (hour + 9, "8"), (hour + 3, "7"), (hour - 1, "2")]):
        event(book, str(number), value, at_s, event_name="level")
    assert metering.total(book, book.get("billing.meter", "mtr_hour"), "cus_1") == 10


def test_summaries_end_before_their_end_and_lag(book: Book) -> None:
    hour = NOW // HOUR * HOUR
    event(book, "a", "2.5", hour - 1)
    event(book, "b", "1", hour)
    wanted = {"id": "mtr_sum", "customer": "cus_1", "start_time": str(hour - HOUR), "end_time": str(hour)}
    (only,) = metering.summaries(book, wanted)["data"]
    assert only["aggregated_value"] == 2.5
    grouped = metering.summaries(
        book, {**wanted, "end_time": str(hour + HOUR), "value_grouping_window": "hour"}
    )["data"]
    assert [(each["start_time"], each["aggregated_value"]) for each in grouped] == [
        (hour, 1.0),
        (hour - HOUR, 2.5),
    ]
    crooked = {**wanted, "start_time": str(hour - 60), "value_grouping_window": "hour"}
    assert "aligned" in refused(metering.summaries, book, crooked).message
    book.lag_s = 60
    assert metering.summaries(book, wanted)["data"][0]["aggregated_value"] == 0


def test_usage_records_need_an_old_version_and_the_present_period(book: Book) -> None:
    record = {
        "id": "si_old",
        "quantity": "5",
        "timestamp": str(NOW),
        "action": "set",
        "_version": "2025-02-24.acacia",
    }
    for _ in range(2):
        assert subscriptions.create_usage_record(book, record)["quantity"] == 5
    assert subscriptions.create_usage_record(book, {**record, "action": "increment"})["quantity"] == 10
    for wrong in (
        {"_version": "2025-03-31.basil"},
        {"timestamp": str(NOW - 11 * DAY)},
        {"timestamp": str(NOW + 60)},
        {"quantity": "1.5"},
        {"id": "si_m"},
        {"action": "add"},
    ):
        refused(subscriptions.create_usage_record, book, {**record, **wrong})


def test_invoice_items_take_one_time_prices_and_stay_open_until_the_invoice_is_final(book: Book) -> None:
    wanted = {"customer": "cus_1", "pricing": {"price": "price_once"}, "quantity_decimal": "3.5"}
    assert (
        "type=recurring"
        in refused(invoices.create_item, book, {**wanted, "pricing": {"price": "price_m"}}).message
    )
    assert (
        refused(invoices.create_item, book, {**wanted, "quantity_decimal": "0.1234567890123"}).status == 400
    )
    item = invoices.create_item(book, wanted)
    invoices.update_item(book, {"id": item["id"], "quantity_decimal": "4"})
    made = invoices.create_invoice(book, {"customer": "cus_1", "pending_invoice_items_behavior": "include"})
    assert (made["total"], item["invoice"]) == (2, made["id"])
    invoices.update_item(book, {"id": item["id"], "quantity_decimal": "6"})
    assert invoices.finalize(book, {"id": made["id"]})["total"] == 3
    assert (
        refused(invoices.update_item, book, {"id": item["id"], "quantity_decimal": "7"}).code
        == "invoice_not_editable"
    )
    assert refused(invoices.delete_item, book, {"id": item["id"]}).status == 400


def test_a_period_that_ends_makes_a_draft_which_takes_late_usage_for_an_hour(book: Book) -> None:
    event(book, "a", "3")
    assert invoices.preview(book, {"customer": "cus_1"})["total"] == 6
    book.clock.advance(DAY + 60)
    (draft,) = invoices.list_invoices(book, {"customer": "cus_1"})["data"]
    assert (draft["status"], draft["total"]) == ("draft", 6)
    event(book, "b", "1", NOW + 60)
    book.clock.advance(HOUR)
    event(book, "c", "1", NOW + 60)
    (final,) = invoices.list_invoices(book, {"customer": "cus_1"})["data"]
    assert (final["status"], final["total"]) == ("open", 8), (
        "what came within the hour is on it, what came later is not"
    )
    subscription = book.get("subscription", "sub_1")
    assert subscription["latest_invoice"] == final["id"]
    assert subscription["items"]["data"][0]["current_period_start"] == NOW + DAY


def test_pages_follow_one_another(book: Book) -> None:
    for number in range(5):
        catalog.create_customer(book, {"_id": f"cus_x{number}"})
    everybody = book.all("customer").values()
    first = book.page("customer", {"limit": "4"}, "", everybody)
    second = book.page("customer", {"limit": "4", "starting_after": first["data"][-1]["id"]}, "", everybody)
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert len({each["id"] for each in [*first["data"], *second["data"]]}) == 6


@pytest.mark.parametrize(
    ("make", "fields"),
    [
        (catalog.create_price, {"recurring": {"meter": "mtr_none"}}),
        (catalog.create_price, {"unit_amount_decimal": "1e2"}),
        (catalog.create_meter, {"event_name": "x", "default_aggregation": {"formula": "max"}}),
        (catalog.create_meter, {"event_name": "calls"}),
        (catalog.create_meter, {"event_name": "x", "event_time_window": "minute"}),
        (catalog.create_product, {}),
        (subscriptions.create, {"customer": "cus_1"}),
        (subscriptions.create, {"customer": "cus_1", "items": [{"price": "price_once"}]}),
    ],
)
def test_what_does_not_fit_is_refused(book: Book, make: Any, fields: Any) -> None:
    refused(make, book, fields)


def test_units_are_exact_by_customer_and_price(book: Book) -> None:
    event(book, "a", "0.1")
    event(book, "b", "0.2")
    invoices.create_item(
        book, {"customer": "cus_1", "pricing": {"price": "price_once"}, "quantity_decimal": "7"}
    )
    units = Control(book, Faults()).units()
    assert units == {("cus_1", "price_m"): Decimal("0.3"), ("cus_1", "price_once"): Decimal(7)}


@pytest.mark.parametrize("rules", [[{"do": "nothing"}], ["x"], [{"do": "slow", "speed": 1}]])
def test_a_rule_that_cannot_be_is_refused(rules: list[Any]) -> None:
    with pytest.raises(StripeError, match=r"rules\[0\]"):
        Faults().replace(rules)


def test_rules_hit_as_often_as_they_say_and_alike_for_one_seed() -> None:
    def hits(rule: dict[str, Any]) -> list[bool]:
        faults = Faults()
        faults.replace([rule])
        return [faults.of("POST", "/v1/x") is not None for _ in range(20)]

    assert hits({"do": "slow", "count": 2}).count(True) == 2
    assert hits({"do": "slow", "path": "/v2"}).count(True) == 0
    some = hits({"do": "slow", "probability": 0.5, "seed": 3})
    assert some == hits({"do": "slow", "probability": 0.5, "seed": 3})
    assert 0 < some.count(True) < 20
