// The value under the mouse: reads what values.py packed beside each map, and shows it in a small box.
(() => {
  const EMPTY = 65535;
  const decoded = new WeakMap();

  const canvas = document.createElement("canvas");
  if (!canvas.getContext("webgl2") && !canvas.getContext("webgl")) {
    document.documentElement.classList.add("smtl-no-webgl");
  }

  const tip = document.createElement("div");
  tip.id = "smtl-tip";
  tip.hidden = true;

  function unpack(element) {
    if (!decoded.has(element)) {
      const content = JSON.parse(element.dataset.values);
      const bytes = Uint8Array.from(atob(content.data), (letter) => letter.charCodeAt(0));
      content.codes = new Uint16Array(bytes.buffer);
      decoded.set(element, content);
    }
    return decoded.get(element);
  }

  function format(value) {
    const size = Math.abs(value);
    if (size === 0) return "0";
    if (size < 1e-3 || size >= 1e5) return value.toExponential(0);
    return value.toFixed(Math.max(0, 2 - Math.floor(Math.log10(size))));
  }

  // Where the picture itself is inside its element, which may be larger.
  function frame(image) {
    const box = image.getBoundingClientRect();
    const fit = getComputedStyle(image).objectFit;
    if (fit === "fill" || !image.naturalWidth) return box;
    let scale = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
    if (fit === "scale-down") scale = Math.min(scale, 1);
    const width = image.naturalWidth * scale;
    const height = image.naturalHeight * scale;
    const left = box.left + (box.width - width) / 2;
    const top = box.top + (box.height - height) / 2;
    return { left, top, width, height };
  }

  function text(content, across, down) {
    const [w, h] = content.size;
    const place = Math.min(h - 1, Math.floor(down * h)) * w + Math.min(w - 1, Math.floor(across * w));
    const unit = content.unit ? " " + content.unit : "";
    const parts = content.names.map((name, channel) => {
      const code = content.codes[channel * w * h + place];
      if (code === EMPTY) return null;
      const value = content.offsets[channel] + code * content.steps[channel];
      if (content.classes.length) return content.classes[Math.round(value)] ?? "class " + Math.round(value);
      return (name ? name + " " : "") + format(value);
    });
    return parts.includes(null) ? "no value" : parts.join(", ") + unit;
  }

  function hide() {
    tip.hidden = true;
  }

  function show(event) {
    const host = event.target.closest?.('[id^="smtl-map-"]');
    const image = host?.querySelector("img");
    const name = host?.id.slice("smtl-map-".length);
    const element = name && document.querySelector(`#smtl-legend-${name} .smtl-data`);
    if (!image || !element) return hide();
    const box = frame(image);
    const across = (event.clientX - box.left) / box.width;
    const down = (event.clientY - box.top) / box.height;
    if (!(across >= 0 && across < 1 && down >= 0 && down < 1)) return hide();
    const content = unpack(element);
    const [width, height] = content.full;
    const title = document.createElement("b");
    title.textContent = content.task + " ";
    const where = document.createElement("small");
    where.textContent = `x ${Math.floor(across * width)}, y ${Math.floor(down * height)}`;
    tip.replaceChildren(title, text(content, across, down), document.createElement("br"), where);
    if (!tip.isConnected) document.body.append(tip);
    tip.hidden = false;
    const margin = 14;
    const left = event.clientX + margin + tip.offsetWidth > innerWidth
      ? event.clientX - margin - tip.offsetWidth : event.clientX + margin;
    const top = event.clientY + margin + tip.offsetHeight > innerHeight
      ? event.clientY - margin - tip.offsetHeight : event.clientY + margin;
    tip.style.transform = `translate(${Math.max(0, left)}px, ${Math.max(0, top)}px)`;
  }

  document.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse") show(event);
  });
  document.addEventListener("pointerleave", hide);
  document.addEventListener("scroll", hide, true);
})();
