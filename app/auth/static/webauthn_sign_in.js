/**
 * Sign in with a passkey and nothing else: by the button, or from the browser's suggestions in the name field
 * (conditional mediation). Only one of the two may ask at a time, so the button ends the waiting one first.
 */

import { get, open } from "./webauthn.js";

const panel = open("sign_in");
const field = document.querySelector('input[autocomplete~="webauthn"]');
const flow = "sign_in";

let suggests = false; // whether this browser can
let waiting = null; // the request behind the suggestions: {stop, over, until}

const options = async () => (await panel.post(panel.words.optionsUrl, { flow })).publicKey;

const verify = async (credential) => {
  panel.say("sending");
  const { next, remember_me: remember } = field.form.elements;
  const answer = await panel.post(panel.words.verifyUrl, {
    flow, credential, next: next?.value || undefined, remember: Boolean(remember?.checked),
  });
  location.assign(answer.next);
};

const byButton = async () => {
  waiting?.stop();
  await waiting?.over;
  try {
    await verify(await get(await options()));
  } catch (error) {
    suggest();
    throw error;
  }
};

const bySuggestion = async (credential, until) => {
  try {
    // Suggestions may wait longer than their challenge lives: ask once more, with a fresh one.
    await verify(Date.now() < until ? credential : await get(await options()));
  } catch (error) {
    suggest();
    throw error;
  }
};

/** Wait behind the name field until somebody picks a passkey. Failures stay silent: nobody asked yet. */
const suggest = () => {
  if (!suggests) return;
  const abort = new AbortController();
  const mine = { stop: () => abort.abort(), until: Infinity };
  waiting = mine;
  mine.over = (async () => {
    try {
      const publicKey = await options();
      mine.until = Date.now() + publicKey.timeout;
      const credential = await get(publicKey, { mediation: "conditional", signal: abort.signal });
      panel.run(() => bySuggestion(credential, mine.until));
    } catch { /* aborted, or not to be had; the button and the password remain */ }
  })();
};

/** Renew suggestions whose challenge is too old, once somebody is back at the page. */
const renew = async () => {
  if (!waiting || document.hidden || Date.now() < waiting.until) return;
  waiting.until = Infinity;
  waiting.stop();
  await waiting.over;
  suggest();
};

panel?.start(byButton);
suggests = panel && await PublicKeyCredential.isConditionalMediationAvailable?.();
suggest();
document.addEventListener("visibilitychange", renew);
field?.addEventListener("focus", renew);
