// A round without page loads: both replies appear at one pace, then the buttons wake. All forms work without it.

import { Refusal, post } from "./streaming.js";

const CHARACTERS_A_SECOND = 70;

const ask = document.querySelector("#ask");
const round = document.querySelector("#round");
const notice = document.querySelector("#notice");
const status = document.querySelector("#status");
const reveal = document.querySelector("#reveal");
const verdict = document.querySelector(".verdict");
let working = false;
let shownAt = performance.now();

if (ask) {
  const message = ask.elements.message;
  ask.addEventListener("submit", (event) => {
    event.preventDefault();
    play(message.value);
  });
  message.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      ask.requestSubmit();
    }
  });
  verdict.addEventListener("submit", (event) => {
    event.preventDefault();
    vote(event.submitter.value);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("textarea, input") || verdict.hidden) {
      return;
    }
    const button = verdict.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    if (button && !button.disabled) {
      event.preventDefault();
      button.click();
    }
  });
  if (verdict.hidden) {
    message.focus({ preventScroll: true });
  }
}

async function play(text) {
  if (!text.trim() || working) {
    return;
  }
  working = true;
  notice.hidden = reveal.hidden = true;
  status.textContent = status.dataset.writing;
  ask.querySelector("button").disabled = true;
  try {
    const response = await post("/arena/round", { body: new URLSearchParams({ message: text }) });
    const pair = await response.json();
    ask.elements.message.value = "";
    ask.hidden = true;
    await show(pair);
  } catch (error) {
    tell(error, notice.dataset.unreachable);
  } finally {
    working = false;
    ask.querySelector("button").disabled = false;
  }
}

/** Show both replies letter by letter, equally fast; only then can be voted. */
async function show(pair) {
  history.replaceState(null, "", "/arena");
  round.querySelector(".context .text").textContent = pair.message;
  const boxes = ["left", "right"].map((side) => [round.querySelector(`.box[data-side=${side}]`), pair[side]]);
  for (const [box] of boxes) {
    box.classList.remove("chosen");
    box.querySelector(".text").textContent = "";
  }
  for (const form of [verdict, document.querySelector(".pass")]) {
    form.elements.lease.value = pair.lease;
    form.hidden = false;
  }
  wake(false);
  round.hidden = false;
  const longest = Math.max(...boxes.map(([, text]) => text.length));
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const began = performance.now();
  for (let count = 0; count < longest; ) {
    await new Promise(still ? (done) => done() : requestAnimationFrame);
    count = still ? longest : Math.ceil(((performance.now() - began) / 1000) * CHARACTERS_A_SECOND);
    for (const [box, text] of boxes) {
      box.querySelector(".text").textContent = text.slice(0, count);
    }
  }
  for (const [box, text] of boxes) {
    box.querySelector(".text").textContent = text || status.dataset.silence;
    box.querySelector(".text").classList.toggle("silent", !text);
  }
  shownAt = performance.now();
  wake(true);
  status.textContent = status.dataset.ready;
  round.focus({ preventScroll: true }); // not a button: one that lies ready under Enter would win votes
}

async function vote(choice) {
  if (working) {
    return;
  }
  working = true;
  notice.hidden = true;
  const dwell = String(Math.round(performance.now() - shownAt));
  const body = new URLSearchParams({ lease: verdict.elements.lease.value, choice, dwell_ms: dwell });
  try {
    const names = await (await post("/arena/vote", { body, keepalive: true })).json();
    for (const name of reveal.querySelectorAll("[data-side]")) {
      const { system, best_of } = names[name.dataset.side];
      name.textContent = best_of ? `${system} · ${name.dataset.best.replace("{n}", best_of)}` : system;
    }
    round.querySelector(`.box[data-side="${choice}"]`)?.classList.add("chosen");
    verdict.hidden = document.querySelector(".pass").hidden = true;
    reveal.hidden = ask.hidden = false;
    history.replaceState(null, "", `/arena?after=${encodeURIComponent(verdict.elements.lease.value)}`);
    ask.elements.message.focus({ preventScroll: true });
  } catch (error) {
    tell(error, notice.dataset.unreachableVote);
    if (error.code === "lease_expired") {
      notice.textContent = notice.dataset.expired;
      verdict.hidden = document.querySelector(".pass").hidden = true;
      ask.hidden = false;
    }
  } finally {
    working = false;
  }
}

function wake(is) {
  for (const button of verdict.querySelectorAll("button")) {
    button.disabled = !is;
  }
}

function tell(error, unreachable) {
  notice.textContent = error instanceof Refusal ? notice.dataset.failed + error.message : unreachable;
  notice.hidden = false;
}
