// Keeps a page fresh, and writes its numbers and times in the way of the browser's language. The page is
// complete without it.
"use strict";
(() => {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const times = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

  // By the number of fraction digits. One costs a slow phone more than a hundred numbers.
  const numbers = new Map();
  function numbersWith(fraction) {
    const form = { minimumFractionDigits: fraction, maximumFractionDigits: fraction };
    if (!numbers.has(fraction)) numbers.set(fraction, new Intl.NumberFormat(undefined, form));
    return numbers.get(fraction);
  }

  // Numbers keep the digits that the server shows.
  function localNumber(text) {
    const [, digits, unit] = /^([\d,.]+)(.*)$/.exec(text) ?? [];
    if (digits === undefined) return text;
    const fraction = (digits.split(".")[1] ?? "").length;
    return numbersWith(fraction).format(Number(digits.replaceAll(",", ""))) + unit;
  }

  function localise(root) {
    for (const data of root.querySelectorAll("data")) data.textContent = localNumber(data.textContent);
    for (const time of root.querySelectorAll("time")) time.textContent = times.format(new Date(time.dateTime));
    for (const place of root.querySelectorAll("#time-zone")) place.textContent = `Other times are those of ${zone}.`;
    for (const text of root.querySelectorAll("pre")) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.textContent = "Copy";
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(text.textContent);
        button.textContent = "Copied";
      });
      if (navigator.clipboard) text.after(button);
    }
  }

  const parts = (root) => [...root.querySelectorAll(".tile, .card")];
  // The parts as the server sent them.
  const sent = new Map(parts(document).map((part) => [part.id, part.innerHTML]));
  localise(document);

  async function refresh() {
    if (document.hidden) return;
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-cache" });
    if (answer.redirected || answer.status === 401) return location.reload();
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = parts(page);
    if (fresh.length !== sent.size || fresh.some((part) => !sent.has(part.id))) return location.reload();
    for (const part of fresh) {
      if (sent.get(part.id) === part.innerHTML) continue;
      sent.set(part.id, part.innerHTML);
      const old = document.getElementById(part.id);
      // Whoever reads a table keeps it open, and the place in it.
      if (old.contains(document.activeElement)) continue;
      const open = [...old.querySelectorAll("details")].map((details) => details.open);
      part.querySelectorAll("details").forEach((details, place) => { details.open = open[place] ?? false; });
      localise(part);
      old.replaceWith(document.adoptNode(part));
    }
  }

  if (parts(document).length > 0 && !document.querySelector("[data-still]")) {
    const period = document.querySelector("[data-waiting]") ? 2000 : 30000;
    setInterval(() => refresh().catch(() => {}), period);
  }
})();
