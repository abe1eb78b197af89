"""One resource as YAML: what stands below `policies:` and the like, alone in a file."""

from __future__ import annotations

from collections.abc import Mapping as Fields
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from usageflow.domain.errors import Fault
from usageflow.policyfile.composer import Composer
from usageflow.policyfile.nodes import Items, Mapping, Node, Scalar, nearest, steps_of, value_of
from usageflow.policyfile.problems import PolicyFileError, Problem, in_order
from usageflow.policyfile.schema import Document
from usageflow.policyfile.wording import problems_of

_ANY = {"version": 1, "application": "any"}


@dataclass(frozen=True, slots=True)
class Snippet:
    """The fields that a text holds, and where each stands. ``section`` is the list of policy files that it would be an item of."""

    filename: str
    section: str
    fields: Fields[str, Any]
    root: Node

    def model(self, fields: Fields[str, Any]) -> BaseModel:
        """Returns the resource of these fields, which are the snippet's own or hold them. Raises PolicyFileError."""
        try:
            document = Document.model_validate(
                {**_ANY, self.section: [dict(fields)]}, by_alias=True, by_name=False
            )
        except ValidationError as error:
            raise PolicyFileError(problems_of(error, self.root, self.filename)) from None
        resource: BaseModel = getattr(document, self.section)[0]
        return resource

    def problems_of(self, faults: Sequence[Fault]) -> tuple[Problem, ...]:
        """Returns what the service found wrong as problems of this text; fields are paths such as ``policy.limits[0].limit``."""
        problems = []
        for fault in faults:
            path = fault.field.partition(".")[2]
            node = nearest(self.root, (self.section, 0, *steps_of(path)))
            problems.append(Problem(self.filename, node.line, node.column, path, fault.message, fault.fix))
        return in_order(problems)


def load_snippet(text: str, *, filename: str, section: str) -> Snippet:
    """Returns what a text holds. Raises PolicyFileError where that is no mapping."""
    composer = Composer(text, filename=filename)
    node = composer.compose()
    if composer.problems:
        raise PolicyFileError(composer.problems)
    if not isinstance(node, Mapping):
        place = (node.line, node.column) if node is not None else (1, 1)
        fix = "write the keys and values of one resource, as they stand in a policy file"
        raise PolicyFileError([Problem(filename, *place, "", "there is no mapping", fix)])
    fields = value_of(node)
    key = Scalar(node.line, node.column, section, "str")
    items = Items(node.line, node.column, [node])
    root = Mapping(node.line, node.column, {section: (key, items)})
    return Snippet(filename, section, fields if isinstance(fields, dict) else {}, root)
