from __future__ import annotations

from usageflow.domain.blocks import block_id, stored_key
from usageflow.domain.policies import Block


def test_a_block_is_named_by_methods_path_and_identity() -> None:
    block = Block(methods=("get", "PUT"), path="/a", identity="ab12", reason="abuse")
    assert stored_key(block) == '[["GET","PUT"],"/a","ab12"]'
    assert block_id(block) == block_id(block.model_copy(update={"methods": ("PUT", "GET"), "reason": ""}))
    assert len(block_id(block)) == 20


def test_another_path_or_identity_is_another_block() -> None:
    block = Block(path="/a", identity="ab12")
    others = [
        block.model_copy(update=change)
        for change in ({"path": "/b"}, {"identity": ""}, {"methods": ("GET",)})
    ]
    assert len({block_id(each) for each in (block, *others)}) == 4
