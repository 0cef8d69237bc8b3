"""The examples of docs/protocols/stomp.md print what the page says."""

import pytest

from interop.pages import examples, output


@pytest.mark.parametrize("program, printed", examples("stomp.md"))
def test_an_example_prints_what_the_page_says(gateway, program, printed):
    assert output(gateway, program) == printed
