"""The names of endpoints as callers give them."""

from __future__ import annotations

import re

from usageflow.domain.errors import InvalidArgument
from usageflow.domain.templates import canonical_template
from usageflow.domain.usage import EndpointName

_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")


def endpoint_of(method: str, template: str) -> EndpointName:
    """Returns the canonical endpoint. Raises InvalidArgument, field ``method`` or ``template``."""
    if not _METHOD.fullmatch(method):
        raise InvalidArgument.of(
            "method", "is not an HTTP method of 1 to 32 characters", "send one such as GET"
        )
    return EndpointName(method.upper(), canonical_template(template))
