"""The simulator from the outside: raw HTTP, and the control API."""

from __future__ import annotations

import json
from typing import Any

import urllib3
from stripe import StripeObject

KEY = "sk_test_of_the_tests"


class Wire:
    """Raw requests to one simulator, without an SDK's help."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(10))

    def __call__(
        self, method: str, path: str, body: str | None = None, *, key: str | None = KEY, **headers: str
    ) -> urllib3.BaseHTTPResponse:
        """Send a request; underscores in header names become dashes."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        if body is not None:
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        return self._http.request(method, self.url + path, body=body, headers=sent)

    def sim(self, method: str, path: str, **members: Any) -> Any:
        """Call the control API with a JSON body; the answer must be 200."""
        answer = self._http.request(method, f"{self.url}/_sim/{path}", body=json.dumps(members) if members else None)
        assert answer.status == 200, answer.data
        return answer.json()

    def faults(self, *requests: dict[str, Any], webhooks: tuple[dict[str, Any], ...] = (), seed: int = 1) -> None:
        """Put a fault plan in force."""
        self.sim("POST", "faults", seed=seed, requests=list(requests), webhooks=list(webhooks))

    def movements(self) -> list[tuple[str, int]]:
        """What the ledger holds, as (kind, signed amount)."""
        return [(line["kind"], line["amount"]) for line in self.sim("GET", "ledger")["movements"]]

    def close(self) -> None:
        """Close the pooled connections."""
        self._http.clear()


def plain(item: object) -> Any:
    """A StripeObject as plain dicts and lists."""
    return item.to_dict(for_json=True) if isinstance(item, StripeObject) else item
