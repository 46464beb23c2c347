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
