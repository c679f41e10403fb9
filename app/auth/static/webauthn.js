/**
 * What the passkey ceremonies share: options and answers between JSON and binary, requests to our own server,
 * and a panel that shows one sentence at a time, in the page's language. It starts no ceremony by itself.
 * JSON forms: WebAuthn Level 3, 5.1.8 to 5.1.10; older browsers are helped along.
 */

const SLOWEST_ANSWER = 30000;

/* ------------------------------------------------------- JSON and binary */

const toBytes = (text) => {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (character) => character.charCodeAt(0));
};

const toText = (buffer) => {
  const plain = String.fromCharCode(...new Uint8Array(buffer));
  return btoa(plain).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
};

const withBytes = (descriptors) => descriptors?.map((item) => ({ ...item, id: toBytes(item.id) }));

const creationOptions = (json) => PublicKeyCredential.parseCreationOptionsFromJSON?.(json) ?? {
  ...json,
  challenge: toBytes(json.challenge),
  user: { ...json.user, id: toBytes(json.user.id) },
  excludeCredentials: withBytes(json.excludeCredentials),
};

const requestOptions = (json) => PublicKeyCredential.parseRequestOptionsFromJSON?.(json) ?? {
  ...json,
  challenge: toBytes(json.challenge),
  allowCredentials: withBytes(json.allowCredentials),
};

const RESPONSE = ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"];

const toJSON = (credential) => {
  try {
    return credential.toJSON();
  } catch {
    // Missing in older browsers, and broken in credentials that some password managers hand out.
    const { response } = credential;
    const present = RESPONSE.filter((name) => response[name]).map((name) => [name, toText(response[name])]);
    return {
      id: credential.id,
      rawId: toText(credential.rawId),
      type: credential.type,
      authenticatorAttachment: credential.authenticatorAttachment ?? undefined,
      clientExtensionResults: credential.getClientExtensionResults(),
      response: { ...Object.fromEntries(present), transports: response.getTransports?.() },
    };
  }
};

/** Make a key; returns the answer as JSON. */
export const create = async (json) =>
  toJSON(await navigator.credentials.create({ publicKey: creationOptions(json) }));

/** Use a key; `more` may hold `mediation` and `signal`. Returns the answer as JSON. */
export const get = async (json, more = {}) =>
  toJSON(await navigator.credentials.get({ publicKey: requestOptions(json), ...more }));

/* ---------------------------------------------------------------- errors */

/** A refusal with something to show: one of the page's own sentences by name, or the server's. */
class Refusal extends Error {
  constructor(word, sentence = "") {
    super(word);
    this.word = word;
    this.sentence = sentence;
  }
}

// Browsers tell a cancelled, a timed-out and an impossible ceremony by one name, on purpose.
const WORDS = {
  NotAllowedError: "cancelled",
  AbortError: "cancelled",
  InvalidStateError: "known",
  NotSupportedError: "unsuitable",
  ConstraintError: "unsuitable",
  SecurityError: "misplaced",
};

/* ----------------------------------------------------------------- panel */

/** The part of a page that runs one ceremony: its button, its sentences, its requests. */
class Panel {
  #form;
  #button;
  #running = false;

  constructor(form) {
    this.#form = form;
    this.#button = form.querySelector("[data-webauthn-start]");
    this.words = form.dataset;
  }

  /** Return the value of a field of this panel's form. */
  value(name) {
    return this.#form.elements[name]?.value;
  }

  /** Return whether a box of this panel's form is ticked; false where the page shows none. */
  ticked(name) {
    return Boolean(this.#form.elements[name]?.checked);
  }

  /** Show the panel and run `ceremony` on the button. */
  start(ceremony) {
    this.#form.querySelector("[data-webauthn-ready]").hidden = false;
    this.#form.querySelector("[autofocus]")?.focus();
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.run(ceremony);
    });
    // Back-forward cache: the page returns as it was left, waiting for an answer that came.
    window.addEventListener("pageshow", (event) => { if (event.persisted) this.#rest(); });
  }

  /** Run one ceremony at a time: a second click meanwhile does nothing. Success leaves the page. */
  async run(ceremony) {
    if (this.#running) return;
    this.#running = true;
    this.#busy(true);
    this.say("waiting");
    try {
      await ceremony();
    } catch (error) {
      this.#rest();
      this.#tell(error);
    }
  }

  /** Say one of the page's own sentences, calmly. */
  say(word) {
    this.#show("status", this.words[word] ?? "");
  }

  /** Send JSON to our own server and return its answer; a refusal is thrown as a sentence. */
  async post(url, body) {
    let answer;
    let found;
    try {
      answer = await fetch(url, {
        method: "POST",
        headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRFToken": this.value("csrf_token") },
        body: JSON.stringify(body),
        redirect: "error",
        signal: AbortSignal.timeout?.(SLOWEST_ANSWER),
      });
      found = await answer.json().catch(() => null);
    } catch {
      throw new Refusal("offline");
    }
    if (answer.ok && found) return found;
    if (answer.headers.get("WWW-Authenticate")?.includes("insufficient_user_authentication")) {
      // The fresh proof that this page asks for ran out: the page itself leads there and back.
      location.reload();
      await new Promise(() => {});
    }
    throw new Refusal("failed", found?.title);
  }

  #busy(on) {
    // Not `disabled`, which would take the focus away from the button.
    this.#button.setAttribute("aria-disabled", on);
    this.#button.classList.toggle("iam-button-busy", on);
  }

  #rest() {
    this.#running = false;
    this.#busy(false);
    this.#show("status", "");
  }

  #tell(error) {
    const word = error instanceof Refusal ? error.word : WORDS[error?.name] ?? "failed";
    if (word === "cancelled") this.say(word);
    else this.#show("alert", error.sentence || this.words[word] || this.words.failed);
  }

  #show(kind, sentence) {
    for (const box of this.#form.querySelectorAll("[data-webauthn-says]")) {
      const text = box.dataset.webauthnSays === kind ? sentence : "";
      box.querySelector("[data-webauthn-sentence]").textContent = text;
      box.hidden = !text;
    }
  }
}

/** Return the page's panel for a ceremony, or null where there is none or the browser cannot. */
export const open = (ceremony) => {
  const form = document.querySelector(`[data-webauthn="${ceremony}"]`);
  if (!form) return null;
  const panel = new Panel(form);
  if (window.PublicKeyCredential && navigator.credentials) return panel;
  panel.say("missing");
  return null;
};
