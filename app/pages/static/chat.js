// The chat without page loads. Everything here but the stream also works without it: the forms are real ones.

import { keep, kept } from "./drafts.js";
import { reasons, scales, thumb } from "./ratings.js";
import { Cut, Refusal, events, post } from "./streaming.js";

const composer = document.querySelector("#composer");
const log = document.querySelector("#log");
const notice = document.querySelector("#notice");
const status = document.querySelector("#status");
let working = null; // the AbortController of the reply in work

if (composer) {
  const message = composer.elements.message;

  composer.addEventListener("submit", (event) => {
    event.preventDefault();
    send(message.value);
  });
  composer.querySelector(".stop").addEventListener("click", () => working?.abort());
  composer.elements.private.addEventListener("change", protect);
  if (!composer.elements.private.checked) {
    message.value ||= kept(composer.elements.conversation.value);
  }
  message.addEventListener("input", saveDraft);
  document.querySelector(".history").addEventListener("submit", (event) => keep(event.target.elements.conversation.value, ""));

  message.addEventListener("keydown", (event) => {
    // While a Chinese input method is open, Enter chooses a word.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      composer.requestSubmit();
    }
  });
  document.addEventListener("keydown", (event) => event.key === "Escape" && working?.abort());

  document.querySelector(".openers")?.addEventListener("submit", (event) => {
    event.preventDefault();
    say(event.submitter.value);
  });

  log.addEventListener("submit", (event) => {
    event.preventDefault();
    const form = event.target;
    if (form.matches(".edit form")) {
      edit(form);
    } else if (form.matches(".again")) {
      again(form);
    } else if (form.matches(".rating")) {
      rate(thumb(form, event.submitter));
    } else if (form.matches(".why form")) {
      rate(reasons(form));
    } else {
      rate(scales(form));
    }
  });
  log.addEventListener("click", (event) => event.target.closest(".copy") && copy(event.target.closest(".turn")));
  for (const button of log.querySelectorAll(".copy")) {
    button.hidden = !navigator.clipboard;
  }

  // The newest turn is what a returning visitor looks for, unless the address names another.
  if (!location.hash) {
    log.lastElementChild?.scrollIntoView({ block: "end" });
  }
  message.focus({ preventScroll: true });
}

/** Keep what is in the box for a reload, unless the visitor wants nothing of theirs kept. */
function saveDraft() {
  const { conversation, message, private: box } = composer.elements;
  keep(conversation.value, box.checked ? "" : message.value);
}

/** Send what is in the box; it is empty while the message is out, and has it again if that fails. */
function send(text) {
  if (!text.trim() || working) {
    return;
  }
  const typed = (words) => {
    composer.elements.message.value = words;
    saveDraft();
  };
  typed("");
  say(text, () => typed(text));
}

/** Send `text` as the next message. */
async function say(text, restore = () => {}) {
  const fields = new URLSearchParams(new FormData(composer));
  fields.set("message", text);
  await converse("/chat", fields, text, [], restore);
}

/** Send a changed message in the place of an old one: what follows it goes. */
async function edit(form) {
  const text = form.elements.message.value;
  if (!text.trim()) {
    return;
  }
  const old = form.closest(".turn");
  const followers = [...log.children].slice([...log.children].indexOf(old));
  const fields = settings(new URLSearchParams(new FormData(form)));
  fields.set("message", text);
  await converse("/chat", fields, text, followers, () => (form.closest("details").open = true));
}

/** Have the last reply drawn anew. */
async function again(form) {
  const fields = settings(new URLSearchParams(new FormData(form)));
  await converse("/chat/again", fields, null, [form.closest(".turn")], () => {});
}

/** Have a reply written to the end of the log, in the place of the turns `replaced`, which come back if it fails; one at a time. */
async function converse(address, fields, text, replaced, restore) {
  if (working) {
    return;
  }
  const welcome = document.querySelector("#welcome");
  const asked = text === null ? null : turn("#user-turn", text);
  const reply = turn("#reply-turn", "");
  const shown = [asked, reply].filter(Boolean);
  for (const one of shown) {
    one.classList.add("pending");
  }
  reply.classList.add("waiting");
  reply.querySelector(".author").textContent = fields.get("model");
  reply.querySelector(".text").setAttribute("aria-label", composer.dataset.thinking);
  notice.hidden = true;
  busy(new AbortController());
  welcome?.setAttribute("hidden", "");
  const before = [...log.children];
  log.replaceChildren(...before.filter((one) => !replaced.includes(one)), ...shown);
  reply.scrollIntoView({ block: "end" });
  let complete = false;
  try {
    const response = await post(address, { body: fields, accept: "text/event-stream", signal: working.signal });
    if (response.headers.get("content-type").startsWith("application/json")) {
      history.replaceState(null, "", (await response.json()).address); // it was answered already: show what is stored
      location.reload();
      return;
    }
    await write(reply, response);
    complete = true;
    remember(fields.get("conversation") || fields.get("fresh"), asked, reply);
    welcome?.remove();
  } catch (error) {
    log.replaceChildren(...before);
    welcome?.removeAttribute("hidden");
    restore();
    tell(error, asked === null);
  } finally {
    busy(null);
    if (!complete || !log.contains(document.activeElement)) {
      composer.elements.message.focus({ preventScroll: true });
    }
  }
}

