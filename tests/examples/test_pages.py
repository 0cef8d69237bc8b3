"""The examples of the pages about what the gateway does print what the page says."""

import pytest

from lib.gateway import Gateway
from lib.pages import blocks, examples, output, text_of

PAGES = ("queues.md", "policies.md", "transactions.md", "large-messages.md")
CASES = [(page, number, example) for page in PAGES for number, example in enumerate(examples(page), 1)]


@pytest.mark.parametrize("example", [case[2] for case in CASES], ids=[f"{page} {number}" for page, number, _ in CASES])
def test_an_example_prints_what_the_page_says(example):
    gateway = Gateway()
    (gateway.directory / "evergate.toml").write_text(example.settings)
    with gateway:
        assert output(gateway, example.program) == example.printed


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_settings_is_taken_as_it_stands(page):
    for settings in blocks(page, "toml"):
        gateway = Gateway()
        (gateway.directory / "evergate.toml").write_text(settings)
        with gateway:
            assert gateway.is_ready()


@pytest.mark.parametrize("page", PAGES)
def test_no_block_is_of_a_kind_that_nothing_runs(page):
    fences = [line for line in text_of(page).splitlines() if line.startswith("```")]
    opened = fences[::2]
    assert set(opened) <= {"```python", "```text", "```toml"}
