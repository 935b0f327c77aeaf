// On every page: forms that are sent once, and only to a service that answers; colours without loading the page again.
// Without script the same forms and links work by themselves.

import { forget } from "./drafts.js";

for (const link of document.querySelectorAll("[data-theme-choice]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const theme = link.dataset.themeChoice;
    document.documentElement.dataset.theme = theme;
    const secure = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `rejoinder-theme=${theme}; path=/; max-age=31536000; samesite=lax${secure}`;
    document.querySelector(`[data-theme-choice="${theme === "dark" ? "light" : "dark"}"]`).focus();
  });
}

// A form that the browser sends by itself ends on the browser's own page when the service is away, and what was typed is
// gone. So the service is asked first whether it is there. Forms that a page's own script sends do not come here.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") {
    return;
  }
  if (form.dataset.state === "reached") {
    form.dataset.state = "sent"; // and the browser sends it
    if (form.matches('[action="/sign-out"]')) {
      forget(); // whoever sits down here next
    }
    return;
  }
  event.preventDefault();
  if (form.dataset.state) {
    return; // the second click of a double click
  }
  form.dataset.state = "asking";
  document.querySelector(".unsent")?.remove();
  try {
    await fetch("/health/live", { cache: "no-store" });
  } catch {
    delete form.dataset.state;
    const text = document.body.dataset.unsent;
    form.before(Object.assign(document.createElement("p"), { className: "notice unsent", role: "alert", textContent: text }));
    return;
  }
  form.dataset.state = "reached";
  form.requestSubmit(event.submitter);
  setTimeout(() => delete form.dataset.state, 5000); // if the sending was stopped by hand
});
addEventListener("pageshow", () => {
  for (const form of document.forms) {
    delete form.dataset.state;
  }
});

// What the address asked for is kept in a cookie by now: an address that is kept or shared must not ask for it again.
const address = new URL(location.href);
if (address.searchParams.has("theme") || address.searchParams.has("lang")) {
  address.searchParams.delete("theme");
  address.searchParams.delete("lang");
  history.replaceState(history.state, "", address);
}
