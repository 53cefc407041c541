"""The table that people read, and the same for programs."""
import json


def table(rows):
    """Rows of equal length, the first a head, as aligned Markdown."""
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(str(cell).ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def summary(outcomes):
    """A row for each run: how many checks pass, and how many of those that pass directly."""
    rows = [("run", "requirements", "passed", "failed", "warned", "kept of direct", "lost", "of these expected", "s")]
    for one in outcomes:
        count = one["counts"]
        kept = "" if one["direct"] is None else f"{one['direct'] - len(one['losses'])} of {one['direct']}"
        expected = sum(1 for loss in one["losses"] if loss["expected"])
        lost = "" if one["direct"] is None else len(one["losses"])
        rows.append(
            (one["name"], one["requirements"], count.get("SUCCESS", 0), count.get("FAILURE", 0),
             count.get("WARNING", 0), kept, lost, expected if lost != "" else "", f"{one['seconds']:.1f}")
        )
    return table(rows)


def markdown(outcomes, faults):
    parts = ["# The official suite, directly and through the gate", "", summary(outcomes), ""]
    for one in outcomes:
        for note in one["notes"]:
            parts += [f"**{one['name']}**: {note}", ""]
        if not one["losses"]:
            continue
        rows = [("scenario", "check", "through the gate", "message", "expected because")]
        for loss in one["losses"]:
            expected = loss["expected"] or "**not expected**"
            rows.append((loss["scenario"], loss["check"], loss["status"], _cell(loss["message"]), expected))
        parts += [f"## Lost: {one['name']}", "", table(rows), ""]
    if faults:
        parts += ["## Why this run is red", "", *(f"- {fault}" for fault in faults), ""]
    return "\n".join(parts)


def _cell(text, characters_max=200):
    text = " ".join(text.split()).replace("|", "\\|")
    return text if len(text) <= characters_max else text[: characters_max - 1] + "…"


def write(folder, outcomes, faults):
    (folder / "report.md").write_text(markdown(outcomes, faults) + "\n", encoding="utf-8")
    document = {"runs": outcomes, "faults": faults}
    (folder / "report.json").write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
