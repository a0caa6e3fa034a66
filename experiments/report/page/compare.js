"use strict";
// Sample by sample: a reference and a run, two pictures or two videos, under one slider.
{
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (id) => document.getElementById(id);
  const [runs, metrics, words, tiles, status] = ["run", "metric", "words", "tiles", "status"].map(find);
  const stage = document.querySelector(".stage");
  const [divide, time, play] = ["divide", "time", "play"].map(find);
  const AT_ONCE = 100; // tiles
  let group, order, current, waiting;

  const element = (name, properties = {}) => Object.assign(document.createElement(name), properties);
  const run = () => group.runs[runs.value];
  const metric = () => data.metrics.find((other) => other.name === metrics.value.replace("from:", ""));
  const written = (value, digits) => (value === "inf" ? "identical" : value == null ? "–" : value.toFixed(digits));
  const file = (name, sample) => `media/${encodeURIComponent(name)}/${sample}.${group.video ? "mp4" : "png"}`;
  const thumbnail = (name, sample) =>
    group.thumbnails ? `thumbnails/${encodeURIComponent(name)}/${sample}.jpg` : file(name, sample);

  function chooseGroup(index) {
    group = data.groups[index];
    runs.replaceChildren(...group.runs.map((other, number) => new Option(other.label, number)));
    const known = data.metrics.filter((other) => group.runs.some((some) => other.name in some.scores));
    const both = known.filter((other) => other.name in group.reference.scores);
    metrics.replaceChildren(
      ...known.map((other) => new Option(other.label, other.name)),
      ...both.map((other) => new Option(`${other.label} against the reference's`, `from:${other.name}`)),
    );
    const [width, height] = group.size;
    const factor = Math.max(1, Math.round(576 / Math.max(width, height)));
    find("compare").classList.toggle("small", factor > 1);
    find("compare").style.setProperty("--ratio", `${width} / ${height}`);
    find("compare").style.setProperty("--width", `min(${width * factor}px, ${(75 * width) / height}vh)`);
    document.querySelector(".player").hidden = !group.video;
    list();
  }

  // The scores to sort by: of the samples, or how far they lie from the reference's own.
  function scoresOfChoice() {
    const own = run().scores[metric()?.name] ?? [];
    if (!metrics.value.startsWith("from:")) return own;
    const others = group.reference.scores[metric().name];
    return own.map((score, k) => score - others[run().has[k]]);
  }

  // Worst first: a missing score counts as worst, an infinite one belongs to identical pictures.
  function list() {
    if (!group.runs.length) return void (status.textContent = "There is only the reference: nothing to compare it with.");
    const scores = scoresOfChoice();
    const badness = (k) => (scores[k] === "inf" ? -Infinity : scores[k] == null ? Infinity : -metric().better * scores[k]);
    const wanted = words.value.trim().toLowerCase();
    order = run().has
      .map((sample, k) => ({ k, sample: group.samples[sample], score: scores[k] }))
      .filter(({ sample }) => `${sample[1]} ${sample[3]}`.toLowerCase().includes(wanted));
    if (scores.length) order.sort((a, b) => badness(b.k) - badness(a.k) || a.k - b.k);
    tiles.replaceChildren();
    current = 0;
    fill(0);
    status.textContent = `${order.length} of ${run().has.length} samples of ${run().label}` +
      (scores.length ? `, worst ${metrics.selectedOptions[0].text} first.` : ". It has no score of a single sample.");
    find("viewer").hidden = !order.length;
    if (order.length) show(0);
  }

  // Tiles from here on, some at a time, so that thousands do not keep the page waiting.
  function fill(start) {
    clearTimeout(waiting);
    tiles.append(...order.slice(start, start + AT_ONCE).map((one, index) => tile(one, start + index)));
    if (start + AT_ONCE < order.length) waiting = setTimeout(fill, 0, start + AT_ONCE);
  }

  function tile({ sample, score }, place) {
    const button = element("button", { type: "button", className: "tile" });
    const picture = element("img", { loading: "lazy", decoding: "async", alt: "", src: thumbnail(run().run, sample[0]) });
    const told = metric() ? `${metric().label} ${written(score, metric().digits)}` : "";
    button.append(picture, element("span", { textContent: told }), element("span", { className: "said", textContent: sample[1] }));
    button.addEventListener("click", () => {
      show(place);
      find("prompt").focus({ preventScroll: true });
      find("viewer").scrollIntoView({ block: "nearest" });
    });
    if (place === current) button.setAttribute("aria-current", "true");
    const item = element("li");
    item.append(button);
    return item;
  }

  function show(place) {
    pause();
    current = place;
    const { k, sample } = order[place];
    const [name, prompt, seed, category] = sample;
    const sides = [[group.reference.label, group.reference.run], [run().label, run().run]];
    for (const [index, figure] of [...stage.children].entries()) {
      const [label, folder] = sides[index];
      figure.querySelector(".medium").replaceChildren(medium(file(folder, name), `${label}: ${prompt}`, thumbnail(folder, name)));
      figure.querySelector("figcaption").textContent = label;
    }
    find("prompt").textContent = prompt;
    find("place").textContent = `Number ${place + 1} of ${order.length}, seed ${seed}${category && `, ${category}`}`;
    find("scores").replaceChildren(...data.metrics.filter((other) => other.name in run().scores).flatMap((other) => [
      element("dt", { textContent: other.label }),
      element("dd", { textContent: written(run().scores[other.name][k], other.digits) + ofReference(other, k) }),
    ]));
    find("previous").disabled = place === 0;
    find("next").disabled = place === order.length - 1;
    tiles.querySelector('[aria-current="true"]')?.removeAttribute("aria-current");
    tiles.children[place]?.firstChild.setAttribute("aria-current", "true"); // or when it is made
    time.value = 0;
  }

  function ofReference({ name, digits }, k) {
    const score = group.reference.scores[name]?.[run().has[k]];
    return score === undefined ? "" : ` (reference: ${written(score, digits)})`;
  }

  function medium(source, description, poster) {
    if (!group.video) return element("img", { src: source, alt: description, loading: "lazy", draggable: false });
    const video = element("video", { src: source, poster, muted: true, loop: true, playsInline: true, preload: "auto" });
    video.setAttribute("aria-label", description);
    return video;
  }

  // Two videos as one: the second follows the first.
  const videos = () => [...stage.querySelectorAll("video")];

  function tell() {
    const [first] = videos();
    time.value = first.currentTime / (first.duration || 1);
    time.setAttribute("aria-valuetext", `${first.currentTime.toFixed(2)} of ${(first.duration || 0).toFixed(2)} seconds`);
  }

  function keepStep() {
    const [first, second] = videos();
    if (play.textContent === "Play") return;
    const drift = Math.abs(first.currentTime - second.currentTime);
    if (drift > 0.1 && !first.seeking && !second.seeking) second.currentTime = first.currentTime; // seeking takes a while
    tell();
    requestAnimationFrame(keepStep);
  }

  function pause() {
    play.textContent = "Play";
    for (const video of videos()) video.pause();
  }

  async function toggle() {
    const [first, second] = videos();
    if (play.textContent === "Pause") {
      pause();
      second.currentTime = first.currentTime;
      return tell();
    }
    play.textContent = "Pause";
    second.currentTime = first.currentTime;
    await Promise.all([first.play(), second.play()]);
    keepStep();
  }

  play.addEventListener("click", toggle);
  time.addEventListener("input", () => {
    for (const video of videos()) video.currentTime = time.value * (video.duration || 0);
    tell();
  });

  const cut = () => stage.style.setProperty("--cut", divide.value);
  divide.addEventListener("input", cut);
  function drag(event) {
    if (!event.buttons || stage.dataset.view !== "slide") return;
    const box = stage.getBoundingClientRect();
    divide.value = (100 * (event.clientX - box.left)) / box.width;
    cut();
  }
  for (const kind of ["pointerdown", "pointermove"]) stage.addEventListener(kind, drag);
  for (const radio of document.getElementsByName("view"))
    radio.addEventListener("change", () => {
      stage.dataset.view = radio.value;
      document.querySelector(".slider").hidden = radio.value !== "slide";
    });

  runs.addEventListener("change", list);
  metrics.addEventListener("change", list);
  words.addEventListener("input", list);
  find("group")?.addEventListener("change", (event) => chooseGroup(event.target.value));
  find("previous").addEventListener("click", () => show(current - 1));
  find("next").addEventListener("click", () => show(current + 1));
  find("table").addEventListener("click", (event) => {
    const point = data.points[event.target.dataset?.run];
    if (!point) return;
    if (find("group")) find("group").value = point.group;
    chooseGroup(point.group);
    runs.value = group.runs.findIndex((other) => other.run === point.run);
    list();
  });
  cut();
  chooseGroup(0);
}
