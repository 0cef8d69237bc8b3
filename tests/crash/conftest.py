"""A table of what each combination came to, at the end."""

RESULT = "crash result"


def pytest_terminal_summary(terminalreporter):
    reports = terminalreporter.stats.get("passed", []) + terminalreporter.stats.get("failed", [])
    results = [(report.nodeid, dict(report.user_properties)[RESULT]) for report in reports
               if report.when == "call" and RESULT in dict(report.user_properties)]
    if not results:
        return
    terminalreporter.section("crash")
    terminalreporter.line(" | ".join(["combination", *results[0][1]]))
    for node, result in results:
        combination = node.partition("[")[2].rstrip("]")
        terminalreporter.line(" | ".join([combination, *map(str, result.values())]))
