"use strict";
// Draws the charts of a load with uPlot when the load is opened, from the JSON next to it.

const SYMBOLS = { met: "✓", missed: "✕", unclear: "?", invalid: "!" };
const STYLES = {
  first: { colour: "line", width: 2.5 },
  second: { colour: "line-soft", width: 1.75, dash: [6, 4], border: "dashed" },
  third: { colour: "ink", width: 1.5 },
  fourth: { colour: "other", width: 1.25, dash: [2, 3], border: "dotted" },
  best: { colour: "line", width: 1.5, dash: [2, 3], border: "dotted" },
  baseline: { colour: "other", width: 1.75, dash: [8, 3, 2, 3], border: "dashed" },
  bars: { colour: "missed", width: 0 },
  crosses: { colour: "missed", width: 1.5 },
  // Points without a line.
  met: { colour: "met", width: 0, point: 9 },
  missed: { colour: "missed", width: 0, point: 9 },
  unclear: { colour: "unclear", width: 0, point: 9 },
  invalid: { colour: "invalid", width: 0, point: 9 },
};
const USUAL = Object.keys(STYLES).slice(0, 4);
// Lines with more points than this have no markers.
const MAX_MARKERS = 40;
// In pixels: of the plots; of the axes; of a line of text; and of a page of paper.
const TALL = 230, LOW = 84, LEFT = 58, BOTTOM = 42, LINE_HEIGHT = 15, PAPER = 680;
const FONT = "12px system-ui, sans-serif";

const dark = matchMedia("(prefers-color-scheme: dark)");
const plots = new Map();
// Not at once: a change of size while sizes are observed is an error.
const resized = new ResizeObserver((entries) => requestAnimationFrame(() => entries.forEach(({ target }) => fit(target))));

addEventListener("error", (event) => report(event.message));
document.addEventListener("securitypolicyviolation", (event) => report(`${event.violatedDirective} ${event.blockedURI}`));
addEventListener("DOMContentLoaded", () => {
  for (const run of document.querySelectorAll("details.run")) {
    run.addEventListener("toggle", () => run.open && draw(run));
    if (run.open) draw(run);
  }
  follow();
});
addEventListener("hashchange", follow);
addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#run-']");
  if (link?.hash === location.hash) follow();
});
dark.addEventListener("change", redraw);
// Paper is light, and narrower than most screens.
addEventListener("beforeprint", () => {
  document.documentElement.classList.add("paper");
  for (const run of document.querySelectorAll("details.run")) run.open = true;
  redraw();
  document.querySelectorAll("details.run").forEach(draw);
});
addEventListener("afterprint", () => {
  document.documentElement.classList.remove("paper");
  redraw();
});

function report(problem) {
  const trouble = document.getElementById("trouble");
  trouble.textContent = `Some charts could not be drawn: ${problem}`;
  trouble.hidden = false;
}

function follow() {
  const run = document.getElementById(location.hash.slice(1));
  if (run?.matches("details.run")) {
    run.open = true;
    run.querySelector("summary").focus();
  }
}

/** Draw the charts of a load that are not drawn yet. */
function draw(run) {
  const boxes = [...run.querySelectorAll(".chart")].filter((box) => !plots.has(box));
  if (!boxes.length) return;
  const data = JSON.parse(run.querySelector("script.data").textContent);
  const colours = getComputedStyle(document.documentElement);
  const look = (name) => colours.getPropertyValue(`--${name}`).trim();
  for (const box of boxes) {
    const name = box.dataset.chart;
    plots.set(box, name === "percentiles" ? [percentiles(box, data[name], look)] : panels(box, data[name], look));
    resized.observe(box);
  }
}

function redraw() {
  for (const [box, drawn] of [...plots]) {
    drawn.forEach((plot) => plot.destroy());
    plots.delete(box);
    draw(box.closest("details"));
  }
}

function widthOf(box) {
  return document.documentElement.classList.contains("paper") ? PAPER : box.clientWidth;
}

function fit(box) {
  const width = widthOf(box);
  for (const plot of plots.get(box) ?? []) {
    if (width && width !== plot.width) plot.setSize({ width, height: plot.height });
  }
}

// Latency by percentile, on an axis of nines.

