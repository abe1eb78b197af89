"""What each key of a policy file means, in a sentence: what editors show beside it."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from usageflow.domain.customers import Customer, CustomerOverride
from usageflow.domain.guards import Guard
from usageflow.domain.policies import (
    Block,
    CustomerPlan,
    Limit,
    Match,
    Metering,
    Override,
    Policy,
    Strategy,
)
from usageflow.domain.sources import Jwk, Source
from usageflow.policyfile.schema import Document

_NAME = "Unique in the application: lower-case letters, digits and hyphens, at most 63."

_OVERRIDE = {
    "": "Other numbers for one limit. Its counter stays, so they act at once.",
    "policy": "Name of the policy.",
    "limit_name": "Name of the limit inside it.",
    "limit": "Units per window; of CONCURRENCY requests at once.",
    "burst": "TOKEN_BUCKET: units that fit at once, 0 for `limit`. Left out: the limit's own.",
}

DESCRIPTIONS: Mapping[type[BaseModel], Mapping[str, str]] = {
    Document: {
        "": "Strategies, policies, plans, customers and blocks of one application. `usageflow apply -f FILE` makes the service equal to it.",
        "version": "Version of this format.",
        "application": "Name of the application.",
        "strategies": "How callers are told apart. What is absent here is deleted.",
        "policies": "Limits and metering. What is absent here is deleted.",
        "plans": "What customers of a plan get instead of the policies' own numbers. What is absent here is deleted.",
        "customers": "Who pays for which identities. What is absent here stays, unless `--prune`.",
        "blocks": "Endpoints and identities that are refused. What is absent here stays, unless `--prune`.",
    },
    Strategy: {
        "": "How callers are told apart: the first source that yields a value wins.",
        "name": _NAME,
        "sources": "Tried in order. Missing, empty, duplicated and over-long values are all missing.",
        "on_missing": "What to do where no source yields a value: one counter per address, one for all, 401, or no limit at all.",
        "allow_unlimited": "Must be true for `on_missing: SKIP`.",
        "guard": "What one client address may do under identities that callers merely claim.",
    },
    Guard: {
        "": "Bounds of one client address.",
        "limit": "Requests per window.",
        "window": "From 1s to 1d.",
        "new_identities": "Distinct identities within a minute; 0 for any number.",
    },
    Source: {
        "": "A place where an identity may be found, or several whose values are joined.",
        "in": "The location; left out where `join` is set.",
        "name": "Header, query or route parameter, cookie, claim, context field, or dot path into a JSON body.",
        "sensitive": "True keeps the value as a keyed hash only. Cookies and credentials always are.",
        "join": "2 to 5 fields, all of which must be present.",
        "issuer": "jwt: the `iss` that a token must have.",
        "audience": "jwt: the `aud` that a token must have.",
        "jwks_url": "jwt: address of the issuer's public keys, https only.",
        "keys": "jwt: public keys, where there is no `jwks_url`.",
        "algorithms": "jwt: how tokens may be signed; RS256 and ES256 where nothing is written.",
        "from": "jwt: where the token is, `bearer` or `cookie:NAME`.",
        "allow_unverified": "jwt: true does not check the signature, which makes the source a mere claim.",
    },
    Jwk: {
        "": "A public key (RFC 7517).",
        "kty": "Family of the key.",
        "kid": "Id of the key, as tokens name it.",
        "alg": "The one algorithm that the key is for.",
        "use": "`sig` or empty.",
        "n": "RSA: modulus, base64url.",
        "e": "RSA: exponent, base64url.",
        "crv": "EC and OKP: the curve.",
        "x": "EC and OKP: x coordinate, base64url.",
        "y": "EC: y coordinate, base64url.",
    },
    Policy: {
        "": "Limits and metering for the requests that match.",
        "name": _NAME,
        "match": "Which requests.",
        "strategy": "Name of the strategy; left out, all callers count as one.",
        "limits": "All of them must have room; a request takes from every one or from none.",
        "metering": "What becomes money.",
        "mode": "SHADOW counts and tells what it would deny, but never denies.",
        "enforce_percent": "For how many of 100 identities it is enforced; for the others it is in SHADOW.",
        "fail_mode": "What happens when nothing can be decided in time.",
        "priority": "Among equally specific policies the higher comes first.",
        "cost": "Units that a request costs: a number, or CEL over the request.",
        "condition": "CEL that yields true or false; where it is false the policy does not apply.",
        "stop": "True leaves out the limits of less specific policies.",
        "message": "What a denied caller reads.",
    },
    Match: {
        "": "Which requests: methods and a path pattern.",
        "methods": "In upper case, or `*` alone. GET takes HEAD too.",
        "path": "Segments are literals, `{id}` or `*` (one segment; as the last one, one or more; alone, everything).",
    },
    Limit: {
        "": "How much: units per window.",
        "name": "Unique in the policy.",
        "algorithm": "How it counts.",
        "limit": "Units per window; of CONCURRENCY requests at once.",
        "window": "From 1s to 366d, such as 30s, 1h or 7d. Either `window` or `align`; of CONCURRENCY how long a slot lives, 1m where nothing is written.",
        "align": "FIXED_WINDOW: windows of the calendar instead of `window`.",
        "time_zone": "For `align`: a name such as Europe/Berlin.",
        "anchor": "For `align: billing`: the instant that a billing month began at, such as 2026-01-31T00:00:00Z.",
        "burst": "TOKEN_BUCKET: units that fit at once; 0 for `limit`.",
        "scope": "What shares one counter.",
        "charge_denied": "True: a denied request takes from this limit too.",
    },
    Metering: {
        "": "What becomes money.",
        "expression": "Units of a request.",
        "trigger": "How units reach Stripe.",
        "price": "Id of a Stripe Price, such as price_123.",
        "event_name": "Name of the Stripe event.",
        "late_usage": "What becomes of units that are reported after their invoice is final.",
    },
    CustomerPlan: {
        "": "What customers of a plan get instead of the policies' own numbers.",
        "name": _NAME,
        "overrides": "One for each limit that differs.",
    },
    Override: _OVERRIDE,
    Customer: {
        "": "Who pays for some identities.",
        "name": _NAME,
        "identities": "Raw values, stored as keyed hashes only. An identity belongs to one customer.",
        "stripe_customer": "Id of a Stripe customer, such as cus_123.",
        "plan": "Name of a plan.",
        "overrides": "Limits that differ for this customer; they win over the plan's.",
    },
    CustomerOverride: {
        **_OVERRIDE,
        "identity": "The one identity of the customer that it is for; left out, all of them.",
        "expires": "From this instant on it is as good as absent, such as 2026-12-31T00:00:00Z.",
    },
    Block: {
        "": "Refuses an endpoint, an identity, or both. Blocks beat every policy.",
        "methods": "In upper case, or `*` alone.",
        "path": "Pattern, as in `match`.",
        "identity": "Raw value, stored as a keyed hash only; left out, everybody.",
        "reason": "For people.",
    },
}
"""By model and by key as files spell it; "" is the mapping itself."""
