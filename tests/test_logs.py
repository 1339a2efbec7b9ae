"""Log lines: one a record, whatever a caller has put into it."""

import json

import pytest

from aiserv import logs

FORGED = "claim of w1\n2026-01-01 [info] all is well\x1b[2J\u2028next"


@pytest.mark.parametrize("console", [True, False])
def test_no_text_makes_up_a_line_or_moves_the_cursor(*, console: bool) -> None:
    event = {"event": FORGED, "level": "info"}

    for render in logs._renderers(console=console):
        rendered = render(None, "info", event)
        if isinstance(rendered, str):
            assert len(rendered.splitlines()) == 1 or not console
            assert "\n" not in rendered
            assert "\x1b[2J" not in rendered
            assert console or json.loads(rendered)["message"] == FORGED
            return
    pytest.fail("nothing was rendered")
