"""Uses a Python client that was generated from the OpenAPI document.

    PYTHONPATH=<folder of the client> POSTHORN_URL=… POSTHORN_API_KEY=… python_client.py

The project has a tenant "acme" with one endpoint, whose receiver is well.
"""
import os, time

from posthorn_client import AuthenticatedClient
from posthorn_client.api.deliveries import deliveries_list, deliveries_list_attempts, deliveries_replay
from posthorn_client.api.events import events_list, events_publish
from posthorn_client.models import (
    AttemptTrigger, DeliveryPage, DeliveryStatus, ErrorClass, EventPage, Problem, ProblemCode, PublishAnswer,
    PublishRequest, PublishRequestData, ReplayRequest,
)

client = AuthenticatedClient(
    base_url=os.environ["POSTHORN_URL"], token=os.environ["POSTHORN_API_KEY"], raise_on_unexpected_status=True)


def publish(tenant, subject):
    data = PublishRequestData.from_dict({"total": 1200})
    request = PublishRequest(tenant=tenant, type_="order.paid", subject=subject, data=data)
    return events_publish.sync(client=client, body=request)


published = [publish("acme", f"ord_{n}") for n in range(3)]
assert all(isinstance(answer, PublishAnswer) and answer.sequence for answer in published), published

listed, cursor = [], None
while True:
    page = events_list.sync(client=client, limit=2, **({"cursor": cursor} if cursor else {}))
    assert isinstance(page, EventPage), page
    listed += [event.id for event in page.data]
    cursor = page.next_cursor
    if not cursor:
        break
assert listed == [answer.id for answer in reversed(published)], listed

while True:
    page = deliveries_list.sync(client=client, status=[DeliveryStatus.DELIVERED, DeliveryStatus.FAILED])
    assert isinstance(page, DeliveryPage), page
    if len(page.data) == 3:
        break
    time.sleep(0.05)
delivery = page.data[0]
assert delivery.status is DeliveryStatus.DELIVERED and delivery.error_class is ErrorClass.NONE, delivery

refused = deliveries_replay.sync(delivery.id, client=client, body=ReplayRequest())
assert isinstance(refused, Problem) and refused.code is ProblemCode.CONFLICT, refused
deliveries_replay.sync(delivery.id, client=client, body=ReplayRequest(force=True))
while len(attempts := deliveries_list_attempts.sync(delivery.id, client=client).data) < 2:
    time.sleep(0.05)
assert attempts[1].trigger is AttemptTrigger.MANUAL, attempts

problem = publish("nobody", "ord_9")
assert isinstance(problem, Problem) and problem.code is ProblemCode.INVALID_REQUEST, problem
assert [error.pointer for error in problem.errors] == ["/tenant"], problem
print("published, listed, paged, replayed and read a problem")