function percentiles(box, data, look) {
  const right = Math.max(data.requests, 2);
  const at = [1, 2];
  for (let nines = 10; nines <= right; nines *= 10) at.push(nines);
  const x = {
    at: data.x,
    title: `share of ${data.noun}s at or below this latency`,
    ends: [1, right * 1.02],
    ticks: at,
    log: true,
    write: percentOf,
  };
  const { limits } = data.panel;
  const share = +((100 * data.unanswered) / data.requests).toPrecision(3);
  const under = (pen) => {
    if (data.unanswered) hatch(pen, pen.x(data.requests / data.unanswered));
    for (const limit of limits) confidence(pen, limit);
  };
  const over = (pen) => {
    for (const limit of limits) dashed(pen, limit, limit.at === null ? pen.width : pen.x(Math.min(limit.at, right)));
    names(pen, limits);
    // At the right edge: on a phone there may be no room to the right of where the curve ends.
    if (data.unanswered) write(pen, `${share}% ${data.lost}`, look("missed"), pen.width - 4, pen.height - 5, "right");
  };
  return plot(box, x, { ...data.panel, height: TALL + 20, isLast: true, gaps: false }, look, { under, over });
}

/** Mark where there are only requests without a response. */
function hatch({ ctx, look, width, height }, left) {
  ctx.fillStyle = look("band");
  ctx.fillRect(left, 0, width - left, height);
  ctx.beginPath();
  for (let start = left - height; start < width; start += 10) {
    ctx.moveTo(Math.max(start, left), height - Math.max(0, left - start));
    ctx.lineTo(start + height, 0);
  }
  ctx.strokeStyle = look("rule");
  ctx.lineWidth = 1;
  ctx.stroke();
}

/** Draw the confidence interval of a percentile. */
function confidence(pen, limit) {
  if (limit.low === null || limit.low === limit.high) return;
  const { ctx, look } = pen;
  const x = Math.min(pen.x(limit.at), pen.width);
  const top = limit.high === null ? 0 : Math.max(0, pen.y(limit.high));
  const bottom = limit.low > 0 ? Math.min(pen.height, pen.y(limit.low)) : pen.height;
  ctx.fillStyle = ctx.strokeStyle = look(limit.outcome);
  ctx.lineWidth = 1;
  ctx.globalAlpha = 0.25;
  ctx.fillRect(x - 6, top, 12, bottom - top);
  ctx.globalAlpha = 0.8;
  ctx.strokeRect(x - 6, top, 12, bottom - top);
  ctx.globalAlpha = 1;
}

/** Draw the limit of an objective, up to its percentile. */
function dashed({ ctx, look, y }, limit, right) {
  const at = y(limit.limit);
  ctx.strokeStyle = look(limit.outcome);
  ctx.lineWidth = 1.5;
  ctx.beginPath();
  ctx.setLineDash([6, 4]);
  ctx.moveTo(0, at);
  ctx.lineTo(right, at);
  ctx.stroke();
  ctx.setLineDash([]);
  if (limit.at === null) return;
  ctx.beginPath();
  ctx.moveTo(right, at - 5);
  ctx.lineTo(right, at + 5);
  ctx.stroke();
}

/** Name the objectives at the left ends of their lines, without overlap. */
function names(pen, limits) {
  let free = LINE_HEIGHT;
  for (const limit of [...limits].sort((a, b) => b.limit - a.limit)) {
    const at = Math.max(free, pen.y(limit.limit) - 4);
    write(pen, `${SYMBOLS[limit.outcome] ?? ""} ${limit.said}`, pen.look(limit.outcome), 4, at);
    free = at + LINE_HEIGHT;
  }
}

function write({ ctx, look }, text, colour, x, y, align = "left") {
  ctx.font = FONT;
  ctx.textAlign = align;
  ctx.textBaseline = "alphabetic";
  ctx.lineJoin = "round";
  ctx.lineWidth = 3;
  ctx.strokeStyle = look("paper");
  ctx.strokeText(text, x, y);
  ctx.fillStyle = colour;
  ctx.fillText(text, x, y);
}

// Panels below each other, on one horizontal axis.

function panels(box, chart, look) {
  const right = Math.max(chart.x.at(-1), ...chart.panels.map((panel) => panel.dotted?.[0].at(-1) ?? 0));
  const isNamed = chart.names.length > 0;
  // Names have half a place at both ends.
  const ends = isNamed ? [0.5, right + 0.5] : [Math.min(0, chart.x[0]), right];
  const at = ticks(right, 8, isNamed ? 1 : 0).filter((each) => each >= ends[0]);
  const said = (place) => (isNamed ? chart.names[place - 1] : number(place));
  const x = { at: chart.x, title: chart.title, ends, ticks: at, write: number, said };
  const key = uPlot.sync(`${box.closest("details").id} ${box.dataset.chart}`);
  return chart.panels.map((panel, place) => {
    const over = (pen) => {
      for (const limit of panel.limits) dashed(pen, limit, pen.width);
      names(pen, panel.limits);
    };
    const under = (pen) => panel.dotted && dotted(pen, panel.dotted);
    const isLast = place === chart.panels.length - 1;
    const shape = { ...panel, height: place ? LOW : TALL, isLast, gaps: true };
    return plot(box, x, shape, look, { under, over }, key);
  });
}

