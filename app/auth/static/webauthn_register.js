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
  const { publicKey } = await panel.post(panel.words.optionsUrl, {});
  const credential = await create(publicKey);
  panel.say("sending");
  const answer = await panel.post(panel.words.verifyUrl, { credential, name: panel.value("name") });
  if (answer.codes) showCodes(answer.codes, answer.csrf_token);
  else location.assign(answer.next);
});
