"""The page: one file without a request or a script, everything in it escaped, figures that follow light and dark."""

import re
import xml.dom.minidom
from html.parser import HTMLParser

import pytest

from tests.training.evaluation.test_report import made_up_report
from training.evaluation.page import render
from training.evaluation.plots import PlottedCurve, plot_curves, plot_differences

_EMPTY = {"meta", "br", "hr", "img", "input", "link"}


class Nesting(HTMLParser):
    """Find elements that are not closed where they should be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag not in _EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    page = render(made_up_report())
    parser = Nesting()
    parser.feed(page)
    assert parser.open == []
    assert not {"script", "link", "img", "iframe"} & parser.seen
    assert not re.search(r"(src|href)\s*=\s*\"(?!#)|url\((?!#)|@import", page.replace('xlink:href="#', ""))
    for heading in ("What was found", "Quality against diversity", "How to read this", "Replies to the same contexts",
                    "Differences from MLE", "Fresh evaluators", "How they were trained", "Parameters"):  # fmt: skip
        assert heading in page


def test_names_and_replies_are_text_and_never_markup() -> None:
    page = render(made_up_report())
    assert "&lt;b&gt;GAN&lt;/b&gt; 猫" in page
    assert "<b>GAN</b>" not in page
    assert "alert(1)&lt;/script&gt;" in page
    assert "<i>(nothing)</i>" in page  # an empty reply is seen to be one


def test_what_is_missing_leaves_no_empty_section() -> None:
    page = render(made_up_report(comparisons=[], evaluators=[], controls=[], samples=[], training=[]))
    for heading in ("What was found", "Differences from", "Fresh evaluators", "Replies to the same", "How they were"):
        assert heading not in page


CURVES = [
    PlottedCurve(0, [0.2, 0.4], [0.5, 0.3], [(0.1, 0.3), (0.3, 0.5)], [(0.4, 0.6), (0.2, 0.4)], ["0.5", ""]),
    PlottedCurve(9, [0.3], [0.2]),
]


@pytest.mark.parametrize("log", [False, True])
def test_a_figure_is_the_same_every_time_and_takes_the_page_s_colours(log: bool) -> None:
    svg = plot_curves(CURVES, "x", "y", title='a "title"', levels=[(0.3, "human")], log=log)
    assert svg == plot_curves(CURVES, "x", "y", title='a "title"', levels=[(0.3, "human")], log=log)
    xml.dom.minidom.parseString(svg.replace("xlink:", ""))
    assert {"var(--series-1)", "var(--series-2)", "var(--ink)", "var(--muted)", "var(--line)"} <= set(
        re.findall(r"var\(--[a-z0-9-]+\)", svg)
    )
    assert not re.search(r"#[0-9a-f]{6}", svg)  # no colour of its own, which would vanish in the dark
    assert 'aria-label="a &quot;title&quot;"' in svg
    assert not re.search(r"<svg[^>]* width=", svg)


def test_differences_are_drawn_beside_each_other() -> None:
    groups = [PlottedCurve(i, [0.2, 0.4], [0.1, -0.1], (), [(0, 0.2), (-0.2, 0)]) for i in range(3)]
    svg = plot_differences(groups, "x", "y", title="t")
    assert all(f"var(--series-{i})" in svg for i in (1, 2, 3))
