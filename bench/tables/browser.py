"""Tables of the codec in browsers."""

from __future__ import annotations

from bench.tables.research import Table
from bench.tables.sources import number, percent, results, table, value_range


@table
def web_speed() -> Table:
    """Milliseconds of one thread for a packet."""
    file = "web_speed.json"
    rows = []
    for name in ("encode", "decode"):
        native, node, chromium = (results(file)[name][kind] for kind in ("native", "node", "chromium"))
        ratios = f"{node / native:.1f}, {chromium / native:.1f}"
        share = percent(chromium / results(file)["packet_ms"])
        rows.append([name, number(native), number(node), number(chromium), ratios, share])
    share = f"share of a core in Chromium (load {results(file)['load']:.0f})"
    titles = ["native (compiled backend)", "Node", "Chromium", "ratios", share]
    return file, ["ms a packet of 20 ms", *titles], rows


@table
def web_calls() -> Table:
    """Rates and the workers' time of calls between two pages."""
    file = "web_calls.json"
    ways = {"auto": "SRTP", "data-channel": "data channel", "relay": "relay"}
    rows = [
        [
            ways[call["transport"]],
            f"{call['packet_ms']} ms",
            value_range(call["payload_kbps"], 1),
            value_range(call["wire_kbps"], 1),
            value_range([100 * share for share in call["worker_share_of_a_core"]]) + " %",
            value_range(call["jitter_buffer_ms"]) + " ms",
            value_range(call["first_sound_ms"]) + " ms",
        ]
        for call in results(file)["calls"]
    ]
    share = f"worker, share of a core (load {results(file)['load']:.0f})"
    titles = ["way", "packet", "payload kbps", "wire kbps each way", share]
    return file, [*titles, "jitter buffer", "first sound after joining"], rows


@table
def web_profile() -> Table:
    """What a call's worker does."""
    file = "web_profile.json"
    found = results(file)
    rows = [[name, percent(share)] for name, share in found["parts"].items() if share >= 0.001]
    return file, ["part", "share of the worker's time"], rows


@table
def web_delay() -> Table:
    """Mouth to ear."""
    file = "web_delay.json"
    names = {
        "nodes": "page to page, node to node",
        "alone": "Chromium alone, microphone on loudspeaker",
        "page-page": "page to page, devices included",
        "python-page": "Python to page, devices included",
        "page-python": "page to Python, devices included",
        "python-python": "Python to Python, devices included",
    }
    rows = []
    for way, name in names.items():
        found = results(file)[way]
        delay = found.get("delay_ms", {})
        figures = [number(delay.get(key), 0) for key in ("median", "p95", "least", "most")]
        rows.append([name, *figures, f"{found['chirps']}", f"{found['rejected']}", f"{found['load']:.0f}"])
    return file, ["way", "median ms", "p95", "least", "most", "chirps", "rejected", "load"], rows


@table
def web_room() -> Table:
    """Many people in many tabs."""
    file = "web_room.json"
    found = results(file)
    row = [
        f"{found['tabs']} of {found['people']} people, {found['seconds']} s",
        f"{found['gaps']:,} of {found['blocks']:,}",
        f"{found['made_up']:,} of {found['frames']:,}",
        percent(found["share_of_a_core_a_person"]),
    ]
    share = f"a person's share of a core (load {found['load']:.0f})"
    return file, ["tabs", "gaps", "frames made up", share], [row]
