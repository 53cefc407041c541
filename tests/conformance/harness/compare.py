"""What is lost between a direct run and one through the gate, and which of it was expected."""
import collections
import json
import tomllib

LINE_CHARACTERS_MAX = 110

Loss = collections.namedtuple("Loss", "pairing scenario check status message")


def named(check):
    """One name for a check: the suite gives the same id to several."""
    turn = f" ({check.turn})" if check.turn > 1 else ""
    return f"{check.id} {check.name}{turn}"


def passed(checks):
    return {(check.scenario, named(check)): check for check in checks if check.status == "SUCCESS"}


def losses(pairing, direct, through):
    """Every check that passes directly and does not pass through the gate: failed, only warned, or never reached."""
    found = {(check.scenario, named(check)): check for check in through}
    lost = []
    for key in passed(direct):
        check = found.get(key)
        if check is not None and check.status == "SUCCESS":
            continue
        status, message = (check.status, check.message) if check else ("MISSING", "the scenario never came to it")
        lost.append(Loss(pairing, *key, status, message))
    return lost


class Expected:
    """The file of losses that are known; an entry that no longer holds is a fault of its own."""

    def __init__(self, path):
        self.path = path
        self.text = path.read_text(encoding="utf-8") if path.exists() else ""
        self.written = tomllib.loads(self.text).get("expected", [])
        self.entries = {}
        for entry in self.written:
            for pairing in entry["pairings"]:
                for scenario in entry["scenarios"]:
                    for check in entry.get("checks", ["*"]):
                        self.entries[(pairing, scenario, check)] = entry["reason"]

    def reason(self, loss):
        key = self._key(loss)
        return self.entries.get(key) if key else None

    def _key(self, loss):
        for check in (loss.check, loss.check.split(" ")[0], "*"):
            if (loss.pairing, loss.scenario, check) in self.entries:
                return (loss.pairing, loss.scenario, check)
        return None

    def stale(self, lost, pairings):
        """Entries of pairings that ran, which nothing was lost for."""
        used = {self._key(loss) for loss in lost}
        return [key for key in self.entries if key[0] in pairings and key not in used]

    def prune(self, stale):
        """Writes the file anew without what no longer holds; nothing is added. The head of it stays."""
        stale = set(stale)
        head = self.text.split("[[expected]]", 1)[0].rstrip()
        parts = [head] if head else []
        for entry in self.written:
            checks = entry.get("checks", ["*"])
            # What is left the same for several scenarios, or pairings, shares an entry, as it did.
            alike = collections.defaultdict(lambda: collections.defaultdict(list))
            for pairing in entry["pairings"]:
                by_checks = collections.defaultdict(list)
                for scenario in entry["scenarios"]:
                    left = tuple(check for check in checks if (pairing, scenario, check) not in stale)
                    by_checks[left].append(scenario)
                for left, scenarios in by_checks.items():
                    alike[left][tuple(scenarios)].append(pairing)
            for left, groups in alike.items():
                for scenarios, pairings in groups.items():
                    if left:
                        parts.append(_entry(entry["reason"], pairings, scenarios, left if "checks" in entry else None))
        self.path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _entry(reason, pairings, scenarios, checks):
    lines = ["[[expected]]", f"reason = {json.dumps(reason, ensure_ascii=False)}"]
    lines += [f"pairings = {_array(pairings)}", f"scenarios = {_array(scenarios)}"]
    lines += [f"checks = {_array(checks)}"] if checks else []
    return "\n".join(lines)


def _array(names):
    """A TOML array, on lines that are not too long."""
    quoted = [json.dumps(name) for name in names]
    if sum(len(one) + 2 for one in quoted) <= LINE_CHARACTERS_MAX - 12:
        return f"[{', '.join(quoted)}]"
    lines = [" "]
    for one in quoted:
        if len(lines[-1]) + len(one) + 2 > LINE_CHARACTERS_MAX:
            lines.append(" ")
        lines[-1] += f" {one},"
    return "\n".join(["[", *lines, "]"])
