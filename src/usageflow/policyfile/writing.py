"""The canonical text of policies: what `load` reads back to the same models, with nothing in it that is a default."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from usageflow.domain.customers import Customer
from usageflow.domain.declared import Declared
from usageflow.domain.policies import SLOT_LIFE, Algorithm, Block, PolicySet

_WIDTH = 110
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

_SPELLED = {"cost_expression": "cost"}
"""A file's cost is a number or an expression."""

Plain = dict[str, Any]
"""A mapping of texts, numbers, lists and further mappings, spelled as in files."""


def write(
    application: str,
    policies: PolicySet,
    *,
    blocks: Sequence[Block] = (),
    customers: Sequence[Customer] = (),
) -> str:
    """Returns a policy file. Keys stand in the order of the models; equal input gives equal bytes."""
    document: Plain = {"version": 1, "application": application}
    for name in PolicySet.model_fields:
        document[name] = [plain(item) for item in getattr(policies, name)]
    document["customers"] = [plain(item) for item in customers]
    document["blocks"] = [plain(item) for item in blocks]
    return to_yaml({key: value for key, value in document.items() if value not in ([], None)})


def plain(declared: Declared) -> Plain:
    """Returns a strategy, policy, plan, customer or block as a file spells it, without what is a default."""
    fields: Plain = declared.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude_none=True)
    for limit in fields.get("limits", ()):
        if _says_nothing(limit):
            del limit["window"]
    return {_SPELLED.get(key, key): value for key, value in fields.items()}


def _says_nothing(limit: Plain) -> bool:
    """Tells whether a limit's window goes without saying: it is the calendar's, or how long slots live by default."""
    window = limit["window"]
    return window is None or (window == SLOT_LIFE and limit.get("algorithm") == Algorithm.CONCURRENCY)


def to_yaml(value: object) -> str:
    """Returns a value of mappings, lists, texts and numbers as YAML, small mappings on a line of their own."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return text


class _Dumper(_DUMPER):  # type: ignore[misc] # chosen above: libyaml's, where PyYAML was built with it
    def represent(self, data: Any) -> None:
        node = self.represent_data(data)
        node.flow_style = False  # the whole is never a line
        self.serialize(node)

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> Any:
        node = super().represent_mapping(tag, mapping, flow_style)
        node.flow_style = all(_is_small(value) for _, value in node.value)
        return node

    def represent_sequence(self, tag: str, sequence: Iterable[Any], flow_style: bool | None = None) -> Any:
        node = super().represent_sequence(tag, sequence, flow_style)
        node.flow_style = all(isinstance(item, yaml.ScalarNode) for item in node.value)
        return node

    def ignore_aliases(self, data: Any) -> bool:
        """Equal values are written out: nobody looks for anchors in a file that a program wrote."""
        return True


def _is_small(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) or (
        isinstance(node, yaml.SequenceNode) and bool(node.flow_style)
    )
