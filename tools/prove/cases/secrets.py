"""Secrets planted wherever there is room for them are in nothing that is kept, told or said."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.postgres_servers import PostgresServer
from tools.processes import App, Process, Service, free_port
from tools.prove.kept_places import (
    PLAIN_REDIS,
    contents_of_redis,
    files_under,
    tables_of_postgres,
    tables_of_sqlite,
)
from tools.prove.planted import CONFIGURED, HARMLESS, PLANTED, Place, leaks, unread
from tools.prove.planting import (
    POLICIES,
    call_administration,
    call_decisions,
    call_in_outage,
    send_to,
    told_of,
)
from tools.prove.post_receiver import PostReceiver, receiving_posts
from tools.prove.showing import ensure
from tools.redis_servers import RedisServer
from tools.shared_form import shared_form
from usageflow.runtime.embedded import DATABASE_NAME

_PATIENCE_S = 30.0
_CREDENTIALS = "file data/credentials.toml"
_REDIS_USER = "planted"

_ALLOWED = {"token of an address": ("table alert_destinations", f"file data/{DATABASE_NAME}")}
"""Whoever sends alerts needs the whole address: docs/alerts.md says so, and how to keep it out of the database."""

_TABLES = {
    "table events": HARMLESS,
    "table decision_log": "/members",
    "table audit_log": "block",
    "table blocks": "abuse",
    "table customers": "acme",
    "table identities": "alice",
    "table alert_destinations": "ops",
}
_ELSEWHERE = {
    "output": "usageflow ready on ",
    "metrics": "usageflow_decision_decisions",
    "answers of AdminService": "acme",
    "events and decisions as told": HARMLESS,
    "webhooks": "alert.test",
}


@dataclass(frozen=True, slots=True)
class Form:
    """A running installation, how to look into it, and how to take its stores away."""

    address: str
    admin_address: str
    api_key: str
    admin_token: str
    hash_key: str
    http_ports: tuple[int, ...]
    processes: tuple[Process, ...]
    command: Callable[..., object]
    tables: Callable[[], Iterator[Place]]
    contents: Callable[[], Iterator[Place]]
    stores: tuple[RedisServer | PostgresServer, ...]
    markers: Mapping[str, str]


def secrets(folder: Path) -> str:
    """Secrets planted in requests, reports, credentials, administration and settings are in no column, key, file, log, metric, trace,
    webhook or answer, however they are spelt: embedded (SQLite, memory) and shared (PostgreSQL, Redis), at every level of logs.
    """
    levels = ("DEBUG", "INFO", "WARNING", "ERROR")
    told = [show_embedded(folder / level, level) for level in levels]
    with PostgresServer(quick=True) as server:
        told.append(show_shared(folder / "shared", server, "DEBUG"))
    return "\n  ".join(told)


def show_embedded(folder: Path, level: str) -> str:
    """Returns the figure of SQLite and memory. Raises NotShown."""
    with receiving_posts() as receiver, _embedded(folder, level, receiver) as form:
        return f"embedded, {level}: {_show(folder, form, receiver)}"


def show_shared(folder: Path, server: PostgresServer, level: str) -> str:
    """Returns the figure of PostgreSQL, which is killed, and Redis. Raises NotShown."""
    with receiving_posts() as receiver, _shared(folder, server, level, receiver) as form:
        return f"shared, {level}: {_show(folder, form, receiver)}"


@contextmanager
def _embedded(folder: Path, level: str, receiver: PostReceiver) -> Iterator[Form]:
    data, port = folder / "data", free_port()
    settings = {**_settings(level, receiver), "USAGEFLOW_HTTP_LISTEN": f"127.0.0.1:{port}"}
    with Service(data, **settings) as service:
        address = service.wait_ready()
        (folder / "policies.yaml").write_text(POLICIES)
        done = service.command("apply", "-f", str(folder / "policies.yaml"))
        ensure(done.returncode == 0, done.stderr)
        own = service.credentials
        yield Form(
            address=address,
            admin_address=address,
            api_key=own["api_key"],
            admin_token=own["admin_token"],
            hash_key=own["hash_key"],
            http_ports=(port,),
            processes=(service,),
            command=service.command,
            tables=lambda: tables_of_sqlite(data / DATABASE_NAME),
            contents=lambda: iter(()),
            stores=(),
            markers={f"file data/{DATABASE_NAME}": HARMLESS},
        )


@contextmanager
def _shared(folder: Path, server: PostgresServer, level: str, receiver: PostReceiver) -> Iterator[Form]:
    password, port = CONFIGURED["database password"], free_port()
    url = server.url(server.new_database())
    user = ("--user", _REDIS_USER, "on", f">{CONFIGURED['redis password']}", "~*", "&*", "+@all")
    with RedisServer(*PLAIN_REDIS, *user) as redis:
        settings = {
            **_settings(level, receiver),
            "USAGEFLOW_REDIS_URL": f"redis://{_REDIS_USER}:{CONFIGURED['redis password']}@127.0.0.1:{redis.port}",
        }
        known = url.replace("postgres@", f"postgres:{password}@")
        with shared_form(known, folder / "data", POLICIES, decisions=1, **settings) as form:
            own = form.installation
            meter = form.running.enter_context(
                own.role("meter", "meter", USAGEFLOW_HTTP_LISTEN=f"127.0.0.1:{port}")
            )
            meter.wait_ready()
            yield Form(
                address=form.addresses[0],
                admin_address=own.admin_address,
                api_key=own.api_key,
                admin_token=own.admin_token,
                hash_key=own.hash_key,
                http_ports=(port, *form.http_ports),
                processes=(form.admin, meter, *form.decisions),
                command=own.command,
                tables=lambda: tables_of_postgres(url),
                contents=lambda: contents_of_redis(redis),
                stores=(redis, server),
                markers={
                    "redis keys": "hourly",
                    "redis file dump.rdb": "hourly",
                    "redis file appendonlydir": "hourly",
                    "redis file log": "Ready to accept connections",
                    "file data/decision-0/snapshots": "transactions",
                },
            )


def _settings(level: str, receiver: PostReceiver) -> dict[str, str]:
    return {"USAGEFLOW_LOG_LEVEL": level, "USAGEFLOW_WEBHOOK_PRIVATE": "1", **receiver.trace_settings}


def _show(folder: Path, form: Form, receiver: PostReceiver) -> str:
    """Plants, looks everywhere, and judges. Raises NotShown."""
    form.command("applications", "update", "demo", "--capture", "FULL", "--decision-log", "100")
    form.command("status", "--wait", "--timeout", "10")
    with App(form.address, form.api_key) as app:
        app.wait_ready()
        send_to(app)
        app.stop()
    answered = call_decisions(form.address, form.api_key)
    changed = call_administration(form.admin_address, form.admin_token, receiver.port)
    places = [*_tables(form), *form.contents()]
    places += [Place("metrics", _fetched(port)) for port in form.http_ports]
    places.append(Place("answers of AdminService", changed))
    places.append(Place("events and decisions as told", told_of(form.admin_address, form.admin_token)))
    for store in form.stores:
        store.kill()
    call_in_outage(form.address, form.admin_address, form.api_key, form.admin_token)
    for process in form.processes:
        process.stop()
    places += [Place("output", process.output.encode()) for process in form.processes]
    places += files_under(folder)
    posts = list(receiver.received)
    places.append(Place("webhooks", b"\n".join(each for each in posts if b"webhook-id" in each)))
    traces = [each for each in posts if b"webhook-id" not in each]
    places.append(Place("traces", b"\n".join(traces)))
    _judge(form, places, Place("output of the application", app.output.encode()))
    kinds = sorted({place.name.partition(" ")[0] for place in places})
    size = sum(len(place.data) for place in places)
    return (
        f"{len(PLANTED)} secrets in {answered} answered calls: none in {len(places):,} places "
        f"({', '.join(kinds)}; {size / 1024:,.0f} KiB, {len(traces)} posts of traces)"
    )


def _tables(form: Form) -> list[Place]:
    """Returns all tables once they hold what must be there: reports and decisions are stored a moment later."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        tables = list(form.tables())
        missing = unread(tables, _TABLES)
        if not missing:
            return tables
        ensure(time.monotonic() < deadline, f"not there, or not read: {', '.join(missing)}")
        time.sleep(0.2)


def _fetched(port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        text: bytes = response.read()
        return text


def _judge(form: Form, places: list[Place], application: Place) -> None:
    """Raises NotShown. What an application says of its own requests is its own affair, but never our keys."""
    missing = unread(places, {**_TABLES, **_ELSEWHERE, **form.markers})
    ensure(not missing, f"not there, or not read: {', '.join(missing)}")
    found = leaks(places, PLANTED, _ALLOWED)
    own = {"own api key": form.api_key, "own admin token": form.admin_token, "own hash key": form.hash_key}
    found += leaks([*places, application], own, dict.fromkeys(own, (_CREDENTIALS,)))
    ensure(not found, "; ".join(map(str, found)))
