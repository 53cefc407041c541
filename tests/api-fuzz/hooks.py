"""For schemathesis: most well-formed paths name something that is there, so that what lies behind is reached."""
import os
import pathlib
import random
import sys

import schemathesis

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from seed import Trouble, World  # noqa: E402

WORLD = World(os.environ["WICKET_FUZZ_URL"], os.environ["WICKET_FUZZ_OWNER"], os.environ["WICKET_FUZZ_MEMBER"])
# The rest of the well-formed paths stay made up: what is not there must be answered well too.
NAMED = 0.8


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """What no document can say: which connectors the gate has."""
    known = {"type": "string", "enum": ["wicket"]}
    stack = [raw_schema]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        if not isinstance(node, dict):
            continue
        if node.get("name") == "service" and node.get("in") == "query":
            node["schema"] = known
            node.pop("example", None)
        for name in ("services", "allowedServices"):
            properties = node.get("properties")
            if isinstance(properties, dict) and name in properties and "items" in properties[name]:
                if properties[name]["items"].get("type") == "string":
                    properties[name]["items"] = known
            example = node.get("example")
            if isinstance(example, dict) and isinstance(example.get(name), list):
                example[name] = ["wicket"] if example[name] else []
        stack.extend(node.values())


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    if not path_parameters or random.random() > NAMED:
        return path_parameters
    try:
        parts = WORLD.parts()
    except Trouble:
        return path_parameters
    for name in path_parameters:
        if parts.get(name):
            path_parameters[name] = random.choice(parts[name])
    return path_parameters
