"use strict";
// Draws the charts of a load when it is opened, from the JSON next to it.

const SYMBOLS = { met: "✓", missed: "✕", unclear: "?", invalid: "!" };
const CURVES = {
  main: { colour: "line", width: 2.5, dash: "solid" },
  best: { colour: "line", width: 1.5, dash: "dot" },
  service: { colour: "line-soft", width: 1.75, dash: "dash" },
  baseline: { colour: "other", width: 1.75, dash: "dashdot" },
};
const PERCENTILES = {
  p50: { colour: "line", width: 2.5, dash: "solid", symbol: "circle" },
  p90: { colour: "line-soft", width: 1.75, dash: "dash", symbol: "square" },
  p99: { colour: "ink", width: 1.5, dash: "solid", symbol: "diamond" },
  max: { colour: "other", width: 1.25, dash: "dot", symbol: "triangle-up" },
};
// Lines with more points than this have no markers.
const MAX_MARKERS = 40;
// The approximate height of a plot, and of a line of text in it, in pixels.
const PLOT_HEIGHT = 250;
const LINE_HEIGHT = 15;
const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false };

const dark = matchMedia("(prefers-color-scheme: dark)");
const drawn = new Set();

addEventListener("error", (event) => report(event.message));
document.addEventListener("securitypolicyviolation", (event) => report(`${event.violatedDirective} ${event.blockedURI}`));
addEventListener("DOMContentLoaded", () => {
  for (const run of document.querySelectorAll("details.run")) {
    run.addEventListener("toggle", () => run.open && !drawn.has(run) && draw(run));
    if (run.open) draw(run);
  }
  follow();
});
addEventListener("hashchange", follow);
addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#run-']");
  if (link?.hash === location.hash) follow();
});
addEventListener("beforeprint", () => document.querySelectorAll("details.run").forEach(open));
dark.addEventListener("change", () => drawn.forEach(draw));

function report(problem) {
  const trouble = document.getElementById("trouble");
  trouble.textContent = `Some charts could not be drawn: ${problem}`;
  trouble.hidden = false;
}

function follow() {
  const run = document.getElementById(location.hash.slice(1));
  if (run?.matches("details.run")) {
    open(run);
    run.querySelector("summary").focus();
  }
}

function open(run) {
  run.open = true;
  if (!drawn.has(run)) draw(run);
}

function draw(run) {
  drawn.add(run);
  const data = JSON.parse(run.querySelector("script.data").textContent);
  const colours = getComputedStyle(document.documentElement);
  const look = (name) => colours.getPropertyValue(`--${name}`).trim();
  const charts = { percentiles, timeline };
  for (const chart of run.querySelectorAll(".chart")) {
    const { traces, layout } = charts[chart.dataset.chart](data, look);
    Plotly.react(chart, traces, { ...common(look), ...layout }, CONFIG);
  }
}

function common(look) {
  return {
    font: { family: "system-ui, sans-serif", size: 12, color: look("soft") },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 56, r: 14, t: 10, b: 44 },
    dragmode: false,
    hoverlabel: { bgcolor: look("paper"), bordercolor: look("rule"), font: { color: look("ink") } },
    legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom", font: { color: look("ink") } },
  };
}

// Latency by percentile, on an axis of nines.

function percentiles(data, look) {
  const right = Math.max(data.requests, 2);
  const values = data.curves.flatMap((curve) => curve.y);
  for (const limit of data.limits) values.push(limit.limit, ...[limit.low, limit.high].filter((end) => end > 0));
  const y = latencyAxis(values, look);
  const traces = [
    ...(data.unanswered ? [unanswered(data, right, y.ends, look)] : []),
    ...data.limits.flatMap((limit) => objective(limit, right, y.ends, look)),
    ...data.curves.map((curve) => ({
      name: curve.name,
      x: curve.x,
      y: curve.y,
      mode: "lines",
      line: stroke(CURVES[curve.style], look),
      text: curve.x.map((x, at) => `${percentOf(x)} of ${data.noun}s took ${duration(curve.y[at])} or less<br>${curve.name}`),
      hovertemplate: "%{text}<extra></extra>",
    })),
  ];
  const at = [1, 2];
  for (let nines = 10; nines <= right; nines *= 10) at.push(nines);
  const x = {
    ...axis(look),
    type: "log",
    range: [0, Math.log10(right) * 1.01],
    tickvals: at,
    ticktext: at.map(percentOf),
    title: { text: `share of ${data.noun}s at or below this latency`, standoff: 8 },
  };
  const annotations = names(data.limits, y, look);
  if (data.unanswered) {
    const share = +((100 * data.unanswered) / data.requests).toPrecision(3);
    // At the right edge: on a phone there may be no room to the right of where the curve ends.
    const end = { x: Math.log10(right) * 1.01, xanchor: "right", y: y.place(y.ends[0]) };
    annotations.push({ ...label(`${share}% ${data.lost}`, look("missed")), ...end });
  }
  const layout = { xaxis: x, yaxis: y.axis, annotations, hovermode: "closest", showlegend: data.curves.length > 1 };
  return { traces, layout };
}

