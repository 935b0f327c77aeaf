// Judging with keys, a clock for the lease, and the time that was looked. All forms work without it.

const verdict = document.querySelector(".verdict");
const clock = document.querySelector(".clock");
const again = document.querySelector("[data-again]");

if (verdict) {
  let looked = 0;
  let since = document.hidden ? null : performance.now();
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && since !== null) {
      looked += performance.now() - since;
      since = null;
    } else if (!document.hidden) {
      since = performance.now();
    }
  });

  verdict.addEventListener("submit", () => {
    verdict.elements.dwell_ms.value = Math.round(looked + (since === null ? 0 : performance.now() - since));
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || typing(event.target)) {
      return;
    }
    const button = verdict.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    if (button) {
      event.preventDefault();
      button.click();
    } else if (verdict.dataset.kind === "scale" && /^[1-5]$/.test(event.key)) {
      event.preventDefault();
      answer(event.key);
    } else if (verdict.dataset.kind === "scale" && event.key === "Enter" && !event.target.closest("summary, a, button")) {
      event.preventDefault();
      verdict.requestSubmit();
    }
  });
}

/** Answer the question in focus, else the first open one, and go on to the next open one. */
function answer(value) {
  const questions = [...verdict.querySelectorAll(".question")];
  const open = (one) => !one.querySelector(":checked");
  const question = document.activeElement.closest(".question") ?? questions.find(open);
  if (!question) {
    return;
  }
  question.querySelector(`[value="${value}"]`).checked = true;
  const next = questions.slice(questions.indexOf(question) + 1).find(open) ?? questions.find(open);
  (next?.querySelector("input") ?? verdict.querySelector(".choices button")).focus();
}

function typing(element) {
  return element.matches("input[type=text], textarea, select");
}

if (clock) {
  // From the server's own count, so a wrong clock in the device does no harm.
  const end = performance.now() + 1000 * Number(clock.dataset.seconds);
  const tick = () => {
    const left = Math.max(0, Math.round((end - performance.now()) / 1000));
    clock.textContent = left
      ? `${clock.dataset.left} ${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`
      : clock.dataset.over;
    clock.classList.toggle("low", left < 60);
    if (left) {
      setTimeout(tick, 1000);
    }
  };
  tick();
}

if (again) {
  setTimeout(() => location.reload(), 1000 * Number(again.dataset.again));
}
