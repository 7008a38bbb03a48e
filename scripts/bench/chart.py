"""The comparison as one SVG: per cell a pair of bar groups, throughput and server CPU per operation, both as ratios to
the reference. Colours are chosen to be legible on light and on dark pages; text follows the page's scheme."""

from xml.sax.saxutils import escape

COLOURS = ("#2f6fdd", "#d9822b", "#2a9d6f", "#a05bd0", "#c0417a", "#7d8a2e")
REFERENCE_COLOUR = "#8a8f98"
LABEL_WIDTH = 210
PANEL_WIDTH = 300
PANEL_GAP = 60
BAR_HEIGHT = 11
CELL_GAP = 12
# A bar beyond it is cut, its figure is not: one bad peer must not flatten all the others.
RATIO_MAX = 5.0

STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f; }
  .title { font-weight: 600; font-size: 13px; }
  .note { font-size: 11px; opacity: .75; }
  .axis { stroke: #24292f; stroke-opacity: .55; stroke-dasharray: 3 3; }
  @media (prefers-color-scheme: dark) { text { fill: #d5dae1; } .axis { stroke: #d5dae1; } }
"""


def draw(report, reference, subject):
    rows = chart_rows(report, subject)
    names = []
    for _, bars in rows:
        names += [name for name in bars if name not in names]
    colours = assign_colours(names, reference, subject)
    panels = (("Throughput, × redis (longer is better)", "per_second"),
              ("Server CPU per op, × redis (shorter is better)", "server_cpu_us"))
    scales = [min(max((bar[metric] for _, bars in rows for bar in bars.values()), default=1.0), RATIO_MAX)
              for _, metric in panels]

    body = []
    top = 62
    for label, bars in rows:
        height = len(bars) * BAR_HEIGHT
        body.append(text(LABEL_WIDTH - 10, top + height / 2 + 4, label, anchor="end"))
        for panel, (_, metric) in enumerate(panels):
            left = panel_left(panel)
            for index, (name, bar) in enumerate(bars.items()):
                y = top + index * BAR_HEIGHT
                width = min(bar[metric] / scales[panel], 1.0) * (PANEL_WIDTH - 50)
                body.append(f'<rect x="{left}" y="{y}" width="{width:.1f}" height="{BAR_HEIGHT - 2}" rx="2" '
                            f'fill="{colours[name]}"/>')
                body.append(text(left + width + 5, y + BAR_HEIGHT - 2.5, f"{bar[metric]:.2f}", kind="note"))
        top += height + CELL_GAP
    for panel, (title, _) in enumerate(panels):
        left = panel_left(panel)
        at_one = left + (PANEL_WIDTH - 50) / scales[panel]
        body.append(text(left, 50, title, kind="title"))
        body.append(f'<line class="axis" x1="{at_one:.1f}" x2="{at_one:.1f}" y1="56" y2="{top - CELL_GAP + 4}"/>')
    legend_left = LABEL_WIDTH
    for name in names:
        body.append(f'<rect x="{legend_left}" y="12" width="11" height="11" rx="2" fill="{colours[name]}"/>')
        body.append(text(legend_left + 16, 22, name))
        legend_left += 34 + 7 * len(name)
    top += 10
    for row in memory_lines(report):
        body.append(text(LABEL_WIDTH, top, row, kind="note"))
        top += 15
    body.append(text(LABEL_WIDTH, top, f"Medians of {report['rounds']} interleaved rounds; "
                     f"{report['machine']['description']}.", kind="note"))
    width = panel_left(len(panels)) - PANEL_GAP + 40
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top + 12}" width="{width}" '
            f'height="{top + 12}" role="img" aria-label="Throughput and server CPU per operation compared with redis">\n'
            f"<style>{STYLE}</style>\n" + "\n".join(body) + "\n</svg>\n")


def chart_rows(report, subject):
    """What a reader of the README wants to see: 64-byte values, 50 connections, every suite."""
    rows = []
    for cell in report["cells"]:
        if cell["value_bytes"] != 64 or cell["connections"] != 50:
            continue
        label = f"{cell['command'].upper()}{' of 10' if cell['command'] == 'mset' else ''}, pipeline {cell['pipeline']}"
        if cell["suite"] == "defaults":
            label += ", defaults"
        bars = {name: server["ratio"] for name, server in cell["servers"].items()}
        if cell["suite"] == "shards":
            label += ", 2 CPUs"
            bars = {name: bar for name, bar in bars.items() if not name.endswith("1 shard")}
        rows.append((label, bars))
    return rows


def assign_colours(names, reference, subject):
    colours = {reference: REFERENCE_COLOUR}
    others = iter(COLOURS[2:] * 4)
    for name in names:
        if name == subject:
            colours[name] = COLOURS[0]
        elif name.startswith(subject):
            colours[name] = COLOURS[1]
        elif name != reference:
            colours[name] = next(others)
    return colours


def memory_lines(report):
    if not report["memory"]:
        return []
    sizes = ", ".join(f"{row['name']} {row['bytes_per_key']:.0f} B ({row['ratio']:.2f}×)" for row in report["memory"])
    return [f"Memory per key (16 B key, 64 B value): {sizes}."]


def panel_left(panel):
    return LABEL_WIDTH + panel * (PANEL_WIDTH + PANEL_GAP)


def text(x, y, content, kind=None, anchor=None):
    attributes = (f' class="{kind}"' if kind else "") + (f' text-anchor="{anchor}"' if anchor else "")
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(content)}</text>'
