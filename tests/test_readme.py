"""The README says what the data say."""

from __future__ import annotations

from tests.configured import configured
from tests.readme import README, provider_table


def test_the_table_of_providers() -> None:
    """The README's table is the catalogue's: ``python -m tests.readme`` prints it anew."""
    _, marker, rest = README.read_text().partition("<!-- providers -->\n")
    table, end, _ = rest.partition("<!-- /providers -->")
    assert marker
    assert end
    assert table.strip() == provider_table(configured().providers.values())