/** Show a reply as it comes. */
async function write(reply, response) {
  const text = reply.querySelector(".text");
  let written = "";
  for await (const { model, choices } of events(response)) {
    const [choice] = choices;
    reply.id = choice.reply_id;
    reply.querySelector(".author").textContent = model;
    if (choice.delta.content) {
      written += choice.delta.content;
      text.textContent = written;
      text.removeAttribute("aria-label");
      reply.classList.remove("waiting");
      reply.scrollIntoView({ block: "end" });
    }
    if (choice.finish_reason) {
      const hint = reply.querySelector(".score .hint");
      const score = choice.discriminator_score;
      hint.textContent =
        score === null ? hint.dataset.none : hint.dataset.said.replace("{score}", Math.round(100 * score));
    }
  }
  text.removeAttribute("aria-label");
  text.textContent = written || composer.dataset.silence;
  text.classList.toggle("silent", !written);
  reply.classList.remove("waiting");
  for (const field of reply.querySelectorAll("[name=reply_id]")) {
    field.value = reply.id;
  }
}

/** Put the conversation into the address and every form, so that a reload goes on with it. */
function remember(conversation, asked, reply) {
  const turns = [...log.children];
  for (const one of turns) {
    one.classList.remove("pending");
    one.classList.toggle("last", one === reply);
  }
  if (asked) {
    asked.querySelector("[name=edit]").value = reply.id;
    asked.querySelector("textarea").value = asked.querySelector(".text").textContent;
  } else {
    turns.at(-2).querySelector("[name=edit]").value = reply.id;
  }
  keep(composer.elements.conversation.value, "");
  composer.elements.conversation.value = conversation;
  saveDraft(); // what was typed while the first reply came
  composer.elements.after.value = turns.length;
  for (const field of log.querySelectorAll("[name=conversation]")) {
    field.value = conversation;
  }
  const address = new URL(location.href);
  address.hash = "";
  address.searchParams.set("conversation", conversation);
  address.searchParams.set("model", composer.elements.model.value);
  history.replaceState(null, "", address);
  list(address, turns[0].querySelector(".text").textContent);
  for (const link of document.querySelectorAll(".settings a")) {
    const own = new URL(link.href);
    own.searchParams.set("conversation", conversation);
    link.href = own;
  }
}

/** Let a new conversation stand in the side bar; with its button to be deleted it does from the next page on. */
function list(address, opening) {
  const place = document.querySelector(".history ul") ?? document.createElement("ul");
  if (place.querySelector(`a[href*="conversation=${address.searchParams.get("conversation")}"]`)) {
    return;
  }
  const link = Object.assign(document.createElement("a"), { href: address.href, textContent: opening, ariaCurrent: "true" });
  const entry = document.createElement("li");
  entry.append(link);
  place.prepend(entry);
  document.querySelector(".history .hint")?.replaceWith(place);
}

/** Say what becomes of a rating. */
async function rate(stored) {
  notice.hidden = true;
  try {
    await stored;
    status.textContent = composer.dataset.stored;
  } catch (error) {
    tell(error, true);
  }
}

async function protect() {
  const { conversation, private: box } = composer.elements;
  const said = box.checked ? composer.dataset.privateOn : composer.dataset.privateOff;
  saveDraft();
  try {
    if (conversation.value) {
      await post("/chat/privacy", { body: new URLSearchParams(new FormData(composer)), accept: "text/html" });
    }
    inform(said);
  } catch (error) {
    box.checked = !box.checked;
    saveDraft();
    tell(error, true);
  }
}

async function copy(reply) {
  await navigator.clipboard.writeText(reply.querySelector(".text").textContent);
  inform(composer.dataset.copied);
}

/** Let a form of the log speak for what is chosen below it now. */
function settings(fields) {
  const chosen = new FormData(composer);
  for (const name of ["model", "best", "private"]) {
    fields.set(name, chosen.get(name) ?? "");
  }
  return fields;
}

function turn(template, text) {
  const element = document.querySelector(template).content.firstElementChild.cloneNode(true);
  element.querySelector(".text").textContent = text;
  for (const button of element.querySelectorAll(".copy")) {
    button.hidden = !navigator.clipboard;
  }
  return element;
}

function busy(controller) {
  const [send, stop] = composer.querySelectorAll(".send");
  working = controller;
  composer.ariaBusy = String(Boolean(controller));
  send.disabled = Boolean(controller);
  send.hidden = false;
  stop.hidden = true;
  if (controller) {
    // Not at once: the second click of a double click must not stop what the first began.
    setTimeout(() => {
      stop.hidden = working !== controller;
      send.hidden = working === controller;
    }, 600);
  }
}

function inform(text) {
  notice.textContent = status.textContent = text;
  notice.classList.add("kind");
  notice.hidden = false;
}

/** Say what went wrong: with a message, which is in its box again, or with a change to what stands. */
function tell(error, change) {
  const { failed, unreachable, unreachableChange, stopped, stoppedAgain, cut, cutAgain } = composer.dataset;
  if (error.name === "AbortError") {
    notice.textContent = change ? stoppedAgain : stopped;
  } else if (error instanceof Cut) {
    notice.textContent = change ? cutAgain : cut;
  } else if (error instanceof Refusal) {
    notice.textContent = failed + error.message;
  } else {
    notice.textContent = change ? unreachableChange : unreachable;
  }
  notice.classList.remove("kind");
  notice.hidden = false;
  notice.scrollIntoView({ block: "nearest" });
}
