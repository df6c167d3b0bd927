"""Draws one trace as a waterfall in SVG.

usage: trace_picture.py FILE TRACE_ID SVG_FILE

FILE has one ExportTraceServiceRequest of OTLP/JSON a line, from trace_record.py or an OpenTelemetry Collector's file
exporter. Standard library only.
"""

import html
import json
import sys

ROW, TOP, LEFT, RIGHT = 19, 74, 364, 66
WIDTH = 1180
AXIS = WIDTH - LEFT - RIGHT
# Steps of the axis in milliseconds; the first one with at most ten ticks is used.
TICKS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 60_000, 600_000, 3_600_000]
# Keyed by OpenTelemetry's numbers of span kinds.
KINDS = {
    2: ("server", "answers a request"),
    3: ("client", "calls another"),
    4: ("producer", "publishes"),
    5: ("consumer", "handles an event"),
}
OTHER = ("client", "")
STYLE = """
  .ground { fill: #fbfbfa } .ink { fill: #24292f } .faint { fill: #6b7178 } .rule { stroke: #e1e3e5 }
  .server { fill: #4f6d9a } .consumer { fill: #5f9ea0 } .producer { fill: #c39a4a } .client { fill: #a3aab2 }
  .bad { fill: #b4443c } .edge { stroke: #b4443c; fill: none; stroke-width: 1.6 }
  .wait { stroke: #b4443c; stroke-dasharray: 3 3 }
  text { font: 12px system-ui, "DejaVu Sans", Arial, sans-serif }
  .small { font-size: 10.5px } .title { font-size: 15px; font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #16191d } .ink { fill: #e6e8ea } .faint { fill: #9aa1a9 } .rule { stroke: #2c3137 }
    .server { fill: #7f9fd0 } .consumer { fill: #6fb3b0 } .producer { fill: #d3ac60 } .client { fill: #727a83 }
    .bad { fill: #ee8a80 } .edge { stroke: #ee8a80 } .wait { stroke: #ee8a80 }
  }
"""


def attributes(item):
    """Returns an item's attributes by name, each as text."""
    return {entry["key"]: str(next(iter(entry["value"].values()), "")) for entry in item.get("attributes", [])}


def read(path, trace):
    """Returns the trace's spans by id; times are in milliseconds since the first."""
    spans = {}
    with open(path, encoding="utf-8") as file:
        for resource in (part for line in file for part in json.loads(line)["resourceSpans"]):
            origin = attributes(resource["resource"])
            for span in (span for scope in resource["scopeSpans"] for span in scope["spans"]):
                if span["traceId"] == trace:
                    spans[span["spanId"]] = {
                        "id": span["spanId"],
                        "parent": span.get("parentSpanId", ""),
                        "name": span["name"],
                        "kind": KINDS.get(span.get("kind"), OTHER)[0],
                        "process": (origin["service.name"], origin.get("service.instance.id", "")),
                        "start": int(span["startTimeUnixNano"]) / 1e6,
                        "end": int(span["endTimeUnixNano"]) / 1e6,
                        "failed": span.get("status", {}).get("code") == 2,
                        "said": attributes(span),
                    }
    first = min((span["start"] for span in spans.values()), default=0)
    for span in spans.values():
        span["start"] -= first
        span["end"] -= first
    return spans


def ordered(spans):
    """Returns each span before its children, with its depth; a span whose parent is missing counts as a root."""
    children = {}
    for span in sorted(spans.values(), key=lambda span: span["start"]):
        children.setdefault(span["parent"] if span["parent"] in spans else "", []).append(span)
    rows = []

    def add(parent, depth):
        for span in children.get(parent, []):
            rows.append((span, depth))
            add(span["id"], depth + 1)

    add("", 0)
    return rows


def process_names(spans):
    """Returns short names: several processes of a service are numbered in order of appearance."""
    names, seen = {}, {}
    for span in sorted(spans.values(), key=lambda span: span["start"]):
        service = span["process"][0]
        of_service = seen.setdefault(service, [])
        if span["process"] not in of_service:
            of_service.append(span["process"])
    for service, processes in seen.items():
        short = {"orderflow": "front end", "orderflow-worker": "worker"}.get(service, service)
        for number, process in enumerate(processes, 1):
            names[process] = short if len(processes) == 1 else f"{short} {number}"
    return names


def text(x, y, words, style="ink", extra=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}"{extra}>{html.escape(words)}</text>'


