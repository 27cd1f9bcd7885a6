"""Comparisons and gates as text for a terminal, and gates as a forge's CI reads them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from ..results.figures import MISSING, interval, number, p_value, signed
from ..results.tables import align
from .compare import Comparison, Row
from .gate import Gate
from .moved import MovedDocument, MovedQuery
from .samples import Sample

__all__ = ["comparison_text", "gate_github", "gate_junit", "gate_text", "moved_text", "shortened"]

_WIDTH = 120


def comparison_text(comparison: Comparison) -> str:
    """A row for each task, subset and mean, and what else a reader must know."""
    head = f"{comparison.first} → {comparison.second}"
    sides = (
        ["first", "second"]
        if len(comparison.first) + len(comparison.second) > 40
        else [comparison.first, comparison.second]
    )
    table = _table(comparison.rows, sides, ["wins", "ties", "losses"])
    rule = (
        "difference: second − first, 95 % paired bootstrap interval over queries; p: paired randomisation; "
        f"p (Holm): corrected over all rows ({len(comparison.rows)}). Wins are queries where the second is better."
    )
    return "\n".join([head, table, rule, *comparison.notes, ""])


def _table(rows: Sequence[Row], sides: Sequence[str], more: Sequence[str]) -> str:
    systems = len({row.reranker for row in rows}) > 1
    head = ["task", *(["reranker"] if systems else []), "candidates", "measure", "queries", *sides]
    lines = [[*head, "difference", "95 % interval", "p", "p (Holm)", *more]]
    for row in rows:
        name = row.measure
        cells = [row.name, *([row.reranker] if systems else []), row.first_stage, name, str(row.queries)]
        cells += [number(row.first, name), number(row.second, name), signed(row.difference, name)]
        cells += [interval(row.low, row.high, name), p_value(row.p), p_value(row.p_holm)]
        lines.append([*cells, *_more(row, more)])
    return align(lines)


def _more(row: Row, names: Sequence[str]) -> list[str]:
    shown = {"detectable": ("~" if row.assumed else "") + number(row.detectable, row.measure)}
    return [shown.get(name, str(getattr(row, name, ""))) for name in names]


def moved_text(sample: Sample, queries: Sequence[MovedQuery]) -> str:
    """The queries that moved most, a paragraph each, with the documents that changed places."""
    lines = [f"{sample.name}, {sample.measure}: the queries that moved most"]
    for query in queries:
        figures = f"{number(query.before, sample.measure)} → {number(query.after, sample.measure)}"
        lines.append(f"  {query.query_id}: {figures}  {shortened(query.text)}".rstrip())
        lines += [f"    {_document(document)}" for document in query.documents]
    return "\n".join([*lines, ""])


def _document(document: MovedDocument) -> str:
    judged = "not judged" if document.relevance is None else f"relevance {document.relevance}"
    places = f"{document.before or MISSING} → {document.after or MISSING}"
    return f"{document.doc_id} ({judged}), place {places}: {shortened(document.text)}".rstrip(": ")


def shortened(text: str | None, width: int = _WIDTH) -> str:
    """The text on one line of at most `width` characters; empty where there is none."""
    line = " ".join((text or "").split())
    return line if len(line) <= width else line[: width - 1] + "…"


def gate_text(gate: Gate) -> str:
    """The table, what does not match, the power line and the verdict."""
    lines = []
    if gate.rows:
        lines.append(_table(gate.rows, ["baseline", "current"], ["detectable"]))
    lines += [f"FAILED: {_drop(row)}" for row in gate.failed]
    lines += [f"dropped, but not beyond chance: {_drop(row)}" for row in gate.uncertain]
    lines += [f"does not match: {line}" for line in gate.mismatches]
    return "\n".join([*lines, *gate.notes, *([gate.power] if gate.rows else []), gate.verdict])


def _drop(row: Row) -> str:
    return (
        f"{row.name} ({row.reranker}): {row.measure} {number(row.first, row.measure)} → "
        f"{number(row.second, row.measure)}, {signed(row.difference, row.measure)} "
        f"{interval(row.low, row.high, row.measure)}, p (Holm) {p_value(row.p_holm)}"
    )


def gate_github(gate: Gate) -> str:
    """Workflow commands, which GitHub and Forgejo show as annotations of the run."""
    lines = [_annotation("error", f"{row.name} dropped", _drop(row)) for row in gate.failed]
    lines += [_annotation("error", "results do not match the baseline", line) for line in gate.mismatches]
    lines += [
        _annotation("warning", f"{row.name} dropped, but not beyond chance", _drop(row)) for row in gate.uncertain
    ]
    lines += [_annotation("warning", "gate", line) for line in gate.notes]
    last = "error" if gate.exit_code else "notice"
    return "\n".join([*lines, _annotation(last, "gate", f"{gate.verdict}. {gate.power}")])


def _annotation(level: str, title: str, message: str) -> str:
    data = message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    name = title.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A").replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={name}::{data}"


_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def gate_junit(gate: Gate) -> str:
    """A test case for each row: failures are drops, errors are results that do not match.

    What Jenkins (its junit-10.xsd) and GitLab read: GitLab shows the text of a failure, Jenkins its message too.
    """
    failed = {id(row) for row in gate.failed}
    about = {
        "name": "rerank-harness gate",
        "time": "0",
        "tests": str(len(gate.rows) + len(gate.mismatches)),
        "failures": str(len(gate.failed)),
        "errors": str(len(gate.mismatches)),
    }
    root = ET.Element("testsuites", about)
    suite = ET.SubElement(root, "testsuite", {**about, "skipped": "0"})
    for row in gate.rows:
        name = _xml(f"{row.name}, {row.first_stage}, {row.measure}")
        case = ET.SubElement(suite, "testcase", classname=_xml(row.reranker), name=name, time="0")
        if id(row) in failed:
            _told(case, "failure", "drop", _drop(row))
    for line in gate.mismatches:
        case = ET.SubElement(suite, "testcase", classname="baseline", name=_xml(line), time="0")
        _told(case, "error", "mismatch", line)
    ET.SubElement(suite, "system-out").text = _xml("\n".join([*gate.notes, gate.power, gate.verdict]))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode")


def _told(case: ET.Element, tag: str, kind: str, text: str) -> None:
    ET.SubElement(case, tag, message=_xml(text), type=kind).text = _xml(text)


def _xml(text: str) -> str:
    """Without the characters that XML has no place for; the writer escapes the rest."""
    return _NOT_XML.sub("�", text)
