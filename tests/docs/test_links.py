"""Links between the pages lead somewhere; the commands that the README shows exist."""

import re
import unicodedata

import pytest

from architecture.test_tidy import text_of, tracked
from lib.gateway import ROOT

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
PAGES = tracked("*.md")


def anchors(path):
    """The fragments that a page's headings give, as Markdown viewers make them."""
    found = set()
    for heading in re.findall(r"^#+ +(.*)$", text_of(path), re.MULTILINE):
        heading = unicodedata.normalize("NFC", re.sub(r"[`*]", "", heading)).lower()
        found.add(re.sub(r"[^\w\- ]", "", heading).replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_links_resolve(page):
    text = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
    broken = []
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = link.partition("#")
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        missing = not target.exists()
        if missing or (fragment and target.suffix == ".md" and fragment not in anchors(target.relative_to(ROOT))):
            broken.append(link)
    assert not broken


def test_every_page_of_the_docs_is_reachable():
    linked = set()
    for page in PAGES:
        for link in LINK.findall(text_of(page)):
            linked.add(((ROOT / page).parent / link.partition("#")[0]).resolve())
    orphans = [page for page in tracked("docs/*.md") if not {ROOT / page, (ROOT / page).parent} & linked]
    assert not orphans


def test_the_scripts_that_pages_name_exist():
    named = {
        script
        for page in PAGES
        for script in re.findall(r"(?:^|[\s`(])\.?/?(tests/(?:run|bench)\b|\.ci/run\b)", text_of(page))
    }
    assert "tests/run" in named
    assert not [script for script in named if not (ROOT / script).is_file()]


def test_the_parts_of_tests_run_that_pages_name_exist():
    parts = set(re.findall(r"^part_(\w+)\(\)", (ROOT / "tests/run").read_text(), re.MULTILINE))
    for page in PAGES:
        for line in re.findall(r"tests/run((?: --?\w+| [a-z]+)*)`?$", text_of(page), re.MULTILINE):
            named = [word for word in line.split() if not word.startswith("-")]
            assert set(named) <= parts, f"{page}: {line}"
