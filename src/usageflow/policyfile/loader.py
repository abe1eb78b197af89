"""Policies as code: one YAML file becomes checked models, or a list of problems with their places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from usageflow.domain.customers import Customer
from usageflow.domain.errors import Fault
from usageflow.domain.expressions import ExpressionCheck, refuse_expressions
from usageflow.domain.garbage import uncollected
from usageflow.domain.policies import Block, PolicySet
from usageflow.domain.validation import validate
from usageflow.policyfile.composer import Composer
from usageflow.policyfile.nodes import Items, Mapping, Node, child_of, nearest, path_of, steps_of, value_of
from usageflow.policyfile.problems import PolicyFileError, Problem, in_order
from usageflow.policyfile.schema import NOT_IN_FILES, Document
from usageflow.policyfile.wording import problems_of, unknown_key

MAX_BYTES = 16 * 1024 * 1024
"""The largest file, in bytes of UTF-8."""

_SPELLED = {"location": "in", "window_us": "window", "anchor_us": "anchor", "expires_us": "expires"}


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """A file that can be applied, with the place of everything in it."""

    filename: str
    application: str
    policy_set: PolicySet
    blocks: tuple[Block, ...]
    customers: tuple[Customer, ...]
    root: Node

    def locate(self, path: str) -> tuple[int, int]:
        """Returns line and column (from 1) of a field such as ``policies[3].limits[0].window``.

        Where the field is not in the file, it is the place of the nearest parent that is. Never raises.
        """
        steps = tuple(_SPELLED.get(step, step) if isinstance(step, str) else step for step in steps_of(path))
        node = nearest(self.root, steps)
        return node.line, node.column

    def problems_of(self, faults: Sequence[Fault]) -> tuple[Problem, ...]:
        """Returns what the service found wrong as problems of this file, by line."""
        return in_order(
            Problem(self.filename, *self.locate(fault.field), fault.field, _named(fault), fault.fix)
            for fault in faults
        )


def load(text: str, *, filename: str, check: ExpressionCheck = refuse_expressions) -> LoadedFile:
    """Returns what the file declares. Raises PolicyFileError with every problem that was found, by line.

    ``filename`` only names the file in messages; ``check`` knows the language of expressions.
    """
    with uncollected():
        return _load(text, filename, check)


def _load(text: str, filename: str, check: ExpressionCheck) -> LoadedFile:
    if len(text) > MAX_BYTES or len(text.encode(errors="replace")) > MAX_BYTES:
        raise _whole_file(filename, "the file is larger than 16 MiB", "split it by application")
    composer = Composer(text, filename=filename)
    root = composer.compose()
    if root is None:
        raise _whole_file(
            filename, "the file is empty", "write at least `version: 1` and `application: demo`"
        )
    document, problems = _validate(root, filename)
    problems.extend(_hidden_keys(root, filename))
    problems.extend(composer.problems)
    if document is None or problems:
        raise PolicyFileError(problems)
    policy_set = PolicySet(strategies=document.strategies, policies=document.policies, plans=document.plans)
    loaded = LoadedFile(filename, document.application, policy_set, document.blocks, document.customers, root)
    faults = validate(policy_set, document.blocks, document.customers, check)
    if faults:
        raise PolicyFileError(loaded.problems_of(faults))
    return loaded


def _validate(root: Node, filename: str) -> tuple[Document | None, list[Problem]]:
    if not isinstance(root, Mapping):
        fix = "write keys and values, beginning with `version: 1`"
        return None, [Problem(filename, root.line, root.column, "", "the file must be a mapping", fix)]
    try:
        # by_name=False: a file says `in` and `window`, never the names that Python code uses.
        return Document.model_validate(value_of(root), by_alias=True, by_name=False), []
    except ValidationError as error:
        return None, list(problems_of(error, root, filename))


def _hidden_keys(root: Node, filename: str) -> Iterator[Problem]:
    """Yields the keys of policies that Python code has and files have not."""
    policies = child_of(root, "policies")
    for index, policy in enumerate(policies.items if isinstance(policies, Items) else ()):
        known = policy.entries if isinstance(policy, Mapping) else {}
        for name in sorted(NOT_IN_FILES & known.keys()):
            key, steps = known[name][0], ("policies", index, name)
            yield Problem(filename, key.line, key.column, path_of(steps), *unknown_key(steps))


_SUBJECTLESS = ("does ", "is ", "holds ", "names ", "mix ", "must ", "counts ", "input ", "string ", "value ")


def _named(fault: Fault) -> str:
    """Returns the message with the key in front where it leaves the key to the field: ``does not begin with a slash``."""
    key = fault.field.rpartition(".")[2].partition("[")[0]
    return f"'{key}' {fault.message}" if key and fault.message.startswith(_SUBJECTLESS) else fault.message


def _whole_file(filename: str, message: str, fix: str) -> PolicyFileError:
    return PolicyFileError([Problem(filename, 1, 1, "", message, fix)])
