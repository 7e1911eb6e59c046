// Turns each list of links to sounds into one player: a link plays its version from where the last one was.
"use strict";

document.querySelectorAll("article ul").forEach((list) => {
  const links = [...list.querySelectorAll('a[href$=".opus"]')];
  if (links.length < 2) return;
  const place = document.createElement("div");
  place.className = "listen";
  list.replaceWith(place);
  const audio = document.createElement("audio");
  audio.controls = true;
  audio.preload = "none";
  place.append(audio, list);

  const play = (link, sounding) => {
    const at = audio.currentTime || 0;
    links.forEach((each) => each.setAttribute("aria-pressed", String(each === link)));
    audio.src = link.href;
    audio.addEventListener("loadedmetadata", () => { audio.currentTime = at < audio.duration - 0.1 ? at : 0; }, { once: true });
    if (sounding) audio.play();
    else audio.load();
  };
  links.forEach((link) => {
    link.setAttribute("role", "button");
    link.dataset.name = link.textContent;
    link.addEventListener("click", (event) => { event.preventDefault(); play(link, true); });
  });
  play(links[0], false);

  const blind = document.createElement("button");
  blind.className = "md-button";
  blind.textContent = "Blind";
  blind.addEventListener("click", () => {
    const hide = blind.textContent === "Blind";
    blind.textContent = hide ? "Reveal" : "Blind";
    audio.controls = true;
    if (hide) {
      const items = [...list.children];
      for (let i = items.length - 1; i > 0; i--) {
        const j = Math.floor(Math.random() * (i + 1));
        [items[i], items[j]] = [items[j], items[i]];
      }
      list.append(...items);
      links.forEach((link) => link.setAttribute("aria-pressed", "false"));
      audio.pause();
    }
    [...list.querySelectorAll("a")].forEach((link, index) => {
      link.textContent = hide ? String.fromCharCode(65 + index) : link.dataset.name;
    });
  });
  place.append(blind);
});
