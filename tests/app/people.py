"""The owner of a study and its raters, as clients of the service under test."""

from dataclasses import dataclass
from typing import Any

from fastapi.testclient import TestClient
from httpx import Response

Json = dict[str, Any]


def contexts(n: int, *, start: int = 0) -> list[Json]:
    """Return contexts with a human reply and one of "other"."""
    return [
        {
            "turns": [f"question {i}?"],
            "reply": f"human answer {i}",
            "replies": {"other": f"other answer {i}"},
            "source": "made up",
            "split": "test",
        }
        for i in range(start, start + n)
    ]


HUMAN = {"kind": "human"}
OTHER = {"kind": "replies", "name": "other"}
FAKE = {"kind": "model", "model": "fake"}


@dataclass
class RaterClient:
    """A rater with their session."""

    client: TestClient
    slug: str
    token: str
    public_id: str

    def get(self, path: str) -> Response:
        return self.client.get(f"/v1/studies/{self.slug}/{path}", headers=self.headers)

    def post(self, path: str, body: Json) -> Response:
        return self.client.post(f"/v1/studies/{self.slug}/{path}", json=body, headers=self.headers)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def next(self) -> Json:
        response = self.get("next")
        assert response.status_code == 200, response.text
        return response.json()

    def task(self) -> Json:
        task = self.next()["task"]
        assert task is not None
        return task

    def judge(self, task: Json, choice: str = "left", **more: object) -> Response:
        return self.post("judgements", {"lease": task["lease"], "choice": choice, **more})

    def finish(self, choice: str = "left") -> list[Json]:
        """Judge until there is nothing left, and return the tasks."""
        tasks = []
        while (task := self.next()["task"]) is not None:
            assert self.judge(task, choice).status_code == 201
            tasks.append(task)
        return tasks


@dataclass
class Owner:
    """The owner of one study."""

    client: TestClient
    slug: str = "s"

    def create(self, kind: str = "pair", **protocol: object) -> Response:
        body = {"slug": self.slug, "title": "A study", "seed": 7, "protocol": {"kind": kind, **protocol}}
        return self.client.post("/v1/studies", json=body)

    def add(self, systems: list[Json], n: int | list[Json] = 6, **more: object) -> Response:
        given = contexts(n) if isinstance(n, int) else n
        body = {"systems": systems, "contexts": given, **more}
        return self.client.post(f"/v1/studies/{self.slug}/items", json=body)

    def post(self, path: str, body: Json | None = None) -> Response:
        return self.client.post(f"/v1/studies/{self.slug}/{path}", json=body)

    def running(
        self,
        kind: str = "pair",
        *,
        systems: list[Json] | None = None,
        n: int = 6,
        items: Json | None = None,
        **protocol: object,
    ) -> "Owner":
        """Create, fill and start the study."""
        assert self.create(kind, **protocol).status_code == 201
        added = self.add(systems or [HUMAN, OTHER], n, **(items or {}))
        assert added.status_code == 201, added.text
        started = self.post("start")
        assert started.status_code == 200, started.text
        return self

    def invite(self, **body: object) -> str:
        response = self.post("invitations", {"max_raters": 100, **body})
        assert response.status_code == 201, response.text
        return str(response.json()["token"])

    def rater(self, token: str | None = None, **body: object) -> RaterClient:
        """Let a new rater join and agree."""
        joined = self.client.post("/v1/raters/join", json={"token": token or self.invite(), **body})
        assert joined.status_code == 201, joined.text
        session = joined.json()
        rater = RaterClient(self.client, self.slug, session["session_token"], session["rater"])
        agreed = rater.post("consent", {"version": session["consent"]["version"]})
        assert agreed.status_code == 200, agreed.text
        return rater

    def items(self) -> list[Json]:
        response = self.client.get(f"/v1/studies/{self.slug}/items", params={"limit": 1000})
        assert response.status_code == 200
        return list(response.json()["data"])

    def progress(self) -> Json:
        response = self.client.get(f"/v1/studies/{self.slug}/progress")
        assert response.status_code == 200
        return dict(response.json())
