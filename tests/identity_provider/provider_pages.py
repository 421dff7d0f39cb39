"""A user who signs in on the pages of the provider."""

import re
from html import unescape

import httpx

USER = "user-7"


def confirm_device(address: str) -> str:
    """Open the address of a device flow, confirm the code and sign in. Return the text of the last page."""
    with httpx.Client(follow_redirects=True, timeout=30) as browser:
        page = browser.get(address)
        for _ in range(8):
            form = re.search(r"<form.*?</form>", page.text, re.DOTALL)
            if form is None:
                break
            page = browser.post(_action(form[0], page), data=_fields(form[0]))
        return page.text


def _action(form: str, page: httpx.Response) -> str:
    action = re.search(r'action="([^"]*)"', form)
    return str(page.url.join(unescape(action[1]))) if action else str(page.url)


def _fields(form: str) -> dict[str, str]:
    fields = {}
    for field in re.findall(r"<input[^>]*>", form):
        attributes = dict(re.findall(r'(\w+)="([^"]*)"', field))
        if "name" in attributes:
            fields[attributes["name"]] = unescape(attributes.get("value", ""))
    return fields | {name: USER for name in ("login", "password") if name in fields}