function dotted({ ctx, look, x, y }, [at, values]) {
  ctx.strokeStyle = look("other");
  ctx.lineWidth = 1.25;
  ctx.setLineDash([2, 3]);
  ctx.beginPath();
  at.forEach((each, place) => ctx.lineTo(x(each), y(values[place])));
  ctx.stroke();
  ctx.setLineDash([]);
}

// One plot.

/** Plot the lines of a panel; `under` and `over` draw below and above them. */
function plot(box, x, panel, look, { under, over }, sync) {
  const y = vertical(panel);
  const rows = panel.series.map((each, place) => ({ ...each, style: STYLES[each.style] ?? STYLES[USUAL[place]], kind: each.style }));
  const axis = { stroke: look("soft"), font: FONT, grid: { stroke: look("rule"), width: 1 }, ticks: { show: false } };
  const made = new uPlot(
    {
      width: widthOf(box),
      height: panel.height + (panel.isLast ? BOTTOM : 0),
      padding: [8, 14, panel.isLast ? 0 : 4, 0],
      scales: { x: { time: false, distr: x.log ? 3 : 1, range: x.ends }, y: { distr: y.log ? 3 : 1, range: y.ends } },
      axes: [
        {
          ...axis,
          size: panel.isLast ? BOTTOM - 18 : 0,
          label: panel.isLast ? x.title : undefined,
          labelFont: FONT,
          labelSize: 18,
          splits: () => x.ticks,
          filter: (_, at) => at,
          values: (u, at) => (panel.isLast ? sparse(u, at, x.write) : at.map(() => "")),
        },
        {
          ...axis,
          size: LEFT,
          splits: () => y.ticks,
          filter: (_, at) => at,
          values: (_, at) => at.map((each) => written(each, panel.unit)),
        },
      ],
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 }, ...(sync && { sync: { key: sync.key } }) },
      legend: {
        markers: {
          width: 2,
          stroke: (_, place) => look(rows[place - 1].style.colour),
          dash: (_, place) => rows[place - 1].style.border ?? "solid",
        },
        mount: (u, table) => u.root.prepend(table),
      },
      series: [
        { label: "at", value: (_, value) => (value === null ? "" : (x.said ?? x.write)(value)) },
        ...rows.map((row) => line(row, panel, look)),
      ],
      hooks: { drawAxes: [inside(under, look)], draw: [inside(over, look)] },
    },
    // Crosses are at the top, whatever they count.
    [x.at, ...rows.map((row) => (row.kind === "crosses" ? row.values.map((value) => value && between(...y.ends, 0.95)) : row.values))],
    box,
  );
  if (rows.length > 1 && panel.title) title(made.root, panel.title);
  made.setLegend({ idx: null });
  readable(made, panel.title || x.title);
  return made;
}

function title(root, text) {
  const made = document.createElement("div");
  made.className = "title";
  made.textContent = text;
  root.prepend(made);
}

function line({ name, values, style, kind }, panel, look) {
  const colour = look(style.colour);
  const unit = kind === "crosses" ? "" : panel.unit;
  const isMarked = panel.gaps && !["bars", "crosses"].includes(kind) && values.length <= MAX_MARKERS;
  return {
    label: name,
    stroke: colour,
    width: style.width,
    dash: style.dash,
    spanGaps: !panel.gaps,
    points: { show: isMarked || style.point > 0, size: style.point ?? 5, fill: colour },
    value: (_u, _value, _series, at) => (at === null || values[at] === null ? "" : written(values[at], unit)),
    ...(kind === "bars" && { fill: colour, paths: uPlot.paths.bars({ size: [0.75, 40] }) }),
    ...(kind === "crosses" && { paths: crosses }),
  };
}

function crosses(u, series, from, to) {
  const path = new Path2D(), size = 3.5 * uPlot.pxRatio;
  for (let at = from; at <= to; at++) {
    if (!u.data[series][at]) continue;
    const x = u.valToPos(u.data[0][at], "x", true), y = u.valToPos(u.data[series][at], "y", true);
    path.moveTo(x - size, y - size);
    path.lineTo(x + size, y + size);
    path.moveTo(x - size, y + size);
    path.lineTo(x + size, y - size);
  }
  return { stroke: path };
}

