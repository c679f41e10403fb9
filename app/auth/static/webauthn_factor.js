/** Use a key as second factor of a sign-in, or to confirm once more before something sensitive. */

import { get, open } from "./webauthn.js";

const panel = open("factor");

panel?.start(async () => {
  const { flow, purpose, next, optionsUrl, verifyUrl } = panel.words;
  const { publicKey } = await panel.post(optionsUrl, { flow, purpose });
  const credential = await get(publicKey);
  panel.say("sending");
  const answer = await panel.post(verifyUrl, {
    flow, purpose, next, credential, remember_device: panel.ticked("remember_device"),
  });
  location.assign(answer.next);
});
