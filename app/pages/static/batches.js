// Looking again while something is under way, and sending a file once. Without script one reloads the page.

const form = document.querySelector("#upload");
let sending = false;
form.addEventListener("submit", (event) => {
  if (sending) {
    event.preventDefault(); // the second click of a double click
  }
  sending = true;
});
addEventListener("pageshow", () => (sending = false));

if (document.querySelector("[data-under-way]")) {
  // Not while a file is chosen or sent: it would be lost.
  const look = () => (sending || form.elements.file.value ? setTimeout(look, 2000) : location.reload());
  setTimeout(look, 2000);
}
