"""What is to be said of an endpoint. Pure."""

from __future__ import annotations

from enum import StrEnum


class EndpointState(StrEnum):
    """Several may be true of one endpoint; in the order in which they are told."""

    ACTIVE = "ACTIVE"
    NEVER_CALLED = "NEVER_CALLED"
    GONE = "GONE"
    UNREGISTERED = "UNREGISTERED"
    WITHOUT_POLICY = "WITHOUT_POLICY"
    UNMATCHED = "UNMATCHED"


def states_of(
    *, registered: bool, called: bool, lately: bool, gone: bool, covered: bool
) -> list[EndpointState]:
    """Returns the states of an endpoint: whether anybody registered it, whether it was ever called and lately, whether all of its
    services (at least one) have newer releases without it, and whether a policy could match it.
    """
    said = {
        EndpointState.ACTIVE: lately,
        EndpointState.NEVER_CALLED: registered and not called,
        EndpointState.GONE: gone,
        EndpointState.UNREGISTERED: not registered,
        EndpointState.WITHOUT_POLICY: not covered,
    }
    return [state for state, holds in said.items() if holds]


def unmatched_states(*, lately: bool) -> list[EndpointState]:
    """Returns the states of the bucket of requests that no route matched."""
    return [*([EndpointState.ACTIVE] if lately else []), EndpointState.UNMATCHED]
