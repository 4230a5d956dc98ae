"""A smoke test as JUnit XML, for the test tab of a CI.

pytest could write it, but only at the end of a run: of one that hangs there would be nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from reconciler.build.smoke.judge import Judged
from reconciler.model.printable import visible


def document(image: str, parts: Sequence[tuple[str, Judged]], *, why: str | None) -> str:
    """The whole test, a `testsuite` a part. `why` is what kept it from its end, as an error of its own."""
    root = ET.Element("testsuites", {"name": image})
    for name, judged in parts:
        _append(root, name, judged)
    if why is not None:
        suite = ET.SubElement(root, "testsuite", {"name": image, "tests": "1", "failures": "0", "errors": "1"})
        case = ET.SubElement(suite, "testcase", {"classname": image, "name": "smoke test", "time": "0"})
        ET.SubElement(case, "error", {"message": visible(why)})
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _append(root: ET.Element, name: str, judged: Judged) -> None:
    told = {case.name for case in judged.cases}
    # A file that could not be read, a test that hung: they failed, and never ended.
    untold = [one for one in judged.failed if one.test not in {visible(name) for name in told}]
    failures = sum(case.ended.outcome == "failed" for case in judged.cases)
    counts = {
        "tests": len(judged.cases) + len(untold),
        "failures": failures,
        "errors": len(untold),
        "skipped": sum(case.ended.outcome == "skipped" for case in judged.cases),
    }
    seconds = sum(case.ended.seconds for case in judged.cases)
    attributes = {"name": visible(name), **{key: str(value) for key, value in counts.items()}, "time": f"{seconds:.3f}"}
    suite = ET.SubElement(root, "testsuite", attributes)
    for case in judged.cases:
        named = {"classname": visible(name), "name": visible(case.name), "time": f"{case.ended.seconds:.3f}"}
        element = ET.SubElement(suite, "testcase", named)
        if case.ended.outcome != "passed":
            kind = "failure" if case.ended.outcome == "failed" else "skipped"
            found = ET.SubElement(element, kind, {"message": visible(case.ended.what)})
            # XML has no way to write most control characters, and a test's output may hold any.
            found.text = "\n".join(visible(line) for line in case.ended.details.splitlines()) or None
        if case.findings:
            # JUnit knows no warnings: a test that found something passed, and says what in its output.
            output = ET.SubElement(element, "system-out")
            output.text = "\n".join(f"finding: {one.text}\n  {one.hint}" for one in case.findings)
    for one in untold:
        element = ET.SubElement(suite, "testcase", {"classname": visible(name), "name": one.test, "time": "0"})
        ET.SubElement(element, "error", {"message": one.what})
