// The office works without script; this makes it quicker.
"use strict";

// Live parts: <div data-live="/ufficio/…"> is filled by the server-sent event "part" with ready HTML. Where the page asks for
// several, the event is called after the element's id.
for (const part of document.querySelectorAll("[data-live]")) {
  const source = new EventSource(part.dataset.live);
  source.addEventListener(part.dataset.event || "part", (event) => {
    part.innerHTML = event.data;
    if (window.htmx) window.htmx.process(part);
  });
}

// The first thing that is wrong in a form, or the confirmation of what was done, is where a reader of the page begins.
const summary = document.querySelector("[data-focus]");
if (summary) summary.focus();

// A select or box that sends its form as soon as it changes (filters).
document.addEventListener("change", (event) => {
  const form = event.target.form;
  if (form && event.target.matches("[data-send]")) form.requestSubmit();
});

// One press sends a form once.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || event.defaultPrevented) return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "yes";
  setTimeout(() => delete form.dataset.sent, 5000);
});

for (const button of document.querySelectorAll("[data-print]")) button.addEventListener("click", () => window.print());

// Passkeys: the form's answer is what the authenticator says.
function bytes(text) {
  return Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
}
function text(buffer) {
  return btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}
async function makePasskey(o) {
  const made = await navigator.credentials.create({ publicKey: {
    challenge: bytes(o.challenge), rp: { id: o.site, name: o.siteName },
    user: { id: new TextEncoder().encode(o.person), name: o.login, displayName: o.name },
    pubKeyCredParams: [{ type: "public-key", alg: -7 }, { type: "public-key", alg: -257 }],
    authenticatorSelection: { residentKey: "preferred", userVerification: "required" },
    excludeCredentials: o.known.map((id) => ({ type: "public-key", id: bytes(id) })),
    attestation: "none", timeout: 120000,
  } });
  const r = made.response;
  return { id: text(made.rawId), client: text(r.clientDataJSON), authenticator: text(r.getAuthenticatorData()), key: text(r.getPublicKey()), algorithm: r.getPublicKeyAlgorithm() };
}
async function showPasskey(o) {
  const shown = await navigator.credentials.get({ publicKey: {
    challenge: bytes(o.challenge), rpId: o.site, userVerification: "required", timeout: 120000,
    allowCredentials: o.known.map((id) => ({ type: "public-key", id: bytes(id) })),
  } });
  const r = shown.response;
  return { id: text(shown.rawId), client: text(r.clientDataJSON), authenticator: text(r.authenticatorData), signature: text(r.signature) };
}
for (const form of document.querySelectorAll("[data-passkey]")) {
  form.addEventListener("submit", async (event) => {
    if (form.elements.risposta.value) return;
    event.preventDefault();
    const options = JSON.parse(form.dataset.options);
    try {
      const answer = form.dataset.passkey === "create" ? await makePasskey(options) : await showPasskey(options);
      form.elements.risposta.value = JSON.stringify(answer);
      form.submit();
    } catch {
      form.querySelector("[data-passkey-error]").hidden = false;
    }
  });
}
