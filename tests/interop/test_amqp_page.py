"""The examples of docs/protocols/amqp.md print what the page says."""

import pytest

from lib.pages import examples, output


@pytest.mark.parametrize("example", examples("protocols/amqp.md"))
def test_an_example_prints_what_the_page_says(gateway, example):
    assert output(gateway, example.program) == example.printed
