// Reads streams as the pages do: lines of {"chunks": [base64, ...], "cut": bool} come in, {"events", "end"} go out.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

globalThis.document = { querySelector: () => null }; // a page without words of its own
const { Cut, Refusal, events } = await import(pathToFileURL(process.argv[2]));

for await (const line of createInterface({ input: process.stdin })) {
  const { chunks, cut } = JSON.parse(line);
  const left = [...chunks];
  const body = new ReadableStream({
    pull(controller) {
      if (left.length) {
        controller.enqueue(Buffer.from(left.shift(), "base64"));
      } else if (cut) {
        controller.error(new TypeError("network error"));
      } else {
        controller.close();
      }
    },
  });
  const found = [];
  let end = "done";
  try {
    for await (const event of events({ body })) {
      found.push(event);
    }
  } catch (error) {
    end = error instanceof Cut ? "cut" : error instanceof Refusal ? "refused" : `${error}`;
  }
  process.stdout.write(`${JSON.stringify({ events: found, end })}\n`);
}
