"""Events as published: CloudEvents 1.0 in structured JSON, like Orderflow's."""

import dataclasses
import datetime
import os
import time
import uuid
from typing import Any

from pydantic import BaseModel


class OrderEvent(BaseModel):
    """An event of the order with the id `subject`."""

    specversion: str = "1.0"
    id: uuid.UUID
    source: str
    type: str
    subject: uuid.UUID
    time: datetime.datetime
    datacontenttype: str = "application/json"
    orderversion: int
    correlationid: uuid.UUID
    causationid: uuid.UUID | None = None
    data: dict[str, Any]

    def body(self) -> str:
        """Returns the JSON to publish."""
        return self.model_dump_json(exclude_none=True)


@dataclasses.dataclass(frozen=True, slots=True)
class NewEvent:
    """An event with its routing key."""

    kind: str
    event: OrderEvent
    body: str


def uuid7() -> uuid.UUID:
    """Returns a UUID of version 7, which Python 3.11 does not have."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return uuid.UUID(int=value)


def new_event(
    kind: str,
    service: str,
    order: uuid.UUID,
    version: int,
    correlation: uuid.UUID,
    cause: uuid.UUID | None,
    data: dict[str, Any],
) -> NewEvent:
    """Returns an event that occurs now, with this version of its order."""
    event = OrderEvent(
        id=uuid7(),
        source=f"/orderflow/{service}",
        type=f"orders.{kind.replace('.', '-')}.v1",
        subject=order,
        time=datetime.datetime.now(datetime.timezone.utc),
        orderversion=version,
        correlationid=correlation,
        causationid=cause,
        data=data,
    )
    return NewEvent(kind, event, event.body())


def follow(cause: OrderEvent, kind: str, service: str, version: int, data: dict[str, Any]) -> NewEvent:
    """Returns the event that follows from `cause`."""
    return new_event(kind, service, cause.subject, version, cause.correlationid, cause.id, data)
