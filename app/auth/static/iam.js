/**
 * Small comforts on top of pages that work without them: reveal a password, copy, print, ask before
 * a destructive act, refuse a double submit, count down to the next code. No page depends on this file.
 */

const announce = (text) => {
  const live = document.getElementById("iam-live");
  if (live) live.textContent = text;
};

// On a narrow screen the navigation scrolls sideways: the page that is open must be seen in it.
document.querySelector(".iam-side [aria-current=page]")?.scrollIntoView({ block: "nearest", inline: "center" });

/* ------------------------------------------------------------ passwords */

const showPassword = (button, visible) => {
  const input = document.getElementById(button.dataset.reveal);
  if (!input) return;
  input.type = visible ? "text" : "password";
  button.textContent = visible ? button.dataset.hide : button.dataset.show;
  button.setAttribute("aria-label", visible ? button.dataset.hideLabel : button.dataset.showLabel);
};

for (const button of document.querySelectorAll("[data-reveal]")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const input = document.getElementById(button.dataset.reveal);
    showPassword(button, input?.type === "password");
  });
}

/* ----------------------------------------------------------- copy, print */

const textOf = (node) => {
  if ("value" in node && typeof node.value === "string") return node.value;
  if (node.dataset.copyText) return node.dataset.copyText;
  const items = node.querySelectorAll("li");
  if (items.length) return [...items].map((item) => item.textContent.trim()).join("\n");
  return node.textContent.trim();
};

const copy = async (text, source) => {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const range = document.createRange();
    range.selectNodeContents(source);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    return document.execCommand("copy");
  }
};

for (const button of document.querySelectorAll("[data-copy-target]")) {
  const source = document.getElementById(button.dataset.copyTarget);
  if (!source) continue;
  button.hidden = false;
  const label = button.querySelector("span") ?? button;
  const original = label.textContent;
  button.addEventListener("click", async () => {
    const done = await copy(textOf(source), source);
    const text = done ? button.dataset.copied : button.dataset.copyFailed;
    announce(text);
    label.textContent = text;
    setTimeout(() => { label.textContent = original; }, 4000);
  });
}

for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
}

/* -------------------------------------------------- ask before submitting */

const dialog = document.getElementById("iam-dialog");

const ask = (text, okLabel, danger = true) => new Promise((resolve) => {
  if (!dialog || typeof dialog.showModal !== "function") {
    resolve(window.confirm(text));
    return;
  }
  const ok = dialog.querySelector("[data-dialog-ok]");
  const cancel = dialog.querySelector("[data-dialog-cancel]");
  dialog.querySelector("#iam-dialog-text").textContent = text;
  ok.dataset.label ??= ok.textContent;
  ok.textContent = okLabel || ok.dataset.label;
  ok.classList.toggle("iam-button-danger", danger);
  ok.classList.toggle("iam-button-primary", !danger);
  const close = (answer) => () => { dialog.returnValue = answer; dialog.close(); };
  ok.onclick = close("ok");
  cancel.onclick = close("");
  dialog.onclose = () => resolve(dialog.returnValue === "ok");
  dialog.returnValue = "";
  dialog.showModal();
  cancel.focus();
});

// "Keep me signed in" holds for the buttons of other services, too.
for (const link of document.querySelectorAll("a[data-remember]")) {
  link.addEventListener("click", () => {
    const url = new URL(link.href);
    if (document.querySelector("input[name=remember_me]")?.checked) url.searchParams.set("remember", "1");
    else url.searchParams.delete("remember");
    link.href = url.href;
  });
}

for (const details of document.querySelectorAll("details[data-confirm-details]")) {
  const form = details.querySelector("form");
  const submitter = form?.querySelector("button[type=submit]");
  details.querySelector("summary").addEventListener("click", async (event) => {
    if (!submitter || details.open) return;
    event.preventDefault();
    const danger = submitter.classList.contains("iam-button-danger");
    const text = details.querySelector("p").textContent;
    if (await ask(text, submitter.textContent.trim(), danger)) form.requestSubmit(submitter);
  });
}

/* ---------------------------------------------------------- double submit */

const confirmed = new WeakSet();

const release = (form) => {
  delete form.dataset.sent;
  for (const button of form.querySelectorAll("[data-held]")) {
    button.disabled = false;
    delete button.dataset.held;
  }
};

document.addEventListener("submit", async (event) => {
  const form = event.target;
  const submitter = event.submitter;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  const question = submitter?.dataset.confirm ?? form.dataset.confirm;
  if (question && !confirmed.has(form)) {
    event.preventDefault();
    if (await ask(question, submitter?.dataset.confirmLabel)) {
      confirmed.add(form);
      form.requestSubmit(submitter);
      confirmed.delete(form);
    }
    return;
  }
  for (const button of form.querySelectorAll("[data-reveal]")) showPassword(button, false);
  if (form.getAttribute("method") !== "post" || "noGuard" in form.dataset) return; // form.method may be a field
  form.dataset.sent = "1";
  // After this turn, so that the button's own name and value are still sent.
  setTimeout(() => {
    for (const button of form.querySelectorAll("button[type=submit]:not(:disabled)")) {
      button.disabled = true;
      button.dataset.held = "1";
    }
  });
  // A download or an unreachable server leaves the page in place: give the button back.
  setTimeout(() => release(form), 10000);
});

// Back-forward cache: the page returns as it was left, with its buttons disabled.
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) release(form);
});

/* ------------------------------------------------- countdown to a new code */

for (const button of document.querySelectorAll("button[data-wait-seconds]")) {
  const until = Date.now() + Number(button.dataset.waitSeconds) * 1000;
  const label = button.textContent;
  const tick = () => {
    const left = Math.ceil((until - Date.now()) / 1000);
    button.disabled = left > 0;
    button.textContent = left > 0 ? button.dataset.waitLabel.replace("{seconds}", left) : label;
    if (left > 0) setTimeout(tick, 1000);
  };
  if (until > Date.now()) tick();
}

/* -------------------------------------------------------------- menus */

// On narrow screens the navigation is one scrolling row: bring the current entry into view.
const nav = document.querySelector(".iam-side");
const here = nav?.querySelector("[aria-current]");
if (here && nav.scrollWidth > nav.clientWidth) {
  nav.scrollLeft = here.offsetLeft - nav.offsetLeft - (nav.clientWidth - here.offsetWidth) / 2;
}

const menus = [...document.querySelectorAll("details[data-menu]")];
document.addEventListener("click", (event) => {
  for (const menu of menus) if (menu.open && !menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of menus) {
    if (!menu.open) continue;
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