/** Give what draws in pixels of the plot, and not beyond its edges. */
function inside(draw, look) {
  return (u) => {
    const { ctx, bbox } = u, ratio = uPlot.pxRatio;
    const width = bbox.width / ratio, height = bbox.height / ratio;
    ctx.save();
    ctx.translate(bbox.left, bbox.top);
    ctx.scale(ratio, ratio);
    ctx.beginPath();
    ctx.rect(0, 0, width, height);
    ctx.clip();
    draw({ ctx, look, width, height, x: (value) => u.valToPos(value, "x"), y: (value) => u.valToPos(value, "y") });
    ctx.restore();
  };
}

/** Let the arrow keys move the cursor, and screen readers read the values there. */
function readable(u, name) {
  u.root.tabIndex = 0;
  u.root.setAttribute("role", "group");
  u.root.setAttribute("aria-label", `${name}: the left and right arrow keys show values`);
  u.root.querySelector(".u-legend").setAttribute("aria-live", "polite");
  u.root.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const [x] = u.data, last = x.length - 1;
    const at = Math.max(0, Math.min(last, (u.cursor.idx ?? (step > 0 ? -1 : last + 1)) + step));
    u.setCursor({ left: u.valToPos(x[at], "x"), top: 1 }, true, true);
  });
}

// Axes.

/** Choose the ends and the marks of a vertical axis: logarithmic for latencies that are far apart, else from zero. */
function vertical({ series, limits, dotted, unit, height }) {
  const lines = series.filter((each) => each.style !== "crosses").flatMap((each) => each.values);
  const bounds = limits.flatMap((limit) => [limit.limit, limit.low, limit.high]);
  const values = [...lines, ...bounds, ...(dotted?.[1] ?? [])].filter((value) => value !== null);
  const low = values.reduce((a, b) => (b > 0 ? Math.min(a, b) : a), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), 0) || 1;
  const log = unit === "s" && high > 8 * low;
  const ends = log ? [low / 1.4, high * 1.6] : [0, high * 1.15];
  return { log, ends, ticks: log ? decades(...ends) : ticks(ends[1], height / 45, unit ? 0 : 1) };
}

function decades(low, high) {
  const digits = high / low > 1000 ? [1] : high / low > 100 ? [1, 3] : [1, 2, 5];
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const digit of digits) found.push(digit * 10 ** power);
  }
  return found.filter((tick) => tick >= low && tick <= high);
}

/** Give about so many round numbers from 0 on, at least `least` apart. */
function ticks(high, count, least = 0) {
  const rough = Math.max(high / count, least);
  const power = 10 ** Math.floor(Math.log10(rough));
  const round = [1, 2, 5, 10].map((digit) => digit * power).filter((each) => each <= Math.max(high, least));
  const step = round.find((each) => each >= rough) ?? round.at(-1) ?? power;
  return Array.from({ length: Math.floor(high / step) + 1 }, (_, place) => place * step);
}

/** Write the marks of the horizontal axis, but for those that would overlap. */
function sparse(u, at, write) {
  let free = -Infinity;
  return at.map((value) => {
    const place = u.valToPos(value, "x");
    if (place < free) return "";
    free = place + 44;
    return write(value);
  });
}

/** Return the value at a share of the way between the ends of an axis. */
function between(low, high, share) {
  return low > 0 ? low * (high / low) ** share : low + (high - low) * share;
}

function percentOf(x) {
  return `${+(100 - 100 / x).toFixed(x > 1 ? Math.ceil(Math.log10(x)) : 0)}%`;
}

function written(value, unit) {
  if (unit === "s") return duration(value);
  if (!unit.startsWith("B")) return `${number(value)}${unit}`;
  const [prefix, size] = [["G", 1e9], ["M", 1e6], ["k", 1e3]].find((each) => value >= each[1] * 0.9995) ?? ["", 1];
  return `${+(value / size).toPrecision(3)}${prefix}${unit}`;
}

function number(value) {
  return (+value.toPrecision(4)).toLocaleString("en");
}

function duration(seconds) {
  if (seconds >= 60) return `${+(seconds / 60).toPrecision(3)}min`;
  const [unit, size] = [["s", 1], ["ms", 1e-3]].find((each) => seconds >= each[1] * 0.9995) ?? ["us", 1e-6];
  return seconds ? `${+(seconds / size).toPrecision(3)}${unit}` : "0";
}
