"""One table as a picture: bars for each contender, by case."""

from __future__ import annotations

from typing import Any

import pygal
from pygal.style import Style

__all__ = ["draw"]

_STYLE = Style(
    background="#ffffff",
    plot_background="#ffffff",
    font_family="sans-serif",
    colors=(
        "#2f6fab",
        "#e0862c",
        "#4b9b57",
        "#b8463f",
        "#7b5aa6",
        "#8a6d5b",
        "#c76fa3",
        "#6f7a80",
        "#a8a532",
        "#3aa7b5",
    ),
    label_font_size=12,
    major_label_font_size=12,
    legend_font_size=12,
    value_font_size=10,
    title_font_size=15,
)


def draw(record: dict[str, Any]) -> str:
    """Draw what `report.write` keeps of a table; gives SVG."""
    cases = [case for case in record["cases"] if case["in_picture"]]
    names = list(dict.fromkeys(row["name"] for case in cases for row in case["rows"]))
    column = record["columns"][0]
    taken = [row["figures"].get(column["key"]) for case in cases for row in case["rows"]]
    known = [value for value in taken if value]
    is_wide = bool(known) and max(known) / min(known) > 20
    words = "more is better" if record["more_is_better"] else "less is better"
    chart = pygal.HorizontalBar(
        style=_STYLE,
        title=f"{record['title']}: {column['heading']} ({words}{', logarithmic' if is_wide else ''})",
        logarithmic=is_wide,
        js=[],
        width=960,
        height=160 + 16 * len(names) * (len(cases) + 1),
        legend_at_bottom=True,
        legend_at_bottom_columns=2,
        print_values=True,
        value_formatter=lambda value: f"{value:,.{column['digits']}f}",
        show_x_guides=True,
        truncate_legend=-1,
        truncate_label=-1,
    )
    chart.x_labels = names[::-1]  # the first one on top
    for case in cases:
        figures = {row["name"]: row["figures"].get(column["key"]) for row in case["rows"]}
        chart.add(case["name"], [figures.get(name) for name in names[::-1]])
    return str(chart.render(is_unicode=True, disable_xml_declaration=True))
