"""The script and the style of a segmentation report. They are fixed texts: no data are put into them."""

from __future__ import annotations

__all__ = ["SCRIPT", "VIEWER_STYLE"]

SCRIPT = """
"use strict";
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const get = (name) => document.getElementById(name);
  const space = "http://www.w3.org/2000/svg";
  let at = data.start, window_number = 0;
  function draw() {
    const slice = data.slices[at];
    get("picture").setAttribute("href", slice.images[window_number]);
    const overlay = get("overlay"), shown = get("show").checked;
    overlay.setAttribute("href", slice.overlay || "");
    overlay.style.display = shown && slice.overlay ? "" : "none";
    const marks = get("marks");
    marks.replaceChildren();
    marks.style.display = shown ? "" : "none";
    for (const mark of slice.marks) {
      for (const [x1, y1, x2, y2] of mark.lines) {
        const line = document.createElementNS(space, "line");
        for (const [name, value] of Object.entries({ x1, y1, x2, y2 })) line.setAttribute(name, value);
        marks.append(line);
      }
    }
    get("caption").textContent = slice.caption;
    get("slider").value = at;
    get("slider").setAttribute("aria-valuetext", slice.caption);
    for (const button of document.querySelectorAll("button[data-slice]"))
      button.classList.toggle("here", Number(button.dataset.slice) === at);
  }
  function go(number) {
    at = Math.min(data.slices.length - 1, Math.max(0, number));
    draw();
  }
  get("slider").addEventListener("input", (event) => go(Number(event.target.value)));
  get("back").addEventListener("click", () => go(at - 1));
  get("next").addEventListener("click", () => go(at + 1));
  get("show").addEventListener("change", draw);
  for (const radio of document.querySelectorAll("input[name=window]"))
    radio.addEventListener("change", () => { window_number = Number(radio.value); draw(); });
  for (const button of document.querySelectorAll("button[data-slice]"))
    button.addEventListener("click", () => {
      go(Number(button.dataset.slice));
      get("viewer").scrollIntoView({ block: "start" });
    });
  get("viewer").hidden = false;
  draw();
})();
"""

VIEWER_STYLE = """
.view { background: #000; max-width: 36rem; margin: 0 auto; position: relative; }
.view svg, .still svg { display: block; width: 100%; height: auto; max-height: 80vh; }
.view line { stroke: #fff; stroke-width: 1.2; vector-effect: non-scaling-stroke; }
.view i { position: absolute; color: #fff; font-style: normal; font-weight: bold; text-shadow: 0 0 3px #000;
  pointer-events: none; }
.view .left { left: .4rem; top: 47%; } .view .right { right: .4rem; top: 47%; }
.view .top { top: .1rem; left: 48%; } .view .bottom { bottom: .1rem; left: 48%; }
.controls { display: flex; flex-wrap: wrap; gap: .4rem 1rem; align-items: center; max-width: 36rem;
  margin: .5rem auto; }
.controls input[type=range] { flex: 1 1 8rem; min-width: 6rem; }
.controls label { white-space: nowrap; } .caption { flex-basis: 100%; margin: 0; }
fieldset { border: 0; padding: 0; margin: 0; display: flex; flex-wrap: wrap; gap: .2rem .9rem; }
button { font: inherit; min-width: 2.5rem; min-height: 2rem; border: 1px solid #888; border-radius: .3rem;
  background: #f3f3f3; cursor: pointer; } button.here { background: #2a6f97; color: #fff; }
.stills { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .8rem; }
.still { margin: 0; } .still figcaption { font-size: .85rem; color: #555; } .still svg { background: #000; }
.key { display: inline-block; width: .8rem; height: .8rem; margin-right: .4rem; border: 1px solid #666; }
.key0 { background: #E69F00; } .key1 { background: #56B4E9; } .key2 { background: #F0E442; }
.key3 { background: #D55E00; } .key4 { background: #CC79A7; } .key5 { background: #009E73; }
.facts td, .facts th { white-space: normal; text-align: left; overflow-wrap: anywhere; vertical-align: top; }
.facts td:first-child { min-width: 7.5rem; overflow-wrap: normal; }
@media (max-width: 40rem) { .stills { grid-template-columns: 1fr 1fr; gap: .4rem; } }
@media print { #viewer, .noprint { display: none !important; } .stills { grid-template-columns: repeat(3, 1fr); }
  .still { break-inside: avoid; } button { border: 0; background: none; padding: 0; min-width: 0; min-height: 0; }
  button.here { color: inherit; background: none; } .still svg, .key { -webkit-print-color-adjust: exact;
  print-color-adjust: exact; } h2 { margin: 1rem 0 .4rem; } .note { font-size: 8.5pt; line-height: 1.3; }
  th, td { padding: .15rem .3rem; font-size: 8.5pt; } .scroll table { width: 100%; } }
"""
