"""How values are said: remarks with the labels of a file or the names of a page, and differences with their unit."""

from tcmax.evidence.wording import Names, Remark, shown

PAGE = Names(str.upper, str.title, minus=" − ", sign="−")


def test_remarks_keep_their_values_until_they_are_said():
    chosen = Remark("chosen", ("x", "y"), (7, 5), dataset="toy")
    assert str(chosen) == "toy: chosen on validation within each seed: x 7, y 5"
    assert chosen.in_words(PAGE) == "Toy: chosen on validation within each seed: X 7, Y 5"
    optimism = Remark("optimism", value=-0.0052, unit="proportion")
    assert str(optimism) == "choosing on test would add -0.52 pp"
    assert optimism.in_words(PAGE) == "choosing on test would add −0.52 pp"
    assert str(Remark("few groups", counts=(5,), value=5.0)) == "fewer than 10 groups"
    unequal = "fewer than 10 groups: 12 unequal ones are worth 4.2"
    assert str(Remark("few groups", counts=(12,), value=4.21)) == unequal
    assert shown(-0.0052, "proportion") == "-0.52 pp"
