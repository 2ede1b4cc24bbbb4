"""A key is told by its place, and trouble with it by how much somebody counts on it."""

from __future__ import annotations

from bridge.doctor.judging.key import Places, judge
from tests.doctor.rows import levels, only

WRONG = (("GLM_API_KEY holds a placeholder and no key", "set it to the key alone"),)
ODD = (("~/.glm.key can be read by other users", "run: chmod 600 ~/.glm.key"),)


def test_found() -> None:
    """A key is well where a place yields one."""
    finding = only(judge(Places("glm", "GLM_API_KEY")))
    assert (finding.level, finding.subject) == ("ok", "glm key")
    assert finding.text == "comes from GLM_API_KEY"


def test_none() -> None:
    """None is nobody's concern, unless somebody counts on it."""
    assert list(judge(Places("glm", None))) == []
    wanted = Places("glm", None, names=("~/.glm.key", "GLM_API_KEY"), wanted=True)
    finding = only(judge(wanted))
    assert (finding.level, finding.mend) == ("warn", "put one into ~/.glm.key or GLM_API_KEY")
    nowhere = only(judge(Places("glm", None, wanted=True)))
    assert "[providers.glm] key" in nowhere.mend


def test_wrong() -> None:
    """What is no key fails where it is counted on and nothing else yields; else it is odd."""
    assert levels(judge(Places("glm", None, wrong=WRONG, wanted=True))) == ["fail"]
    assert levels(judge(Places("glm", None, wrong=WRONG))) == ["warn"]
    assert levels(judge(Places("glm", "~/.glm.key", wrong=WRONG, wanted=True))) == ["warn", "ok"]
    assert only(judge(Places("glm", None, wrong=WRONG))).mend == "set it to the key alone"


def test_odd() -> None:
    """What is odd about a key that counts is told with its mend."""
    finding = only(judge(Places("glm", "~/.glm.key", odd=ODD)))
    assert (finding.level, finding.mend) == ("warn", "run: chmod 600 ~/.glm.key")
