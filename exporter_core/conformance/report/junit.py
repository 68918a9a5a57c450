"""The report as JUnit XML, which CI systems read: a suite for each mode, a test case for each clause.

A case fails where the exit code of ``exporter-core check`` says so: a MUST that failed, with ``strict`` a SHOULD too. A
clause that decides and is inconclusive is an error; every other result but PASS is skipped, with its verdict.
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

from exporter_core.conformance.clause import FAMILIES
from exporter_core.conformance.report.conclusion import INCOMPLETE, deciding
from exporter_core.conformance.report.json_report import as_json, seen_at
from exporter_core.conformance.run.verdicts import Report, Verdict

_SUITE_PROPERTIES = ("origin", "tier", "seed", "strict", "contract_version", "kit_version", "python_version")
_NOTHING = (Verdict.INCONCLUSIVE, Verdict.KIT_ERROR, None)


def as_junit(report: Report, *, strict: bool = False) -> str:
    """The report as an XML document."""
    master = as_json(report, strict=strict)
    decide = {clause.id for clause in deciding(report.clauses, strict=strict)}
    root = ET.Element("testsuites", name=_xml(f"conformance of {report.target}"))
    for mode in master["modes"]:
        suite = ET.SubElement(root, "testsuite", name=_xml(f"{report.target} {mode}"))
        properties = ET.SubElement(suite, "properties")
        for name in _SUITE_PROPERTIES:
            ET.SubElement(properties, "property", name=name, value=_xml(_plain(master[name])))
        ET.SubElement(properties, "property", name="conclusion", value=_xml(master["conclusion"][mode]))
        for clause in master["clauses"]:
            _case(suite, clause, mode, decides=clause["id"] in decide)
        if master["conclusion"]["exit_codes"][mode] == INCOMPLETE and not suite.findall(".//error"):
            _incomplete(suite, mode, master["conclusion"][mode])
        _count(suite)
    _count(root)
    ET.indent(root)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ET.tostring(root, encoding='unicode')}\n"


def _case(suite: ET.Element, clause: dict[str, Any], mode: str, *, decides: bool) -> None:  # Any: JSON
    result = clause["results"].get(mode)
    family = clause["id"].partition("-")[0]
    case = ET.SubElement(
        suite,
        "testcase",
        name=_xml(f"{clause['id']} {clause['promise']}"),
        classname=f"conformance.{mode}.{FAMILIES.get(family, family).replace(' ', '_')}",
        time=f"{result['seconds'] if result else 0:.3f}",
    )
    verdict = Verdict(result["verdict"]) if result else None
    if verdict is not Verdict.PASS:
        word = str(verdict or "NOT_RUN")
        said = seen_at(result["seen"], result["where"]) if result else "the check ended before this clause"
        if decides and verdict is Verdict.FAIL:
            ET.SubElement(case, "failure", type=word, message=_xml(said)).text = _xml(_failure(clause, result))
        elif verdict is Verdict.KIT_ERROR or (decides and verdict in _NOTHING):
            ET.SubElement(case, "error", type=word, message=_xml(said)).text = _xml(_failure(clause, result))
        else:
            ET.SubElement(case, "skipped", message=_xml(f"{word}: {said}"))
    if result:
        ET.SubElement(case, "system-out").text = _xml(_told(result))
        if text := "\n".join(filter(None, (result["traceback"], result["dump"]))):
            ET.SubElement(case, "system-err").text = _xml(text)


def _incomplete(suite: ET.Element, mode: str, sentence: str) -> None:
    """Add a case that says that the suite is not the whole contract, so that it is as green as the exit code."""
    case = ET.SubElement(suite, "testcase", name="every clause was observed", classname=f"conformance.{mode}", time="0")
    ET.SubElement(case, "error", type="INCOMPLETE", message=_xml(sentence))


def _failure(clause: dict[str, Any], result: dict[str, Any] | None) -> str:  # Any: JSON
    rows = {"contract": clause["words"], "look at": clause["check"]}
    if result:
        rows |= {"expected": result["expected"], "seen": result["seen"], "reproduce": result["reproduce"]}
    return "".join(f"{name}: {value}\n" for name, value in rows.items() if value)


def _told(result: dict[str, Any]) -> str:  # Any: JSON
    lines = [f"observed: {text}" for text in result["observations"]]
    if result["canary"]:
        lines.append(f"canary: {result['canary']}{result['canary_seen'] and ': '}{result['canary_seen']}")
    lines += [f"{event['seconds'] * 1000:9.1f} ms  {event['kind']:<6} {event['text']}" for event in result["timeline"]]
    return "\n".join([*lines, f"reproduce: {result['reproduce']}"])


def _count(element: ET.Element) -> None:
    cases = list(element.iter("testcase"))
    element.set("tests", str(len(cases)))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(attribute, str(sum(case.find(tag) is not None for case in cases)))
    element.set("time", f"{sum(float(case.get('time', '0')) for case in cases):.3f}")


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def _xml(text: str) -> str:
    """The text, with escapes for the characters that XML cannot hold."""
    return "".join(one if _allowed(ord(one)) else one.encode("unicode_escape").decode() for one in text)


def _allowed(code: int) -> bool:
    # https://www.w3.org/TR/xml/#charsets
    return code in (0x9, 0xA, 0xD) or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000  # noqa: PLR2004
