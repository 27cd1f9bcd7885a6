"""Gates as text for a terminal, and as a forge's CI reads them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from ..results.escaped import in_markdown
from ..results.figures import MISSING, interval, number, p_value, signed
from ..results.layout import WIDTH, Column, fitted, wrapped
from .gate import Gate
from .rows import Row
from .sentences import short_names
from .text import cluster_lines

__all__ = ["gate_github", "gate_junit", "gate_markdown", "gate_text"]


_UNDECIDED = 6
"""So many rows that are not decided have a line of their own; the table has all of them."""


def gate_text(gate: Gate, width: int = WIDTH) -> str:
    """The table in at most `width` places, what does not match, the power line and the verdict."""
    table = [_table(gate.rows, width)] if gate.rows else []
    lines = [f"FAILED: {_drop(row)}" for row in gate.failed]
    undecided = [f"not decided: {_open(row)}" for row in gate.undecided]
    if len(undecided) > _UNDECIDED:
        undecided[_UNDECIDED - 1 :] = [f"not decided: {len(undecided) - _UNDECIDED + 1} more rows of the table"]
    lines += [*undecided, *(f"does not match: {line}" for line in gate.mismatches)]
    lines += [*cluster_lines(gate.rows), *gate.notes, *([gate.blind] if gate.blind else [])]
    lines += [*([gate.power] if gate.rows else []), gate.verdict]
    return "\n".join([*table, *(wrapped(line, width) for line in lines)])


def _table(rows: Sequence[Row], width: int) -> str:
    """A row for each answer; what the answer does not need leaves where there is little room."""
    usual = Counter(row.measure for row in rows).most_common(1)[0][0]
    short = short_names(dict.fromkeys(row.reranker for row in rows))
    some = ["~" * row.assumed + number(row.detectable, row.measure) for row in rows]
    more = [row.answer.more_queries if row.answer else None for row in rows]
    columns = [Column("task", [r.name if r.measure == usual else f"{r.name}, {r.measure}" for r in rows], name=True)]
    if len(short) > 1:
        columns.append(Column("reranker", [short[row.reranker] for row in rows], name=True))
    if len({row.first_stage for row in rows}) > 1:
        columns.append(Column("candidates", [row.first_stage for row in rows], spare=9, name=True))
    columns += [
        Column("queries", [f"{row.queries:,}" for row in rows], spare=7),
        Column("baseline", [number(row.first, row.measure) for row in rows], spare=1),
        Column("current", [number(row.second, row.measure) for row in rows]),
        Column("difference", [signed(row.difference, row.measure) for row in rows], "diff"),
        Column("95 % interval", [interval(row.low, row.high, row.measure, row.difference) for row in rows]),
        Column("p (corrected)", [p_value(row.p_corrected) for row in rows], "p corr", spare=5),
        Column("detectable", some, "least", spare=6),
        Column("more queries", [MISSING if count is None else f"{count:,}" for count in more], "more", spare=8),
        Column("answer", [row.answer.verdict if row.answer else "" for row in rows]),
    ]
    title = f"{usual}, {len(rows)} rows" if len(rows) > 1 else usual
    return f"{title}: baseline → current\n{fitted(columns, width)}"


def _drop(row: Row) -> str:
    shown = row.answer.p_drop if row.answer else row.p_corrected
    return (
        f"{row.name} ({row.reranker}): {row.measure} {number(row.first, row.measure)} → "
        f"{number(row.second, row.measure)}, {signed(row.difference, row.measure)} "
        f"{interval(row.low, row.high, row.measure, row.difference)}, p of a drop within the tolerance {p_value(shown)}"
    )


def _open(row: Row) -> str:
    more = row.answer.more_queries if row.answer else None
    told = (
        f"about {more:,} more {'query' if more == 1 else 'queries'} would decide"
        if more
        else "no number of queries like these would decide"
    )
    return (
        f"{row.name} ({row.reranker}): {row.measure} {signed(row.difference, row.measure)} "
        f"{interval(row.low, row.high, row.measure, row.difference)}; {told}"
    )


def gate_github(gate: Gate) -> str:
    """Workflow commands, which GitHub and Forgejo show as annotations of the run."""
    lines = [_annotation("error", f"{row.name} dropped", _drop(row)) for row in gate.failed]
    lines += [_annotation("error", "results do not match the baseline", line) for line in gate.mismatches]
    level = "error" if gate.undecided_fails else "warning"
    lines += [_annotation(level, f"{row.name} is not decided", _open(row)) for row in gate.undecided]
    lines += [_annotation("warning", "gate", line) for line in [*gate.notes, *([gate.blind] if gate.blind else [])]]
    last = "error" if gate.exit_code else "warning" if gate.undecided else "notice"
    return "\n".join([*lines, _annotation(last, "gate", f"{gate.verdict}. {gate.power}")])


def _annotation(level: str, title: str, message: str) -> str:
    data = message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    name = title.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A").replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={name}::{data}"


def gate_markdown(gate: Gate) -> str:
    """The verdict first, then the table: a page of a forge's summary."""
    lines = [f"**{gate.verdict}**", ""]
    if gate.rows:
        lines += [
            "| | answer | reranker | baseline | current | difference [95 %] | queries |",
            "| --- | --- | --- | ---: | ---: | ---: | ---: |",
        ]
        lines += [_markdown_row(row) for row in gate.rows]
        lines.append("")
    lines += [f"- does not match: {in_markdown(line)}" for line in gate.mismatches]
    lines += [f"- {in_markdown(line)}" for line in [*gate.notes, *([gate.blind] if gate.blind else []), gate.power]]
    return "\n".join(lines)


