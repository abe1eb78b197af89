"""JUnit's XML, as CI systems read it."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from usageflow.cli.output import printable


def report(suite: str, cases: Sequence[tuple[str, Sequence[str]]]) -> bytes:
    """Returns the report of a suite: cases with what went wrong in each, which is nothing where it holds."""
    failed = sum(bool(wrong) for _, wrong in cases)
    root = ET.Element(
        "testsuite", name=printable(suite), tests=str(len(cases)), failures=str(failed), errors="0"
    )
    for name, wrong in cases:
        case = ET.SubElement(root, "testcase", classname=printable(suite), name=printable(name))
        if wrong:
            failure = ET.SubElement(case, "failure", message=printable(wrong[0]))
            failure.text = "\n".join(map(printable, wrong))
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))
