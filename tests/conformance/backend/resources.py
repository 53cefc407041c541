"""Every resource and template that the official suite reads."""
import json
import re

from samples import PNG

RESOURCES = {
    "test://static-text": ("Static text", "text/plain", {"text": "This is the content of the static text resource."}),
    "test://static-binary": ("Static picture", "image/png", {"blob": PNG}),
    "test://watched-resource": ("Watched text", "text/plain", {"text": "Somebody may watch this."}),
}
TEMPLATE = "test://template/{id}/data"
OF_TEMPLATE = re.compile(r"test://template/([^/]+)/data")


def definitions():
    return [
        {"uri": uri, "name": name, "description": f"{name}, for the suite", "mimeType": mime_type}
        for uri, (name, mime_type, _) in RESOURCES.items()
    ]


def templates():
    return [
        {
            "uriTemplate": TEMPLATE,
            "name": "Data by id",
            "description": "Answers for any id",
            "mimeType": "application/json",
        }
    ]


def read(uri):
    """The contents of a resource, or `None` where there is none of this name."""
    if uri in RESOURCES:
        _, mime_type, body = RESOURCES[uri]
        return [{"uri": uri, "mimeType": mime_type, **body}]
    found = OF_TEMPLATE.fullmatch(uri)
    if found is None:
        return None
    number = found.group(1)
    data = json.dumps({"id": number, "templateTest": True, "data": f"Data for ID: {number}"})
    return [{"uri": uri, "mimeType": "application/json", "text": data}]
