// Whether the stream stands, in the tower: a lamp, a word, and what happens next.

const reasons = {
  network: "The hub cannot be reached.",
  ended: "The stream was cut.",
  silent: "The hub fell silent.",
  "not-a-stream": "Something else answers at this address.",
  malformed: "The stream could not be read.",
  draining: "The hub is restarting.",
  reauth: "Time to prove who you are again.",
  "token-expired": "Your sign-in has run out.",
  revoked: "Your sign-in was withdrawn.",
  busy: "The hub has too many streams.",
};

const $ = (id) => document.getElementById(id);

let retryAt = 0;
let waitingFor = "";
let countdown;

/** Shows a change of the client's state; when it is open, `state-detail` is for whoever knows the user. */
export function showConnection({ state, retryInMs, reason, error }) {
  $("connection").dataset.state = state;
  clearInterval(countdown);
  if (state === "open") {
    $("state-text").textContent = "Connected";
    waitingFor = "";
  } else if (state === "connecting") {
    $("state-text").textContent = "Connecting";
    $("state-detail").textContent = waitingFor || "Asking the hub for a stream.";
  } else if (state === "waiting") {
    $("state-text").textContent = "Reconnecting";
    waitingFor = reasons[reason] ?? error?.message ?? "The stream ended.";
    retryAt = performance.now() + retryInMs;
    showCountdown();
    countdown = setInterval(showCountdown, 1_000);
  } else {
    const signedOut = reason === "unauthorized";
    $("state-text").textContent = signedOut ? "Not signed in" : "Closed";
    $("state-detail").textContent = signedOut ? "The hub does not know you." : "";
  }
}

function showCountdown() {
  const seconds = Math.max(1, Math.ceil((retryAt - performance.now()) / 1_000));
  $("state-detail").textContent = `${waitingFor} Next try in ${seconds} s.`;
}
