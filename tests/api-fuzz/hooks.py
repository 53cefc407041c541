"""For schemathesis: most well-formed paths name something that is there, so that what lies behind is reached."""
import os
import pathlib
import random
import re
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
    for parameter in raw_schema["paths"]["/api/tools/catalog"]["get"]["parameters"]:
        if parameter["name"] == "service":
            parameter["schema"] = known
    for item in raw_schema["paths"].values():
        for operation in item.values():
            # Its boundary values are made without a look at its pattern; src/control/api/part.rs tests it.
            parameters = operation.get("parameters", [])
            operation["parameters"] = [one for one in parameters if one["name"] != "if-match"]
    stack = [raw_schema]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
        if not isinstance(node, dict):
            continue
        for name in ("services", "allowedServices"):
            properties = node.get("properties")
            if isinstance(properties, dict) and properties.get(name, {}).get("items", {}).get("type") == "string":
                properties[name]["items"] = known
            example = node.get("example")
            if isinstance(example, dict) and isinstance(example.get(name), list):
                example[name] = ["wicket"] if example[name] else []
        stack.extend(node.values())


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """A whole number is written without a point here, where a JSON schema takes `7.0` for one as well."""
    return not (response.status_code == 400 and re.search(rb"floating point `-?[0-9]+\.0`", response.content))


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    if not path_parameters:
        return path_parameters
    # By what was made up, so that a seed leads to the same requests.
    chance = random.Random(repr(sorted(path_parameters.items())))
    if chance.random() > NAMED:
        return path_parameters
    try:
        parts = WORLD.parts(chance)
    except Trouble:
        return path_parameters
    for name in path_parameters:
        if parts.get(name):
            path_parameters[name] = chance.choice(parts[name])
    return path_parameters
