// An OpenID provider on loopback, by npm's oidc-provider (certified by the OpenID Foundation).
//
// Clients come by dynamic registration (RFC 7591), people by PUT /accounts/<name>. It prints
// its issuer as one line of JSON and ends with its standard input, so that it never outlives
// the tests. Its pages load nothing: a test needs no network.
import crypto from 'node:crypto';
import http from 'node:http';
import { createRequire } from 'node:module';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';

const found = createRequire(`${process.argv[2]}/`).resolve('oidc-provider');
const { default: Provider } = await import(pathToFileURL(found));

const server = http.createServer();
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
const issuer = `http://127.0.0.1:${server.address().port}`;

const accounts = new Map();
const escaped = (value) => String(value).replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
const page = (title, body) => `<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>${title}</title><main><h1>${title}</h1>
${body}</main>`;

function key(alg, type, options) {
  const { privateKey } = crypto.generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: crypto.randomUUID() };
}

const provider = new Provider(issuer, {
  jwks: {
    keys: [key('RS256', 'rsa', { modulusLength: 2048 }), key('ES256', 'ec', { namedCurve: 'P-256' })],
  },
  cookies: { keys: [crypto.randomBytes(32).toString('hex')] },
  claims: {
    openid: ['sub', 'acr', 'amr', 'auth_time', 'sid'],
    profile: ['name', 'given_name', 'family_name', 'preferred_username', 'locale', 'picture'],
    email: ['email', 'email_verified'],
    phone: ['phone_number', 'phone_number_verified'],
    groups: ['groups'],
  },
  responseTypes: ['code'],
  pkce: { required: () => true },
  features: {
    devInteractions: { enabled: false },
    registration: { enabled: true },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource: (ctx, form) => {
        ctx.body = page('Sign out of the provider?', `${form}
<button form="op.logoutForm" name="logout" value="yes">Sign out</button>`);
      },
      postLogoutSuccessSource: (ctx) => {
        ctx.body = page('Signed out of the provider', '');
      },
    },
  },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (ctx, sub) => {
    const account = [...accounts.values()].find((one) => one.sub === sub);
    if (!account) return undefined;
    const { acr, amr, ...claims } = account;
    return { accountId: sub, claims: () => claims };
  },
  renderError: (ctx, out) => {
    ctx.body = page('The provider refuses', `<p>${escaped(out.error)}: ${escaped(out.error_description)}`);
  },
  // Logout tokens go to an application on this machine, which the library would refuse to reach.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
});

function show(response, prompt, params, note = '') {
  const [title, fields] = prompt.name === 'login'
    ? ['Sign in at the provider', `<label>Name <input name="login" required autofocus
value="${escaped(params.login_hint ?? '')}"></label>`]
    : ['Allow access?', `<p>${escaped(params.client_id)} asks for: ${escaped(params.scope)}`];
  response.setHeader('content-type', 'text/html; charset=utf-8');
  response.end(page(title, `<p role="alert">${note}</p><form method="post">${fields}
<button name="answer" value="yes">Continue</button>
<button name="answer" value="no" formnovalidate>Cancel</button></form>`));
}

async function interact(request, response) {
  const details = await provider.interactionDetails(request, response);
  const { prompt, params, session } = details;
  if (request.method !== 'POST') return show(response, prompt, params);
  const form = new URLSearchParams(await text(request));
  const finish = (result) => provider.interactionFinished(
    request, response, result, { mergeWithLastSubmission: prompt.name === 'consent' });
  if (form.get('answer') === 'no') return finish({ error: 'access_denied' });
  if (prompt.name === 'login') {
    const account = accounts.get(form.get('login'));
    if (!account) return show(response, prompt, params, 'Nobody has this name.');
    return finish({ login: { accountId: account.sub, acr: account.acr, amr: account.amr } });
  }
  const grant = (details.grantId && await provider.Grant.find(details.grantId))
    || new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope((prompt.details.missingOIDCScope ?? []).join(' '));
  grant.addOIDCClaims(prompt.details.missingOIDCClaims ?? []);
  return finish({ consent: { grantId: await grant.save() } });
}

async function remember(request, response) {
  accounts.set(request.url.split('/').pop(), JSON.parse(await text(request)));
  response.end();
}

const answer = provider.callback();
server.on('request', (request, response) => {
  console.error(request.method, request.url.split('?')[0]);
  const [, first] = request.url.split('/');
  const handler = { interaction: interact, accounts: remember }[first] ?? answer;
  Promise.resolve(handler(request, response)).catch((error) => {
    console.error(error);
    response.statusCode = 500;
    response.end(page('The provider failed', escaped(error.message)));
  });
});
for (const event of ['server_error', 'authorization.error', 'grant.error', 'userinfo.error',
  'end_session.error', 'backchannel.error', 'registration_create.error']) {
  provider.on(event, (ctx, error) => console.error(event, error));
}

process.stdin.on('close', () => process.exit()).resume();
console.log(JSON.stringify({ issuer }));