function unanswered(data, right, ends, look) {
  return {
    ...box(data.requests / data.unanswered, right, ...ends),
    fillcolor: look("band"),
    fillpattern: { shape: "/", size: 14, solidity: 0.07, fgcolor: look("other"), bgcolor: look("band") },
    line: { width: 0 },
    hoverinfo: "skip",
    showlegend: false,
  };
}

function objective(limit, right, ends, look) {
  const colour = look(limit.outcome);
  const end = limit.at === null ? right : Math.min(limit.at, right);
  const traces = [];
  if (limit.low !== null && limit.low !== limit.high) {
    traces.push({
      ...box(end / 1.12, end * 1.12, Math.max(limit.low, ends[0]), Math.min(limit.high ?? Infinity, ends[1])),
      opacity: 0.35,
      fillcolor: colour,
      line: { color: colour, width: 1 },
      text: plain(limit.sure),
      hoveron: "fills",
      hoverinfo: "text",
      showlegend: false,
    });
  }
  traces.push({
    x: [1, end],
    y: [limit.limit, limit.limit],
    mode: "lines+markers",
    line: { color: colour, width: 1.5, dash: "6px,4px" },
    marker: { color: colour, size: [0, limit.at === null ? 0 : 9], symbol: "line-ns", line: { color: colour, width: 2 } },
    text: `${named(limit)} ${limit.outcome}<br>${plain(limit.sure)}`,
    hovertemplate: "%{text}<extra></extra>",
    showlegend: false,
  });
  return traces;
}

/** Label the objectives at the left ends of their lines, without overlap. */
function names(limits, y, look) {
  const [bottom, top] = y.axis.range;
  let free = Infinity;
  return [...limits].sort((a, b) => b.limit - a.limit).map((limit) => {
    const at = y.place(limit.limit);
    const line = (PLOT_HEIGHT * (at - bottom)) / (top - bottom);
    free = Math.min(line, free - LINE_HEIGHT);
    return { ...label(named(limit), look(limit.outcome)), x: 0, y: at, yshift: free - line };
  });
}

function named(limit) {
  return plain(`${SYMBOLS[limit.outcome] ?? ""} ${limit.said}`);
}

function box(left, right, low, high) {
  return { x: [left, right, right, left, left], y: [low, low, high, high, low], mode: "lines", fill: "toself" };
}

function label(text, colour) {
  return { text, font: { color: colour }, xanchor: "left", yanchor: "bottom", showarrow: false };
}

// Latency, rate and errors on one axis of time.

