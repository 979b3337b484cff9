from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from flask.testing import FlaskClient

from core import database

PAGES = ("/", "/docs")


class Page(HTMLParser):
    """Collects what a page links to, its ids, and its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.links += [found[name] or "" for name in ("href", "src") if name in found]
        self.ids += [found["id"] or ""] if "id" in found else []
        assert "style" not in found, "the content security policy ignores inline styles"


def page(client: FlaskClient, path: str) -> Page:
    response = client.get(path)
    assert (response.status_code, response.mimetype) == (200, "text/html")
    return Page(response.text)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_works_without_scripts_and_without_the_rest_of_the_net(client: FlaskClient, path: str) -> None:
    found = page(client, path)

    assert "script" not in found.tags
    assert "main" in found.tags
    assert len(found.ids) == len(set(found.ids))
    away = [link for link in found.links if not link.startswith(("/", "#"))]
    assert away == (["http://localhost:5555/"] if path == "/" else [])


@pytest.mark.parametrize("path", PAGES)
def test_every_link_leads_somewhere(client: FlaskClient, path: str) -> None:
    found = page(client, path)

    for link in set(found.links):
        if link.startswith("#"):
            assert link[1:] in found.ids
        elif link.startswith("/"):
            with client.get(link) as response:
                assert response.status_code in (200, 503)


def test_the_start_page_says_what_runs_and_keeps_secrets(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    text = client.get("/").text
    assert "off: checkouts end in test data" in text

    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:hush@127.0.0.1:1/nothing")
    monkeypatch.setenv("BROKER_URL", "redis://:hush@127.0.0.1:1/0")
    text = client.get("/").text

    assert "something is wrong" in text
    assert re.search(r"<dd>postgresql</dd>", text)
    assert "hush" not in text
    database.dispose()


def test_the_docs_show_every_call_with_its_fields(client: FlaskClient) -> None:
    found = client.get("/docs").text
    document = client.get("/openapi.json").get_json()

    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert path in found
            assert f'id="{operation["operationId"]}"' in found
    assert "integer from 1 to 99999999" in found


def test_the_type_of_a_problem_leads_to_what_is_said_about_problems(client: FlaskClient) -> None:
    kind = client.get("/nothing").get_json()["type"]

    response = client.get(kind)

    assert (response.status_code, response.headers["Location"]) == (303, "/docs#problems")
    assert "problems" in page(client, "/docs").ids


def test_style_and_icon_are_served_from_here(client: FlaskClient) -> None:
    for path, media_type in (("/static/style.css", "text/css"), ("/static/icon.svg", "image/svg+xml")):
        with client.get(path) as response:
            assert (response.status_code, response.mimetype) == (200, media_type)
