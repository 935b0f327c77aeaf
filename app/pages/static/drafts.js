// What is typed and not sent yet, kept by this tab alone for each conversation, so that a reload does not lose it.

const PREFIX = "rejoinder-draft:";

/** Return the half-typed message of a conversation, "" for a new one; empty where there is none. */
export function kept(conversation) {
  return attempt((store) => store.getItem(PREFIX + conversation)) ?? "";
}

/** Keep a half-typed message; an empty one is forgotten. */
export function keep(conversation, text) {
  attempt((store) => (text ? store.setItem(PREFIX + conversation, text) : store.removeItem(PREFIX + conversation)));
}

/** Forget all of them. */
export function forget() {
  attempt((store) => {
    for (const key of Object.keys(store).filter((one) => one.startsWith(PREFIX))) {
      store.removeItem(key);
    }
  });
}

/** Do something with the tab's store; nothing where the browser has none for us, or it is full. */
function attempt(work) {
  try {
    return work(sessionStorage);
  } catch (error) {
    if (error instanceof DOMException) {
      return null;
    }
    throw error;
  }
}
