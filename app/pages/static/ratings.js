// Rating a reply: a thumb, the reasons for it, values on dimensions. Each throws what `post` throws when it is not stored.

import { post } from "./streaming.js";

/** Store a thumb, and offer the reasons that go with it. */
export async function thumb(form, button) {
  if (button.ariaPressed === "true") {
    return; // stored anew, it would lose its reasons
  }
  const thumbs = [...form.querySelectorAll(".thumb")];
  const before = thumbs.map((one) => one.ariaPressed);
  for (const one of thumbs) {
    one.ariaPressed = String(one === button);
  }
  try {
    await store({ reply_id: form.elements.reply_id.value, thumb: Number(button.value) });
  } catch (error) {
    thumbs.forEach((one, index) => (one.ariaPressed = before[index]));
    throw error;
  }
  const why = form.closest(".turn").querySelector(".why");
  why.hidden = false;
  why.querySelector("[name=thumb]").value = button.value;
  for (const group of why.querySelectorAll(".reasons")) {
    group.hidden = (group.dataset.for === "down") !== (button.value === "-1");
  }
}

/** Store the thumb again, with its reasons. */
export async function reasons(form) {
  const fields = new FormData(form);
  const shown = [...form.querySelectorAll(".reasons:not([hidden]) :checked")].map((box) => box.value);
  const comment = fields.get("comment").trim();
  const body = { reply_id: fields.get("reply_id"), thumb: Number(fields.get("thumb")), reasons: shown };
  await store(comment ? { ...body, comment } : body);
  form.closest("details").open = false;
}

/** Store a value on each dimension that was answered. */
export async function scales(form) {
  const { reply_id, conversation, model, best, ...values } = Object.fromEntries(new FormData(form));
  for (const [dimension, value] of Object.entries(values)) {
    await store({ reply_id, dimension, value: Number(value) });
  }
  form.closest("details").open = false;
}

async function store(body) {
  await post("/v1/ratings", {
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    keepalive: true, // whoever leaves the page at once has rated all the same
  });
}
