"""What was served, what people said of it, and each look at both: tables that belong to no run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import AwareDatetime, Field
from sqlalchemy import JSON, Column, Float, Index, Integer, Select, String, Table, func, select, update

from state.database import Database
from state.errors import UnknownAnswer
from state.records import Record, content_hash
from state.tables import insert_new, insert_or_replace, metadata

THUMBS = {"up": 4, "down": 2}
"""The stars that a thumb counts as: the least that training imitates, and the most that it turns from."""


class Message(Record):
    """One turn of a conversation."""

    role: str
    content: str


class ServedAnswer(Record):
    """An answer as it was really served."""

    id: str
    """The answer's id in the API, such as ``chatcmpl-1f2e``; feedback names it."""
    version: str
    """The registry's version that wrote it, or ``base``."""
    messages: tuple[Message, ...]
    """What was asked, the system turn included; empty once it was withdrawn."""
    text: str
    """What was answered; empty once it was withdrawn."""
    user: str = ""
    """Who asked: by token, login, or the API's ``user`` field."""
    arm: Literal["current", "canary", ""] = ""
    """What the version was when a canary was open; empty where none was, or where the user chose the version."""
    ended: bool = True
    """Whether the model ended by itself, rather than at the token limit."""
    prompt_tokens: int = Field(0, ge=0)
    completion_tokens: int = Field(0, ge=0)
    served_at: AwareDatetime

    @property
    def withdrawn(self) -> bool:
        """Whether its text is gone."""
        return not self.messages


class Feedback(Record):
    """What one person said of one served answer."""

    id: str
    answer_id: str
    version: str
    """The version that wrote the answer."""
    arm: Literal["current", "canary", ""] = ""
    """As of the answer."""
    rater: str
    stars: int | None = Field(None, ge=1, le=5)
    """``None`` where the person gave no rating."""
    thumb: Literal["up", "down"] | None = None
    """Where a thumb was given; ``stars`` has what it counts as."""
    comment: str = ""
    corrected: str = ""
    """The answer as it should have been; empty where the person wrote none."""
    given_at: AwareDatetime


class Look(Record):
    """One look at the feedback, and what was decided."""

    id: str
    at: AwareDatetime
    kind: Literal["retrain", "canary"]
    version: str
    """What was looked at: the deployed version, or the challenger."""
    action: str
    reason: str
    """One line for a person."""
    figures: dict[str, float | int | None] = Field(default_factory=dict)


served_answers = Table(
    "served_answers",
    metadata,
    Column("id", String, primary_key=True),
    Column("version", String, nullable=False),
    Column("served_at", Float, nullable=False),
    Column("body", JSON, nullable=False),
    Index("served_answers_version", "version", "served_at"),
)
feedback_given = Table(
    "feedback",
    metadata,
    Column("id", String, primary_key=True),
    Column("answer_id", String, nullable=False),
    Column("version", String, nullable=False),
    Column("arm", String, nullable=False),
    Column("rater", String, nullable=False),
    Column("stars", Integer),
    Column("given_at", Float, nullable=False),
    Column("body", JSON, nullable=False),
    Index("feedback_answer", "answer_id"),
    Index("feedback_version", "version", "given_at", "rater", "stars"),
)
looks = Table(
    "looks",
    metadata,
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("version", String, nullable=False),
    Column("at", Float, nullable=False),
    Column("body", JSON, nullable=False),
    Index("looks_at", "kind", "at"),
)

tracked_quality = Table(
    "tracked_quality",
    metadata,
    Column("id", String, primary_key=True),
    Column("body", JSON, nullable=False),
)
"""Batches of ratings that a program tracked, by day, judge and version."""


