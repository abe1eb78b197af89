"""The format of snapshot files: JSON, one object per application with all that its decisions are made from.

What is new in ApplicationState is added to ApplicationDocument, its ``of`` and its ``state``; the property test in
tests/unit/storage/test_snapshot_document.py shows that nothing is lost. Values that are defaults are left out, so a version
that changes a default raises FORMAT. A file holds applications' keys, never the hash key of the installation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from usageflow.domain.applications import Capture
from usageflow.domain.credentials import Credential, CredentialKind, Scope
from usageflow.domain.customers import Customer
from usageflow.domain.declared import Declared, faults_of
from usageflow.domain.errors import Fault, InvalidArgument
from usageflow.domain.expressions import ExpressionCheck, refuse_expressions
from usageflow.domain.policies import Block, PolicySet
from usageflow.domain.templates import canonical_template
from usageflow.domain.usage import EndpointName
from usageflow.domain.validation import validate
from usageflow.storage.ports import Application, ApplicationState, NumberKind

FORMAT = 1
_FIX = "write it again with `usageflow snapshot -o FILE`"

Text = Annotated[str, Field(min_length=1, max_length=256)]
Key = Annotated[str, Field(pattern=r"^[0-9a-f]{64}\z")]
"""32 bytes in hex."""

_HASH = re.compile("[0-9a-f]{64}")

Number = Annotated[int, Field(ge=1, lt=2**32, strict=True)]
Version = Annotated[int, Field(ge=0, lt=2**63, strict=True)]


@dataclass(frozen=True, slots=True)
class Exported:
    """What a file holds of an application; ``hash_key`` is the application's own, ``api_keys`` are hashes, ``customers`` are as
    they are stored, by hash, at ``directory_version``.
    """

    state: ApplicationState
    hash_key: bytes
    api_keys: tuple[Credential, ...]
    customers: tuple[Customer, ...] = ()
    directory_version: int = 0

    def __repr__(self) -> str:
        return f"Exported({self.state.application!r}, ...)"


class EndpointDocument(Declared):
    """A route."""

    method: Annotated[str, Field(min_length=1, max_length=32)]
    template: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _is_canonical(self) -> Self:
        try:
            canonical = canonical_template(self.template)
        except InvalidArgument as error:
            raise ValueError(error.faults[0].message) from None
        if canonical != self.template:
            raise ValueError(f"the template is not in its canonical form {canonical}")
        return self


class ApiKeyDocument(Declared):
    """An API key as it is stored: never the key itself. Files of before there were scopes have keys that may do everything."""

    credential_id: Text
    prefix: Text
    sha256: Key
    name: Annotated[str, Field(max_length=256)] = ""
    scopes: tuple[Scope, ...] = tuple(Scope)
    expires_us: Annotated[int, Field(ge=0, lt=2**63, strict=True)] | None = None

    @classmethod
    def of(cls, key: Credential) -> Self:
        """Returns the document of a key."""
        return cls(
            credential_id=key.credential_id,
            prefix=key.prefix,
            sha256=key.secret_hash.hex(),
            name=key.name,
            scopes=tuple(scope for scope in Scope if scope in key.scopes),
            expires_us=key.expires_us,
        )

    def credential(self, application_id: str, application: str) -> Credential:
        """Returns the key as one of an application."""
        return Credential(
            self.credential_id,
            CredentialKind.API_KEY,
            application_id,
            self.prefix,
            bytes.fromhex(self.sha256),
            name=self.name,
            scopes=frozenset(self.scopes),
            expires_us=self.expires_us,
            application=application,
        )


class ApplicationDocument(PolicySet):
    """An application; strategies and policies are spelled as in policy files, identities of blocks are hashes."""

    application_id: Text
    name: Text
    revision: Version
    plan_version: Annotated[Version, Field(ge=1)]
    hash_key: Key
    blocks: tuple[Block, ...] = ()
    numbers: Mapping[NumberKind, Mapping[str, Number]] = {}
    endpoints: tuple[EndpointDocument, ...] = ()
    api_keys: tuple[ApiKeyDocument, ...] = ()
    customers: tuple[Customer, ...] = ()
    directory_version: Version = 0
    decision_log_percent: Annotated[int, Field(ge=0, le=100, strict=True)] = 0
    capture: Capture = Capture.STANDARD

    @classmethod
    def of(cls, exported: Exported) -> Self:
        """Returns the document of an application."""
        state, application = exported.state, exported.state.application
        numbers: dict[NumberKind, dict[str, int]] = {kind: {} for kind in NumberKind}
        for (kind, name), number in state.numbers.items():
            numbers[kind][name] = number
        return cls(
            application_id=application.application_id,
            name=application.name,
            revision=application.revision,
            plan_version=application.plan_version,
            hash_key=exported.hash_key.hex(),
            blocks=state.blocks,
            numbers=numbers,
            endpoints=tuple(
                EndpointDocument(method=item.method, template=item.template) for item in state.endpoints
            ),
            api_keys=tuple(map(ApiKeyDocument.of, exported.api_keys)),
            customers=exported.customers,
            directory_version=exported.directory_version,
            decision_log_percent=application.decision_log_percent,
            capture=application.capture,
            **_policies(state.policies),
        )

    @property
    def state(self) -> ApplicationState:
        """Returns the state."""
        return ApplicationState(
            application=Application(
                self.application_id,
                self.name,
                self.revision,
                self.plan_version,
                self.decision_log_percent,
                self.capture,
            ),
            policies=PolicySet(**_policies(self)),
            blocks=self.blocks,
            numbers={
                (kind, name): number for kind, named in self.numbers.items() for name, number in named.items()
            },
            endpoints=tuple(EndpointName(item.method, item.template) for item in self.endpoints),
        )

    @property
    def exported(self) -> Exported:
        """Returns what was exported."""
        keys = (item.credential(self.application_id, self.name) for item in self.api_keys)
        return Exported(
            self.state, bytes.fromhex(self.hash_key), tuple(keys), self.customers, self.directory_version
        )


class Document(Declared):
    """A whole file."""

    format: Literal[1]
    applications: Annotated[tuple[ApplicationDocument, ...], Field(min_length=1)]


def _policies(declared: PolicySet) -> dict[str, object]:
    return {name: getattr(declared, name) for name in PolicySet.model_fields}


def encode(exported: Sequence[Exported]) -> bytes:
    """Returns the file of these applications."""
    return b"".join(joined([encode_application(item) for item in exported]))


def encode_application(exported: Exported) -> bytes:
    """Returns the part of a file that holds one application."""
    document = ApplicationDocument.of(exported)
    return document.model_dump_json(by_alias=True, exclude_defaults=True, exclude_none=True).encode()


def joined(applications: Sequence[bytes]) -> Iterator[bytes]:
    """Yields the file of these parts."""
    yield b'{"format":%d,"applications":[' % FORMAT
    for index, application in enumerate(applications):
        yield b"," + application if index else application
    yield b"]}\n"


def decode(data: bytes, check: ExpressionCheck = refuse_expressions) -> tuple[Exported, ...]:
    """Returns what a file holds; ``check`` knows the language of expressions. Raises InvalidArgument with every fault and
    its place.
    """
    try:
        document = Document.model_validate_json(data)
    except ValidationError as error:
        raise InvalidArgument(list(faults_of(error, _FIX))) from None
    faults = list(_faults(document.applications, check))
    if faults:
        raise InvalidArgument(faults)
    return tuple(application.exported for application in document.applications)


def _faults(applications: Sequence[ApplicationDocument], check: ExpressionCheck) -> Iterator[Fault]:
    """Yields what contradicts itself, so that everything that is left compiles."""
    for index, application in enumerate(applications):
        place = f"applications[{index}]"
        policies = PolicySet(**_policies(application))
        yield from (fault.under(place) for fault in validate(policies, application.blocks, check=check))
        yield from (fault.under(place) for fault in _hash_faults(application))
        for kind, named in application.numbers.items():
            yield from _twice(f"{place}.numbers.{kind}", named.values())
        yield from _twice(f"{place}.endpoints", application.endpoints)
        yield from _twice(f"{place}.customers", [item.name for item in application.customers])
        identities = [identity for item in application.customers for identity in item.identities]
        yield from _twice(f"{place}.customers.identities", identities)
    yield from _twice("applications", [item.application_id for item in applications])
    yield from _twice("applications", [item.name for item in applications])
    yield from _twice("api_keys", [key.sha256 for item in applications for key in item.api_keys])


def _hash_faults(application: ApplicationDocument) -> Iterator[Fault]:
    places = [(f"blocks[{index}].identity", item.identity) for index, item in enumerate(application.blocks)]
    for index, customer in enumerate(application.customers):
        named = (*customer.identities, *(item.identity for item in customer.overrides))
        places += [(f"customers[{index}].identities", identity) for identity in named]
    for place, identity in places:
        if identity and _HASH.fullmatch(identity) is None:
            yield Fault(place, "is not a keyed hash of 64 hex digits", _FIX)


def _twice(field: str, values: Iterable[Hashable]) -> Iterator[Fault]:
    for value, times in Counter(values).items():
        if times > 1:
            yield Fault(field, f"holds {value} {times} times", _FIX, "DUPLICATE")
