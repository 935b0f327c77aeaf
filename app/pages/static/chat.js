// The chat without page loads. Everything here also works without it: the forms are real ones.

const composer = document.querySelector("#composer");
const log = document.querySelector("#log");
const notice = document.querySelector("#notice");
const status = document.querySelector("#status");

if (composer) {
  const message = composer.elements.message;

  composer.addEventListener("submit", (event) => {
    event.preventDefault();
    say(message.value);
  });

  message.addEventListener("keydown", (event) => {
    // While a Chinese input method is open, Enter chooses a word.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      composer.requestSubmit();
    }
  });

  document.querySelector(".openers")?.addEventListener("submit", (event) => {
    event.preventDefault();
    say(event.submitter.value);
  });

  log.addEventListener("submit", (event) => {
    event.preventDefault();
    rate(event.target, event.submitter);
  });

  // The newest turn is what a returning visitor looks for, unless the address names another.
  if (!location.hash) {
    log.lastElementChild?.scrollIntoView({ block: "end" });
  }
  message.focus({ preventScroll: true });
}

async function say(text) {
  if (!text.trim() || composer.ariaBusy === "true") {
    return;
  }
  const fields = new URLSearchParams(new FormData(composer));
  fields.set("message", text);
  const welcome = document.querySelector("#welcome");
  const asked = turn("#user-turn", text);
  const reply = turn("#reply-turn", "");
  reply.classList.add("pending");
  reply.querySelector(".author").textContent = fields.get("model");
  reply.querySelector(".text").setAttribute("aria-label", composer.dataset.thinking);
  notice.hidden = true;
  composer.elements.message.value = "";
  busy(true);
  welcome?.setAttribute("hidden", "");
  log.append(asked, reply);
  reply.scrollIntoView({ block: "end", behavior: "smooth" });
  try {
    const said = await send("/chat", { body: fields });
    welcome?.remove();
    fill(reply, said);
    remember(said.conversation);
  } catch (error) {
    asked.remove();
    reply.remove();
    welcome?.removeAttribute("hidden");
    composer.elements.message.value = text;
    tell(error);
  } finally {
    busy(false);
    composer.elements.message.focus({ preventScroll: true });
  }
}

async function rate(form, button) {
  const thumbs = [...form.querySelectorAll(".thumb")];
  const before = thumbs.map((thumb) => thumb.ariaPressed);
  notice.hidden = true;
  for (const thumb of thumbs) {
    thumb.ariaPressed = String(thumb === button);
  }
  try {
    await send("/v1/ratings", {
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ reply_id: form.elements.reply_id.value, thumb: Number(button.value) }),
    });
    status.textContent = composer.dataset.stored;
  } catch (error) {
    thumbs.forEach((thumb, index) => (thumb.ariaPressed = before[index]));
    tell(error);
  }
}

/** Post, and return the JSON of the answer; throws an Error whose message is for the visitor. */
async function send(address, { headers = {}, body }) {
  let response;
  try {
    response = await fetch(address, { method: "POST", headers: { Accept: "application/json", ...headers }, body });
  } catch {
    throw new Error(composer.dataset.unreachable);
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok) {
    throw new Error(`${composer.dataset.failed} ${answer?.error?.message ?? response.status}`);
  }
  return answer;
}

function turn(template, text) {
  const element = document.querySelector(template).content.firstElementChild.cloneNode(true);
  element.querySelector(".text").textContent = text;
  return element;
}

function fill(reply, said) {
  const text = reply.querySelector(".text");
  reply.classList.remove("pending");
  reply.id = said.reply_id;
  reply.querySelector(".author").textContent = said.model;
  text.removeAttribute("aria-label");
  text.textContent = said.text || composer.dataset.silence;
  text.classList.toggle("silent", !said.text);
  reply.querySelector("[name=reply_id]").value = said.reply_id;
  reply.scrollIntoView({ block: "end", behavior: "smooth" });
}

/** Put the conversation into the address and every form, so that a reload goes on with it. */
function remember(conversation) {
  composer.elements.conversation.value = conversation;
  for (const field of log.querySelectorAll("[name=conversation]")) {
    field.value = conversation;
  }
  const address = new URL(location.href);
  address.hash = "";
  address.searchParams.set("conversation", conversation);
  address.searchParams.set("model", composer.elements.model.value);
  history.replaceState(null, "", address);
  for (const link of document.querySelectorAll("nav a[hreflang]")) {
    link.href = Object.assign(new URL(address), { search: withLanguage(address, link) });
  }
}

function withLanguage(address, link) {
  const parts = new URLSearchParams(address.search);
  parts.set("lang", new URL(link.href).searchParams.get("lang"));
  return parts.toString();
}

function busy(is) {
  composer.ariaBusy = String(is);
  composer.querySelector(".send").disabled = is;
}

function tell(error) {
  notice.textContent = error.message;
  notice.hidden = false;
  notice.scrollIntoView({ block: "nearest" });
}