class FeedbackStore:
    """Served answers, feedback and looks of one database.

    Args:
        database: an open database whose tables exist.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    async def add_answer(self, answer: ServedAnswer) -> None:
        """Keep a served answer; one that is there stays as it is."""
        row = {
            "id": answer.id,
            "version": answer.version,
            "served_at": answer.served_at.timestamp(),
            "body": answer.model_dump(mode="json"),
        }
        async with self.database.writing() as connection:
            await connection.execute(insert_new(self.database.engine, served_answers), [row])

    async def answers(self, ids: Iterable[str]) -> dict[str, ServedAnswer]:
        """Return served answers by id; an id that is unknown is left out."""
        wanted, found = sorted(set(ids)), {}
        async with self.database.reading() as connection:
            for start in range(0, len(wanted), 500):
                some = served_answers.c.id.in_(wanted[start : start + 500])
                for row in await connection.execute(select(served_answers.c.body).where(some)):
                    found[row.body["id"]] = ServedAnswer.model_validate(row.body)
        return found

    async def add_feedback(self, feedback: Feedback) -> Feedback:
        """Keep what a rater says of an answer, and return what is kept.

        The same said again changes nothing; something else takes the place of what the rater said before.

        Raises:
            UnknownAnswer: the answer was withdrawn in the meantime.
        """
        before = await self._feedback_where(feedback_given.c.id == feedback.id)
        if before and _said(before[0]) == _said(feedback):
            return before[0]
        row = {
            **feedback.model_dump(include={"id", "answer_id", "version", "arm", "rater", "stars"}),
            "given_at": feedback.given_at.timestamp(),
            "body": feedback.model_dump(mode="json"),
        }
        own = feedback_given.c.id == feedback.id
        async with self.database.writing() as connection:
            await connection.execute(insert_or_replace(self.database.engine, feedback_given, own), [row])
            # Looked at once it is written: a withdrawal at the same time has either been seen, or will see this.
            answered = select(served_answers.c.body).where(served_answers.c.id == feedback.answer_id)
            found = (await connection.execute(answered.with_for_update(read=True))).first()
            if found is not None and ServedAnswer.model_validate(found.body).withdrawn:
                raise UnknownAnswer(f"the text of the answer {feedback.answer_id!r} was withdrawn")
        return feedback

    async def feedback(
        self, version: str | None = None, *, since: datetime | None = None, arm: str | None = None
    ) -> list[Feedback]:
        """Return feedback in the order of its time.

        Args:
            version: on answers of this version alone.
            since: given at this time or later.
            arm: on answers of this arm of a canary alone.
        """
        conditions: list[Any] = [] if version is None else [feedback_given.c.version == version]
        if since is not None:
            conditions.append(feedback_given.c.given_at >= since.timestamp())
        if arm is not None:
            conditions.append(feedback_given.c.arm == arm)
        return await self._feedback_where(*conditions)

    async def feedback_on(self, answer_id: str) -> list[Feedback]:
        """Return what was said of one answer."""
        return await self._feedback_where(feedback_given.c.answer_id == answer_id)

    async def given(self, feedback_id: str) -> Feedback | None:
        """Return one piece of feedback."""
        return next(iter(await self._feedback_where(feedback_given.c.id == feedback_id)), None)

    async def stars_by_version(self) -> list[tuple[str, int | None, int]]:
        """Return (version, stars, how often); stars are ``None`` where no rating was given."""
        columns = (feedback_given.c.version, feedback_given.c.stars)
        query = select(*columns, func.count()).group_by(*columns)
        async with self.database.reading() as connection:
            return [(row[0], row[1], row[2]) for row in await connection.execute(query)]

    async def withdraw(self, answer: ServedAnswer | None, said: Sequence[Feedback]) -> None:
        """Remove the texts of an answer and of what was said of it; version, stars and times stay as counts.

        Args:
            answer: the answer, and with it all that was said of it by now; ``None`` where it stays.
            said: what was said.
        """
        async with self.database.writing() as connection:
            if answer is not None:
                empty = answer.model_copy(update={"messages": (), "text": "", "user": ""}).model_dump(mode="json")
                own = served_answers.c.id == answer.id
                await connection.execute(update(served_answers).where(own).values(body=empty))
                on_it = select(feedback_given.c.body).where(feedback_given.c.answer_id == answer.id)
                said = [Feedback.model_validate(row.body) for row in await connection.execute(on_it)]
            for one in said:
                bare = one.model_copy(update={"comment": "", "corrected": ""}).model_dump(mode="json")
                mine = feedback_given.c.id == one.id
                await connection.execute(update(feedback_given).where(mine).values(body=bare))

    async def add_look(self, look: Look) -> None:
        """Record a look."""
        row = look.model_dump(include={"id", "kind", "version"})
        row |= {"at": look.at.timestamp(), "body": look.model_dump(mode="json")}
        async with self.database.writing() as connection:
            await connection.execute(insert_new(self.database.engine, looks), [row])

    async def looks(self, kind: str, limit: int = 100) -> list[Look]:
        """Return the newest looks of a kind, newest first."""
        query: Select[Any] = select(looks.c.body).where(looks.c.kind == kind)
        query = query.order_by(looks.c.at.desc(), looks.c.id).limit(limit)
        async with self.database.reading() as connection:
            return [Look.model_validate(row.body) for row in await connection.execute(query)]

    async def track(self, batch: dict[str, Any]) -> None:
        """Keep a batch of ratings; the same batch again changes nothing."""
        row = {"id": content_hash("tracked", batch), "body": batch}
        async with self.database.writing() as connection:
            await connection.execute(insert_new(self.database.engine, tracked_quality), [row])

    async def tracked(self) -> list[dict[str, Any]]:
        """Return all batches that were tracked."""
        async with self.database.reading() as connection:
            rows = await connection.execute(select(tracked_quality.c.body).order_by(tracked_quality.c.id))
            return [row.body["quality"] for row in rows]

    async def scan_answers(self, version: str) -> AsyncIterator[ServedAnswer]:
        """Yield what a version answered, in the order of time."""
        query = select(served_answers.c.body).where(served_answers.c.version == version)
        async for (body,) in self.database.stream(query.order_by(served_answers.c.served_at, served_answers.c.id)):
            yield ServedAnswer.model_validate(body)

    async def _feedback_where(self, *conditions: Any) -> list[Feedback]:
        query = select(feedback_given.c.body).where(*conditions)
        query = query.order_by(feedback_given.c.given_at, feedback_given.c.id)
        async with self.database.reading() as connection:
            return [Feedback.model_validate(row.body) for row in await connection.execute(query)]


def feedback_id(answer_id: str, rater: str) -> str:
    """Return the id of what a rater says of an answer: one for each pair, however often it is sent."""
    return content_hash("feedback", answer_id, rater)


def look_of(kind: Literal["retrain", "canary"], version: str, action: str, reason: str, **figures: Any) -> Look:
    """Return the record of a look that is made now."""
    now = datetime.now(UTC)
    id_ = content_hash("look", kind, version, now.isoformat(), reason)
    return Look(id=id_, at=now, kind=kind, version=version, action=action, reason=reason, figures=figures)


def _said(feedback: Feedback) -> dict[str, Any]:
    return feedback.model_dump(exclude={"given_at"})
