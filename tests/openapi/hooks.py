"""What schemathesis does not know by itself. It finds this by SCHEMATHESIS_HOOKS."""

import json
import re

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def ndjson(_context, value):
    """Lines as they are; what was to be no text is sent as JSON."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", errors="replace")


@schemathesis.hook
def before_call(_context, case, _kwargs):
    """Has webhooks go to nobody: the hub does send to the endpoints that are made here."""
    body = case.body
    if case.path.startswith("/webhooks") and isinstance(body, dict) and isinstance(body.get("url"), str):
        case.body = {**body, "url": nowhere(body["url"])}


def nowhere(url):
    """The same at a host that cannot be (RFC 2606). Blanks and control characters count for nothing in a URL's scheme."""
    if not re.sub(r"[\x00-\x20]", "", url).lower().startswith("http"):
        return url
    return "https://nobody.invalid" + re.sub(r"^[^:]*:?[/\\]*[^/\\?#]*", "", url)