def axis(total, bottom):
    """Yields the axis: rules with their times."""
    tick = next((tick for tick in TICKS if total / tick <= 10), TICKS[-1])
    for at in range(0, int(total) + 1, tick):
        x = LEFT + at / total * AXIS
        yield f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom}" class="rule"/>'
        yield text(x, TOP - 13, f"{at:,} ms", "faint small", ' text-anchor="middle"')


def legend():
    x = 16
    for style, meaning in KINDS.values():
        yield f'<rect x="{x}" y="36" width="11" height="11" rx="2" class="{style}"/>'
        yield text(x + 16, 46, meaning, "faint small")
        x += 40 + 6 * len(meaning)
    yield f'<rect x="{x}" y="36.5" width="11" height="10" rx="2" class="edge"/>'
    yield text(x + 16, 46, "failed", "faint small")
    yield f'<line x1="{x + 68}" y1="42" x2="{x + 92}" y2="42" class="wait"/>'
    yield text(x + 97, 46, "waits for its next attempt", "faint small")


def label(span):
    """Returns the span's name, with its attempt if that is not the first."""
    attempt = span["said"].get("orderflow.attempt", "1")
    again = span["kind"] == "consumer" and attempt != "1"
    return f"{span['name']}, attempt {attempt}" if again else span["name"]


def bar(span, y, total):
    x = LEFT + span["start"] / total * AXIS
    # A span of no length stays visible.
    width = max((span["end"] - span["start"]) / total * AXIS, 2)
    yield f'<rect x="{x:.1f}" y="{y + 4}" width="{width:.1f}" height="11" rx="2" class="{span["kind"]}"/>'
    if span["failed"]:
        yield f'<rect x="{x - 1.5:.1f}" y="{y + 2.5}" width="{width + 3:.1f}" height="14" rx="3" class="edge"/>'
    style = "bad small" if span["failed"] else "faint small"
    yield text(x + width + 5, y + 13.5, f"{span['end'] - span['start']:.1f}", style)


def waits(rows, total):
    """Yields lines from the end of an attempt to the start of the next one of the same event in the same queue."""
    before = {}
    for index, (span, _) in enumerate(rows):
        if span["kind"] != "consumer":
            continue
        key = (span["name"], span["said"].get("messaging.message.id"))
        if key in before:
            begin, end = (LEFT + at / total * AXIS for at in (before[key]["end"], span["start"]))
            y = TOP + index * ROW + 9.5
            yield f'<line x1="{begin:.1f}" y1="{y}" x2="{end:.1f}" y2="{y}" class="wait"/>'
        before[key] = span


def draw(spans, trace):
    """Yields the lines of the picture."""
    rows, names = ordered(spans), process_names(spans)
    # Avoids a division by zero if the clock did not advance.
    total = max(span["end"] for span in spans.values()) or 1
    bottom = TOP + len(rows) * ROW
    failed = sum(span["failed"] for span in spans.values())
    title = f"One order: {len(rows)} steps of {len(names)} processes in {total:,.0f} ms, {failed} of them failed"
    size = f'viewBox="0 0 {WIDTH} {bottom + 14}" width="{WIDTH}" height="{bottom + 14}"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="t d">'
    yield f'<title id="t">{html.escape(title)}</title>'
    yield f'<desc id="d">Waterfall of trace {trace}: {html.escape("; ".join(label(span) for span, _ in rows))}.</desc>'
    yield f"<style>{STYLE}</style>"
    yield f'<rect width="{WIDTH}" height="{bottom + 14}" class="ground"/>'
    yield text(16, 24, title, "ink title")
    yield from legend()
    yield from axis(total, bottom)
    yield from waits(rows, total)
    last = None
    for index, (span, depth) in enumerate(rows):
        y = TOP + index * ROW
        process = names[span["process"]]
        if process != last:
            yield text(16, y + 13.5, process, "faint small")
            last = process
        yield text(82 + depth * 12, y + 13.5, label(span), "bad" if span["failed"] else "ink")
        yield from bar(span, y, total)
    yield "</svg>"


def main():
    source, trace, target = sys.argv[1:]
    spans = read(source, trace)
    if not spans:
        sys.exit(f"{source} has no span of trace {trace}.")
    with open(target, "w", encoding="utf-8") as file:
        file.write("\n".join(draw(spans, trace)) + "\n")


if __name__ == "__main__":
    main()
