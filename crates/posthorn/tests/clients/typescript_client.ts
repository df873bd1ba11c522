// Uses a TypeScript client that was generated from the OpenAPI document.
//
//     POSTHORN_URL=… POSTHORN_API_KEY=… node typescript_client.js
//
// The project has a tenant "acme" with one endpoint, whose receiver is well.
import { deepStrictEqual, ok, strictEqual } from "node:assert";
import { setTimeout as pause } from "node:timers/promises";

import {
  deliveriesList, deliveriesListAttempts, deliveriesReplay, eventsList, eventsPublish,
  type Delivery, type DeliveryStatus, type Event, type Problem,
} from "./client";
import { client } from "./client/client.gen";

client.setConfig({ baseUrl: process.env.POSTHORN_URL, auth: () => process.env.POSTHORN_API_KEY });

function publish(tenant: string, subject: string) {
  return eventsPublish({ body: { tenant, type: "order.paid", subject, data: { total: 1200 } } });
}

async function main() {
  const published: string[] = [];
  for (const subject of ["ord_0", "ord_1", "ord_2"]) {
    const { data } = await publish("acme", subject);
    ok(data?.sequence);
    published.unshift(data.id);
  }

  const listed: Event[] = [];
  let cursor: string | undefined;
  do {
    const { data } = await eventsList({ query: { limit: 2, cursor } });
    ok(data);
    listed.push(...data.data);
    cursor = data.next_cursor ?? undefined;
  } while (cursor);
  deepStrictEqual(listed.map((event) => event.id), published);

  const ended: DeliveryStatus[] = ["delivered", "failed"];
  let deliveries: Delivery[] = [];
  while (deliveries.length < 3) {
    await pause(50);
    const { data } = await deliveriesList({ query: { status: ended } });
    deliveries = data?.data ?? [];
  }
  const [delivery] = deliveries;
  strictEqual(delivery.status, "delivered");

  const path = { delivery: delivery.id };
  const refused = await deliveriesReplay({ path, body: {} });
  strictEqual((refused.error as Problem).code, "conflict");
  await deliveriesReplay({ path, body: { force: true } });
  for (;;) {
    const { data } = await deliveriesListAttempts({ path });
    if (data && data.data.length > 1) {
      strictEqual(data.data[1].trigger, "manual");
      break;
    }
    await pause(50);
  }

  const { error } = await publish("nobody", "ord_9");
  const problem = error as Problem;
  strictEqual(problem.code, "invalid_request");
  deepStrictEqual(problem.errors?.map((one) => one.pointer), ["/tenant"]);
  console.log("published, listed, paged, replayed and read a problem");
}

main().catch((fault) => {
  console.error(fault);
  process.exitCode = 1;
});
