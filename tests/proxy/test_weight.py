"""How many tokens a text has, without anybody's vocabulary."""

from __future__ import annotations

import base64
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.proxy.weight import MUCH, weigh
from tests.proxy.texts import COUNTED, Counted


@pytest.mark.parametrize("counted", COUNTED.values(), ids=COUNTED.keys())
def test_the_weight_is_close_to_what_vocabularies_say(counted: Counted) -> None:
    """Within 15 % of their mean, and 25 % of each; four characters a token are up to 65 % off."""
    weight = weigh(counted.text)
    assert weight == pytest.approx(counted.mean, rel=0.15)
    assert all(weight == pytest.approx(tokens, rel=0.25) for tokens in counted.tokens.values())


def test_all_texts_together_are_closer() -> None:
    """Errors of both signs even out, as in a whole request."""
    together = weigh("\n".join(counted.text for counted in COUNTED.values()))
    assert together == pytest.approx(sum(each.mean for each in COUNTED.values()), rel=0.03)


def test_base64_is_not_taken_for_words() -> None:
    """It has no words that a vocabulary could know: about 0.7 tokens a character."""
    blob = base64.b64encode(random.Random(1).randbytes(6000)).decode()
    assert weigh(blob) == pytest.approx(0.71 * len(blob), rel=0.05)
    assert weigh(f"data: {blob}\n") == pytest.approx(weigh(blob), rel=0.05)


@given(st.text(max_size=300), st.text(max_size=300))
def test_weights_add_up(first: str, second: str) -> None:
    """Nothing weighs less than nothing, and two texts weigh together about what each weighs."""
    assert weigh("") == 0
    assert weigh(first) >= 0
    assert weigh(f"{first}\n{second}") <= weigh(first) + weigh(second) + 6
    assert weigh(f"{first}\n{second}") >= weigh(first)


@pytest.mark.parametrize("text", ["\ud800", "👩‍💻🇩🇪", "\x00\x7f", "ﬀ", "\u2028"])
def test_every_character_weighs_something(text: str) -> None:
    """Half a surrogate pair too, which JSON can hold."""
    assert weigh(text) > 0


def test_a_very_long_text_is_weighed_by_samples() -> None:
    """Its time is bounded, and samples from everywhere tell what the whole would."""
    text = "".join(counted.text for counted in COUNTED.values())
    long = text * (8 * MUCH // len(text))
    began = time.process_time()
    weight = weigh(long)
    assert time.process_time() - began < 2
    assert weight == pytest.approx(weigh(text) * len(long) / len(text), rel=0.03)
