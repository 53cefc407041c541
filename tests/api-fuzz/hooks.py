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
