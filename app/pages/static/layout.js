// On every page: changing the colours without loading it again. Without script the same links load it.

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

// What the address asked for is kept in a cookie by now: an address that is kept or shared must not ask for it again.
const address = new URL(location.href);
if (address.searchParams.has("theme") || address.searchParams.has("lang")) {
  address.searchParams.delete("theme");
  address.searchParams.delete("lang");
  history.replaceState(history.state, "", address);
}
