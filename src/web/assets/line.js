// The line in the browser: a keypad and a loudspeaker on a trial call; and recordings heard where they are listed.
"use strict";

// Listening where a recording is listed: without script the link opens the sound by itself.
const listened = new Audio();
let listening = null;
function quiet() {
  listened.pause();
  if (listening) listening.removeAttribute("aria-pressed");
  listening = null;
}
listened.addEventListener("ended", quiet);
for (const link of document.querySelectorAll("a[data-listen]")) {
  link.setAttribute("role", "button");
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const again = listening === link;
    quiet();
    if (again) return;
    listening = link;
    link.setAttribute("aria-pressed", "true");
    listened.src = link.href;
    listened.play().catch(quiet);
  });
}

const trial = document.querySelector("[data-trial]");
if (trial) {
  const find = (name) => document.querySelector(`[data-${name}]`);
  const [call, hangUp, phone, keypad, skip, voice, sound, step, transcript, errors] =
    ["call", "hang-up", "phone", "keypad", "skip", "voice", "sound", "step", "transcript", "errors"].map(find);
  const keys = [...keypad.querySelectorAll("[data-key]")];
  find("with-script").hidden = false;
  phone.hidden = false;

  let socket = null;
  let playing = null;
  let timer = null;
  let counting = null;

  function send(message) {
    if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
  }
  function line(kind, who, text) {
    const row = document.createElement("p");
    row.className = `vg-said vg-${kind}`;
    if (who) {
      const name = document.createElement("strong");
      name.textContent = `${who}: `;
      row.append(name);
    }
    row.append(text);
    transcript.append(row);
    transcript.scrollTop = transcript.scrollHeight;
    return row;
  }
  function count(waiting, name) {
    clearInterval(counting);
    step.textContent = `Passo: ${name}.`;
    if (!waiting) return;
    // Only seen: a screen reader is not told every second.
    const until = Date.now() + waiting;
    const rest = document.createElement("span");
    rest.setAttribute("aria-hidden", "true");
    step.append(" ", rest);
    const show = () => { rest.textContent = `La linea aspetta ancora ${Math.max(0, Math.ceil((until - Date.now()) / 1000))} s.`; };
    show();
    counting = setInterval(show, 250);
  }
  function stop() {
    clearTimeout(timer);
    playing = null;
    voice.pause();
  }
  function played(id) {
    if (playing !== id) return;
    stop();
    send({ type: "played", id });
  }
  function play(message) {
    stop();
    const id = message.id;
    playing = id;
    if (!sound.checked) {
      timer = setTimeout(() => played(id), message.ms);
      return;
    }
    voice.src = message.sound;
    voice.onended = () => played(id);
    // Where it cannot be played, the line goes on after as long as it would have lasted.
    timer = setTimeout(() => played(id), message.ms + 4000);
    voice.play().catch(() => {
      if (playing !== id) return;
      clearTimeout(timer);
      timer = setTimeout(() => played(id), message.ms);
    });
  }
  function over(text) {
    if (!socket) return;
    socket.onclose = null;
    socket.close();
    socket = null;
    stop();
    clearInterval(counting);
    line("note", "", text);
    step.textContent = "Non in chiamata.";
    for (const key of keys) key.disabled = true;
    skip.disabled = true;
    hangUp.hidden = true;
    call.hidden = false;
    call.focus();
  }
  function wrong(list) {
    over("La chiamata non è cominciata.");
    const all = document.createElement("ul");
    for (const [label, text] of list) {
      const one = document.createElement("li");
      one.textContent = `${label}: ${text}`;
      all.append(one);
    }
    const box = document.createElement("div");
    box.className = "alert alert-danger";
    box.append(all);
    errors.replaceChildren(box);
  }
  function heard(message) {
    switch (message.type) {
      case "began":
        transcript.replaceChildren();
        line("note", "", message.text);
        for (const key of keys) key.disabled = false;
        skip.disabled = false;
        keypad.focus();
        break;
      case "say":
        line("line", "Linea", message.text);
        play(message);
        break;
      case "stop":
        stop();
        break;
      case "key": {
        const last = transcript.lastElementChild;
        if (last && last.dataset.keys) last.append(` ${message.key}`);
        else line("caller", "Lei preme", message.key).dataset.keys = "yes";
        break;
      }
      case "note":
        line("note", "", message.text);
        break;
      case "step":
        count(message.wait_ms, message.name);
        break;
      case "wrong":
        wrong(message.errors);
        break;
      case "over":
        over(message.text);
        break;
    }
  }

  call.addEventListener("click", () => {
    if (socket) return;
    errors.replaceChildren();
    const address = new URL(trial.dataset.trial, location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    socket = new WebSocket(address);
    call.hidden = true;
    hangUp.hidden = false;
    step.textContent = "Chiamata in corso…";
    socket.onopen = () => {
      const value = (name) => trial.elements[name].value;
      send({ type: "start", giorno: value("giorno"), ora: value("ora"), numero: value("numero"), chiamante: value("chiamante") });
    };
    socket.onmessage = (event) => heard(JSON.parse(event.data));
    socket.onclose = () => over("Il collegamento non c'è, o si è interrotto. Se ha già due prove aperte ne chiuda una; se la sessione è finita ricarichi la pagina.");
  });
  hangUp.addEventListener("click", () => {
    send({ type: "hang_up" });
    over("Ha riagganciato.");
  });
  skip.addEventListener("click", () => send({ type: "skip" }));
  for (const key of keys) key.addEventListener("click", () => send({ type: "key", key: key.dataset.key }));
  // Only while the telephone has the focus: elsewhere keys mean what they always do.
  phone.addEventListener("keydown", (event) => {
    if (!socket || event.ctrlKey || event.altKey || event.metaKey || !/^[0-9*#]$/.test(event.key)) return;
    event.preventDefault();
    send({ type: "key", key: event.key });
  });
  sound.addEventListener("change", () => {
    voice.muted = !sound.checked;
  });
}