def _markdown_row(row: Row) -> str:
    answer = row.answer.verdict if row.answer else ""
    shown = f"{signed(row.difference, row.measure)} {interval(row.low, row.high, row.measure, row.difference)}".strip()
    cells = (
        f"{row.name} {row.measure}", f"**{answer}**" if answer == "failed" else answer, row.reranker,
        number(row.first, row.measure), number(row.second, row.measure), shown, f"{row.queries:,}",
    )  # fmt: skip
    bold = ("**failed**",)
    return f"| {' | '.join(cell if cell in bold else in_markdown(cell) for cell in cells)} |"


_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def gate_junit(gate: Gate) -> str:
    """A test case for each row: failures are drops, errors are results that do not match, and what is not decided
    is skipped, with the reason (a failure with --undecided fail).

    What Jenkins (its junit-10.xsd) and GitLab read: GitLab shows the text of a failure, Jenkins its message too.
    """
    failed, undecided = ({id(row) for row in rows} for rows in (gate.failed, gate.undecided))
    failures = len(failed) + (len(undecided) if gate.undecided_fails else 0)
    about = {
        "name": "rerank-harness gate",
        "time": "0",
        "tests": str(len(gate.rows) + len(gate.mismatches)),
        "failures": str(failures),
        "errors": str(len(gate.mismatches)),
    }
    root = ET.Element("testsuites", about)
    suite = ET.SubElement(root, "testsuite", {**about, "skipped": str(len(failed | undecided) - failures)})
    for row in gate.rows:
        name = _xml(f"{row.name}, {row.first_stage}, {row.measure}")
        case = ET.SubElement(suite, "testcase", classname=_xml(row.reranker), name=name, time="0")
        if id(row) in failed:
            _told(case, "failure", "drop", _drop(row))
        elif id(row) in undecided and gate.undecided_fails:
            _told(case, "failure", "not decided", _open(row))
        elif id(row) in undecided:
            ET.SubElement(case, "skipped", message=_xml(f"not decided: {_open(row)}"))
    for line in gate.mismatches:
        case = ET.SubElement(suite, "testcase", classname="baseline", name=_xml(line), time="0")
        _told(case, "error", "mismatch", line)
    ET.SubElement(suite, "system-out").text = _xml("\n".join([*gate.notes, gate.blind, gate.power, gate.verdict]))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode")


def _told(case: ET.Element, tag: str, kind: str, text: str) -> None:
    ET.SubElement(case, tag, message=_xml(text), type=kind).text = _xml(text)


def _xml(text: str) -> str:
    """Without the characters that XML has no place for; the writer escapes the rest."""
    return _NOT_XML.sub("�", text)
