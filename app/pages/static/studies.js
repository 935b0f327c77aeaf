// Reading contexts from a file into their box, and copying a link. Without script one pastes, and one selects.

const fromFile = document.querySelector(".from-file");
if (fromFile) {
  fromFile.hidden = false;
  const input = fromFile.querySelector("input");
  input.addEventListener("change", async () => {
    const [file] = input.files;
    if (file) {
      document.querySelector("[name=contexts]").value = await file.text();
      fromFile.querySelector("[role=status]").textContent = file.name;
    }
  });
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = button.dataset.copied;
  });
}
