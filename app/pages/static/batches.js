// Looking again while something is under way. Without script one reloads the page.

const form = document.querySelector("#upload");
if (document.querySelector("[data-under-way]")) {
  // Not while a file is chosen or sent: it would be lost.
  const look = () => (form.dataset.state || form.elements.file.value ? setTimeout(look, 2000) : location.reload());
  setTimeout(look, 2000);
}
