"""Shared by all tests: the portable arithmetic, and the tiny dataset under a name that configs can use."""

import gc
import os

from tcmax.records import arithmetic

arithmetic.fix()  # before torch and numpy are imported anywhere

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

from tcmax.data import DATASETS  # noqa: E402
from tcmax.registry import Entry  # noqa: E402

# What is imported to collect the tests lives as long as they do: the garbage collector never looks at it.
gc.disable()

# An example may take long on a machine that does other things too: no test is timed.
settings.register_profile("tcmax", deadline=None)
settings.load_profile("tcmax")


@pytest.fixture
def installed_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dataset "tiny", as if a package had added it."""
    monkeypatch.setitem(DATASETS.entries, "tiny", Entry("tiny:dataset"))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The whole DAG takes longest, so a worker starts on it while the others do the rest."""
    items.sort(key=lambda item: "test_workflow" not in item.nodeid)


# Reasons for which a test may be skipped even in continuous integration, each with why it cannot be helped.
EXCUSED_SKIPS: dict[str, str] = {
    "no CUDA device": "continuous integration has no GPU",
    "real data are not here": "the sets have licences of their own and do not come with the code",
}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In continuous integration, a test skipped for a reason that is not listed fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or reporter is None:
        return
    for report in reporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(excuse in reason for excuse in EXCUSED_SKIPS):
            reporter.write_line(f"skipped without an excuse: {report.nodeid}: {reason}", red=True)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
