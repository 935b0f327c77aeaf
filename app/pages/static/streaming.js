// Posting a form, and reading server-sent events as they come. Knows nothing of any page.

/** An Error whose message is for the visitor; `code` is the service's own. */
export class Refusal extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

/** The stream ended without saying that it was complete. */
export class Cut extends Error {}

/** Return an error of the service's as the page's language has it, where the page holds words for it. */
function refusal({ message, code }) {
  const words = document.querySelector("#sayings")?.content;
  const known = words?.querySelector(`[data-code="${CSS.escape(code ?? "")}"]`) ?? words?.querySelector('[data-code=""]');
  const text = known ? known.textContent + ("more" in known.dataset ? ` (${message})` : "") : message;
  return new Refusal(text, code);
}

/** Post, and return the response; throws a Refusal with the service's words, a TypeError when it does not answer. */
export async function post(address, { body, accept = "application/json", headers = {}, signal, keepalive }) {
  const response = await fetch(address, { method: "POST", headers: { Accept: accept, ...headers }, body, signal, keepalive });
  if (!response.ok) {
    const answer = await response.json().catch(() => null);
    throw refusal(answer?.error ?? { message: String(response.status) });
  }
  return response;
}

/** Return the object that a frame holds; throws a Cut where there is none: something on the way has cut into the stream. */
function read(content) {
  let found;
  try {
    found = JSON.parse(content);
  } catch {
    throw new Cut();
  }
  if (typeof found !== "object" || found === null) {
    throw new Cut();
  }
  return found;
}

/** Yield the JSON of each event until [DONE]; throws a Refusal for an error frame, a Cut when the connection breaks. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    let part;
    try {
      part = await reader.read();
    } catch (error) {
      throw error.name === "AbortError" ? error : new Cut();
    }
    if (part.done) {
      throw new Cut();
    }
    const frames = (rest + part.value).split("\n\n");
    rest = frames.pop();
    for (const frame of frames) {
      if (!frame.startsWith("data: ")) {
        continue; // a comment that keeps the connection open
      }
      const content = frame.slice(6);
      if (content === "[DONE]") {
        return;
      }
      const event = read(content);
      if (event.error) {
        throw refusal(event.error);
      }
      yield event;
    }
  }
}
