/** Add a passkey or security key: the browser makes it, our server checks it and keeps the public part. */

import { create, open } from "./webauthn.js";

const panel = open("register");

/** Show the recovery codes that came along; they travel sealed, through a form of this page. */
const showCodes = ({ action, sealed }, token) => {
  const form = document.querySelector("[data-webauthn-codes]");
  form.action = action;
  form.elements.sealed.value = sealed;
  form.elements.csrf_token.value = token;
  form.submit();
};

panel?.start(async () => {
  const { next, optionsUrl, verifyUrl } = panel.words;
  const { publicKey } = await panel.post(optionsUrl, {});
  const credential = await create(publicKey);
  panel.say("sending");
  const answer = await panel.post(verifyUrl, { credential, name: panel.value("name"), next });
  if (answer.codes) showCodes(answer.codes, answer.csrf_token);
  else location.assign(answer.next);
});
