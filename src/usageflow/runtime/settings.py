"""Every setting of a server process: a default and a sentence each, all faults reported together."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsConfigDict

from usageflow.domain.errors import Fault, InvalidArgument
from usageflow.rpc.server import ServerOptions
from usageflow.runtime.billing_settings import WITHOUT_PREFIX, BillingFields
from usageflow.runtime.counter_stores import checked_redis_url
from usageflow.runtime.tls import TlsFiles, check_key, read_certificate

DEFAULT_LISTEN = "127.0.0.1:50051"
DEFAULT_HTTP_LISTEN = "127.0.0.1:50052"
CONNECTION_AGE_S = 600


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a host and port, or a Unix socket's path (then ``port`` is 0)."""

    host: str
    port: int
    unix: bool = False

    @classmethod
    def parse(cls, text: str) -> Address:
        """Returns the address of ``HOST:PORT``, ``[IPV6]:PORT`` or ``unix:PATH``. Raises ValueError with the fix."""
        if text == "unix:":
            raise ValueError("'unix:' names no socket: write unix:PATH")
        if text.startswith("unix:"):
            return cls(text.removeprefix("unix:"), 0, unix=True)
        host, colon, port = text.rpartition(":")
        if not colon or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
            raise ValueError(
                f"{text!r} is not an address: write HOST:PORT, such as {DEFAULT_LISTEN}, or unix:PATH"
            )
        return cls(host.strip("[]") or "0.0.0.0", int(port))

    @property
    def is_local(self) -> bool:
        """Tells whether only this machine can reach it."""
        if self.unix or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def from_here(self) -> str:
        """Returns how programs on this machine reach it: a wildcard address is reached over loopback."""
        if not self.unix and self.host in ("0.0.0.0", "::"):
            return str(Address("127.0.0.1" if self.host == "0.0.0.0" else "::1", self.port))
        return str(self)

    def __str__(self) -> str:
        if self.unix:
            return f"unix:{self.host}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Settings(BillingFields):
    """Settings from USAGEFLOW_* variables."""

    model_config = SettingsConfigDict(
        env_prefix="USAGEFLOW_", env_ignore_empty=False, extra="ignore", frozen=True
    )

    # Declared first: the addresses are judged by these.
    insecure: bool = Field(False, description="Allows plaintext beyond this machine.")
    tls_cert: str = Field("", description="PEM file of the certificate, its chain after it; unset: no TLS.")
    tls_key: str = Field("", description="PEM file of the certificate's private key.", validate_default=True)
    tls_client_ca: str = Field(
        "", description="PEM file of the authorities of clients, which then must show a certificate."
    )
    listen: str = Field(DEFAULT_LISTEN, description="Where gRPC is served: HOST:PORT or unix:PATH.")
    http_listen: str | None = Field(
        None,
        description=f"Where /healthz, /readyz and /metrics are served; empty for nowhere. Unset: {DEFAULT_HTTP_LISTEN}, "
        "or a free port where USAGEFLOW_LISTEN is not the default.",
    )
    data: Path = Field(Path(".usageflow"), description="The folder of the database and credentials.toml.")
    admin_listen: str = Field(
        "",
        description="Where `serve` on PostgreSQL serves administration and metering apart from decisions; unset: with them.",
    )
    database_url: SecretStr = Field(
        SecretStr(""),
        description="PostgreSQL, postgresql://USER:PASSWORD@HOST:PORT/DATABASE; unset means SQLite in the data folder.",
    )
    redis_url: SecretStr = Field(
        SecretStr(""),
        description="Redis for counters, redis://, rediss:// or redis+cluster://; unset means memory.",
    )
    hash_key: SecretStr = Field(
        SecretStr(""),
        description="32 bytes in hex for keyed hashes; unset means the one in credentials.toml.",
    )
    reflection: bool | None = Field(
        None, description="Serves gRPC reflection. Unset: only where USAGEFLOW_LISTEN is this machine's own."
    )
    channelz: bool = Field(
        False, description="Serves gRPC channelz, which tells anybody who connects about all connections."
    )
    max_connection_age_s: int | None = Field(
        None,
        ge=0,
        le=86_400,
        description="Seconds until a connection is asked to reconnect; 0 for never. Unset: 600, and never where "
        "USAGEFLOW_LISTEN is this machine's own.",
    )
    jwks_allow_private: bool = Field(
        False, description="Allows keys of tokens to be fetched over http and from private addresses."
    )
    webhook_private: bool = Field(
        False, description="Allows messages of alerts to go over http and to private addresses."
    )
    worker: bool = Field(
        False, description="Set by `--workers` for the processes that it starts: they share a port."
    )
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR; logs go to stderr.")

    @field_validator("tls_cert")
    @classmethod
    def _is_certificate(cls, value: str) -> str:
        if value:
            read_certificate(Path(value))
        return value

    @field_validator("tls_key")
    @classmethod
    def _is_its_key(cls, value: str, info: ValidationInfo) -> str:
        cert = info.data.get("tls_cert")
        if cert is None:
            return value  # the certificate has a fault of its own, which is told
        if cert and not value:
            raise ValueError("is not set, but USAGEFLOW_TLS_CERT is: name the PEM file of its private key")
        if value and not cert:
            raise ValueError(
                "has no certificate: set USAGEFLOW_TLS_CERT to the PEM file of the one it belongs to"
            )
        if value:
            check_key(Path(value), read_certificate(Path(cert)))
        return value

    @field_validator("tls_client_ca")
    @classmethod
    def _is_authority(cls, value: str, info: ValidationInfo) -> str:
        if value and info.data.get("tls_cert") == "":
            raise ValueError(
                "asks for certificates of clients, but there is no TLS: set USAGEFLOW_TLS_CERT too"
            )
        if value:
            read_certificate(Path(value))
        return value

    @field_validator("listen", "http_listen", "admin_listen")
    @classmethod
    def _is_safe_address(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None or (not value and info.field_name != "listen"):
            return value
        address = Address.parse(value)
        plaintext = info.field_name == "http_listen" or info.data.get("tls_cert") == ""
        if plaintext and not address.is_local and not info.data.get("insecure", True):
            tls = "set USAGEFLOW_TLS_CERT, " if info.field_name != "http_listen" else ""
            raise ValueError(
                f"{address} would be reached in plaintext from other machines: {tls}listen on 127.0.0.1, "
                "or set USAGEFLOW_INSECURE=1 where the network is yours"
            )
        return value

    @field_validator("data", mode="before")
    @classmethod
    def _names_a_folder(cls, value: object) -> object:
        return (
            value or ".usageflow"
        )  # an empty variable is an unset one: secrets never land in the working folder

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value():
            checked_database_url(value.get_secret_value())
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value():
            checked_redis_url(value.get_secret_value())
        return value

    @field_validator("hash_key")
    @classmethod
    def _is_key(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        try:
            long_enough = len(bytes.fromhex(text)) >= 32
        except ValueError:
            long_enough = False
        if text and not long_enough:
            raise ValueError("is not 32 bytes in hex: make one with `openssl rand -hex 32`")
        return value

    @field_validator("log_level")
    @classmethod
    def _is_level(cls, value: str) -> str:
        if value.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError(f"{value!r} is not a level: write DEBUG, INFO, WARNING or ERROR")
        return value.upper()

    @property
    def grpc_address(self) -> Address:
        """Returns where gRPC is served."""
        return Address.parse(self.listen)

    @property
    def admin_address(self) -> Address | None:
        """Returns where administration is served apart from decisions, None for nowhere."""
        return Address.parse(self.admin_listen) if self.admin_listen else None

    @property
    def hash_key_bytes(self) -> bytes:
        """Returns the hash key, empty where it is unset."""
        return bytes.fromhex(self.hash_key.get_secret_value())

    @property
    def tls(self) -> TlsFiles | None:
        """Returns the files of TLS, None for plaintext."""
        if not self.tls_cert:
            return None
        client_ca = Path(self.tls_client_ca) if self.tls_client_ca else None
        return TlsFiles(Path(self.tls_cert), Path(self.tls_key), client_ca)

    @property
    def server_options(self) -> ServerOptions:
        """Returns how gRPC is served. What is for other machines is off on this machine's own addresses: behind no balancer
        a connection that ends is only a cold one, and developers want reflection.
        """
        local = self.grpc_address.is_local
        age_s = (
            (0 if local else CONNECTION_AGE_S)
            if self.max_connection_age_s is None
            else self.max_connection_age_s
        )
        reflection = local if self.reflection is None else self.reflection
        return ServerOptions(reflection, age_s, channelz=self.channelz, reuse_port=self.worker)

    @property
    def http_address(self) -> Address | None:
        """Returns where HTTP is served, None for nowhere."""
        if self.http_listen is not None:
            return Address.parse(self.http_listen) if self.http_listen else None
        return Address.parse(DEFAULT_HTTP_LISTEN if self.listen == DEFAULT_LISTEN else "127.0.0.1:0")


def load_settings() -> Settings:
    """Returns the settings of this process's environment. Raises InvalidArgument with every fault."""
    try:
        return Settings()
    except ValidationError as error:
        raise InvalidArgument([_fault(problem) for problem in error.errors(include_url=False)]) from None


def checked_database_url(text: str) -> None:
    """Raises ValueError, "what is wrong: the fix", without the address: it may hold a password."""
    from usageflow.storage.sql import parse_postgres_url  # heavy, and SQLite needs none of it

    try:
        parse_postgres_url(text)
    except InvalidArgument as error:
        fault = error.faults[0]
        raise ValueError(f"{fault.message}: {fault.fix}") from None


def _fault(problem: ErrorDetails) -> Fault:
    name = "_".join(str(step) for step in problem["loc"]).upper()
    message, _, fix = problem["msg"].removeprefix("Value error, ").partition(": ")
    if name not in WITHOUT_PREFIX:
        name = f"USAGEFLOW_{name}" if name else "settings"
    return Fault(name, message, fix or "correct it")