function timeline(data, look) {
  const { at, latency, rate, errors, requested, unanswered } = data.timeline;
  const few = at.length <= MAX_MARKERS;
  const values = Object.values(latency).flat().filter((value) => value !== null);
  const y = latencyAxis(values.length ? values : [1], look);
  const failing = errors.some((count) => count > 0);
  const traces = Object.entries(PERCENTILES).map(([name, style]) => ({
    name,
    x: at,
    y: latency[name],
    mode: few ? "lines+markers" : "lines",
    line: stroke(style, look),
    marker: { symbol: style.symbol, size: 5, color: look(style.colour) },
    text: latency[name].map((value) => (value === null ? "" : duration(value))),
    hovertemplate: `${name} %{text}<extra></extra>`,
  }));
  const lost = at.flatMap((moment, number) => (unanswered[number] ? [[moment, unanswered[number]]] : []));
  if (lost.length) {
    traces.push({
      name: data.lost,
      x: lost.map(([moment]) => moment),
      y: lost.map(() => between(...y.ends, 0.96)),
      mode: "markers",
      marker: { symbol: "x", size: 7, color: look("missed") },
      text: lost.map(([, count]) => `${data.lost}: ${count}`),
      hovertemplate: "%{text}<extra></extra>",
    });
  }
  const curve = { yaxis: "y2", showlegend: false };
  if (requested[0].length) {
    traces.push({
      ...curve,
      x: requested[0],
      y: requested[1],
      mode: "lines",
      line: { color: look("other"), width: 1.25, dash: "dot" },
      hoverinfo: "skip",
    });
  }
  traces.push({
    ...curve,
    x: at,
    y: rate,
    mode: few ? "lines+markers" : "lines",
    line: { color: look("line"), width: 2 },
    marker: { size: 5 },
    hovertemplate: "%{y:,.4~g} responses/s<extra></extra>",
  });
  const annotations = [];
  const span = [Math.min(0, ...at), Math.max(...at, ...requested[0])];
  for (const limit of data.rates) {
    const colour = look(limit.outcome);
    const line = { color: colour, width: 1.5, dash: "6px,4px" };
    traces.push({ ...curve, x: span, y: [limit.limit, limit.limit], mode: "lines", line, hoverinfo: "skip" });
    annotations.push({ ...label(named(limit), colour), x: span[0], y: limit.limit, yref: "y2", yanchor: "top" });
  }
  if (failing) {
    traces.push({
      x: at,
      y: errors,
      yaxis: "y3",
      type: "bar",
      marker: { color: look("missed"), pattern: { shape: "/", size: 5, solidity: 0.6 } },
      showlegend: false,
      hovertemplate: "%{y:,.3~g} errors/s<extra></extra>",
    });
  }
  const places = failing ? [[0.52, 1], [0.23, 0.42], [0, 0.13]] : [[0.44, 1], [0, 0.33]];
  const titles = [requested[0].length ? "responses per second (dotted: requested rate)" : "responses per second", "errors per second"];
  const bare = { ...axis(look), rangemode: "tozero", nticks: 4 };
  const layout = {
    xaxis: { ...axis(look), anchor: failing ? "y3" : "y2", title: { text: "seconds from the start", standoff: 8 }, hoverformat: ".4~g", ticks: "outside", ticklen: 4 },
    yaxis: { ...y.axis, domain: places[0] },
    yaxis2: { ...bare, domain: places[1] },
    hovermode: "x unified",
    hoversubplots: "axis",
    annotations: [
      ...annotations,
      ...places.slice(1).map(([, top], number) => ({
        ...label(titles[number], look("ink")),
        x: 0,
        y: top,
        xref: "paper",
        yref: "paper",
      })),
    ],
    bargap: 0.25,
  };
  if (failing) layout.yaxis3 = { ...bare, domain: places[2], nticks: 3 };
  return { traces, layout };
}

// Shared by both charts.

function axis(look) {
  return { fixedrange: true, gridcolor: look("rule"), linecolor: look("rule"), zeroline: false };
}

function stroke(style, look) {
  return { color: look(style.colour), width: style.width, dash: style.dash };
}

/** Make an axis for latencies: logarithmic where the values are far apart. */
function latencyAxis(values, look) {
  const low = values.reduce((a, b) => Math.min(a, b));
  const high = values.reduce((a, b) => Math.max(a, b));
  const logarithmic = high > 8 * low;
  const ends = logarithmic ? [low / 1.4, high * 1.6] : [0, high * 1.15];
  const at = logarithmic ? decades(...ends) : steps(ends[1]);
  const range = logarithmic ? ends.map(Math.log10) : ends;
  const type = logarithmic ? "log" : "linear";
  const place = (value) => (logarithmic ? Math.log10(value) : value);
  return { ends, place, axis: { ...axis(look), type, range, tickvals: at, ticktext: at.map(duration) } };
}

function decades(low, high) {
  const digits = high / low > 1000 ? [1] : high / low > 100 ? [1, 3] : [1, 2, 5];
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const digit of digits) found.push(digit * 10 ** power);
  }
  return found.filter((tick) => tick >= low && tick <= high);
}

function steps(high) {
  const rough = high / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((each) => each >= rough);
  return Array.from({ length: Math.floor(high / step) + 1 }, (_, number) => number * step);
}

/** Return the value at a share of the way between the ends of an axis. */
function between(low, high, share) {
  return low > 0 ? low * (high / low) ** share : low + (high - low) * share;
}

function percentOf(x) {
  return `${+(100 - 100 / x).toFixed(x > 1 ? Math.ceil(Math.log10(x)) : 0)}%`;
}

function duration(seconds) {
  if (seconds >= 60) return `${+(seconds / 60).toPrecision(3)}min`;
  const [unit, size] = [["s", 1], ["ms", 1e-3]].find((each) => seconds >= each[1] * 0.9995) ?? ["us", 1e-6];
  return seconds ? `${+(seconds / size).toPrecision(3)}${unit}` : "0";
}

/** Escape text, which the charts would read as markup. */
function plain(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
