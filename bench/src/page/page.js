"use strict";
// Draws what is in #charts with uPlot. Numbers, labels and colours were chosen in Rust (charts.rs); here is how they look.
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const THIN = "\u202f";
  const HEIGHT = 260;
  const DASHES = [[], [7, 4], [2, 3], [10, 3, 2, 3], [14, 4], [4, 2, 1, 2], [1, 4], [8, 2, 8, 6]];
  const COLOURS = 8;
  const NINES = [[0.30103, "50"], [1, "90"], [2, "99"], [3, "99.9"], [4, "99.99"], [5, "99.999"], [6, "99.9999"]];
  const STEPS = {
    bytes: [[1073741824, "GiB"], [1048576, "MiB"], [1024, "KiB"]],
    "µs": [[1e6, "s"], [1e3, "ms"]],
  };

  // Memory is counted in powers of two.
  const BINARY = Array.from({ length: 50 }, (_, power) => 2 ** power);

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colour = (line) => style("--c" + (line.colour % COLOURS));
  const dash = (line) => DASHES[line.dash % DASHES.length];

  function short(value) {
    const size = Math.abs(value);
    if (size >= 99.95 || Number.isInteger(value)) return value.toFixed(0).replace(/\B(?=(\d{3})+$)/g, THIN);
    return String(Number(value.toPrecision(3)));
  }

  // The size of unit that the value wants: [divisor, name].
  const step = (value, unit) => (STEPS[unit] || []).find(([size]) => Math.abs(value) >= size) || [1, unit];
  function withUnit(value, unit) {
    const [size, name] = step(value, unit);
    return short(value / size) + THIN + name;
  }

  // Labels of an axis share their unit, so that they can be compared at a glance.
  function axisLabels(splits, unit) {
    const greatest = Math.max(...splits.map((split) => Math.abs(split || 0)));
    if (STEPS[unit]) {
      const [size, name] = step(greatest, unit);
      return splits.map((split) => short(split / size) + THIN + name);
    }
    const [size, name] = [[1e9, "G"], [1e6, "M"], [1e4, "k"]].find(([from]) => greatest >= from) || [1, ""];
    const divisor = name === "k" ? 1e3 : size;
    return splits.map((split) => short(split / divisor) + (name && split ? THIN + name : ""));
  }

  function quantileName(nines) {
    const quantile = 100 * (1 - Math.pow(10, -nines));
    const digits = Math.max(0, Math.ceil(nines) - 1);
    return quantile.toFixed(Math.min(8, digits)) + THIN + "%";
  }

  const axis = (more) => ({
    stroke: style("--soft"),
    font: "12px system-ui, sans-serif",
    grid: { stroke: style("--line"), width: 1 },
    ticks: { stroke: style("--line"), width: 1, size: 4 },
    ...more,
  });

  function decades(least, greatest) {
    const low = Math.pow(10, Math.floor(Math.log10(least)));
    const high = Math.pow(10, Math.ceil(Math.log10(greatest)));
    return low < high ? [low, high] : [low, low * 10];
  }

  // Of a logarithmic axis: decades, and 2 and 5 of each where there are few.
  function round(plot, splits) {
    const { min, max } = plot.scales.y;
    const shown = Math.log10(max / min) > 2.5 ? [1] : [1, 2, 5];
    return splits.map((at) => (shown.includes(Math.round(at / Math.pow(10, Math.floor(Math.log10(at) + 1e-9)))) ? at : null));
  }

  function quantiles(chart, narrow) {
    const nines = Math.max(1, ...chart.lines.flatMap((line) => line.x));
    const shown = NINES.filter(([at]) => at <= nines);
    return {
      scales: {
        x: { time: false, range: () => [0, nines] },
        y: { distr: 3, range: (_, least, greatest) => (least > 0 ? decades(least, greatest) : [1, 10]) },
      },
      axes: [
        axis({
          splits: () => shown.map(([at]) => at),
          values: (_, splits) => splits.map((at) => (NINES.find(([nine]) => nine === at) || ["", ""])[1] + (narrow ? "" : THIN + "%")),
          label: "quantile" + (narrow ? ", %" : ""),
          labelFont: "12px system-ui, sans-serif",
          labelSize: 18,
          size: 28,
        }),
        axis({
          size: 62,
          filter: round,
          grid: { stroke: style("--line"), width: 1, filter: round },
          ticks: { show: false },
          values: (_, splits) => splits.map((at) => (at === null ? "" : withUnit(at, chart.unit))),
        }),
      ],
    };
  }

  function time(chart) {
    return {
      scales: {
        x: { time: false, range: (_, first, last) => [0, last || 1] },
        // Words of faults stand above the lines.
        y: { range: (_, least, greatest) => [Math.min(0, least || 0), (greatest || 1) * (chart.faults.length ? 1.2 : 1.08)] },
      },
      axes: [
        axis({ values: (_, splits) => splits.map((at) => short(at) + THIN + "s"), size: 28 }),
        axis({
          size: 62,
          values: (_, splits) => axisLabels(splits, chart.unit),
          ...(chart.unit === "bytes" ? { incrs: BINARY } : {}),
        }),
      ],
    };
  }

  // A line and a number for each fault; its words too, where they fit before the next one.
  function drawFaults(plot, faults) {
    const { ctx, bbox } = plot;
    const dot = devicePixelRatio || 1;
    ctx.save();
    ctx.font = `${12 * dot}px system-ui, sans-serif`;
    ctx.textAlign = "left";
    ctx.textBaseline = "top";
    ctx.fillStyle = ctx.strokeStyle = style("--fault");
    ctx.lineWidth = 1.5 * dot;
    faults.forEach((fault, index) => {
      const x = plot.valToPos(fault.at_s, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) return;
      ctx.setLineDash([4 * dot, 3 * dot]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      const next = faults[index + 1];
      const end = next ? plot.valToPos(next.at_s, "x", true) : bbox.left + bbox.width;
      const full = `${index + 1} ${fault.what}`;
      const label = ctx.measureText(full).width + 8 * dot <= end - x ? full : String(index + 1);
      const width = ctx.measureText(label).width;
      const left = Math.min(x + 4 * dot, bbox.left + bbox.width - width);
      ctx.save();
      ctx.globalAlpha = 0.85;
      ctx.fillStyle = style("--paper");
      ctx.fillRect(left - 2 * dot, bbox.top + dot, width + 4 * dot, 15 * dot);
      ctx.restore();
      ctx.fillText(label, left, bbox.top + 2 * dot);
    });
    ctx.restore();
  }

  // Keys above the chart: a piece of the line, its name, and its value under the pointer. A click hides the line.
  function keys(place, chart, toggle) {
    place.replaceChildren();
    const outputs = chart.lines.map((line, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      button.innerHTML = '<svg width="28" height="8" aria-hidden="true"><path d="M0 4H28" stroke-width="2.5"/></svg>';
      const stroke = button.querySelector("path");
      stroke.setAttribute("stroke", colour(line));
      stroke.setAttribute("stroke-dasharray", dash(line).join(" "));
      const output = document.createElement("output");
      button.append(line.label, output);
      button.addEventListener("click", () => {
        const shown = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(shown));
        toggle(index, shown);
      });
      place.append(button);
      return output;
    });
    const when = document.createElement("span");
    when.className = "when";
    place.append(when);
    return { outputs, when };
  }

  function draw(place) {
    const chart = charts[Number(place.dataset.chart)];
    const width = place.clientWidth;
    const data = uPlot.join(chart.lines.map((line) => [line.x, line.y]));
    let plot = null;
    const { outputs, when } = keys(place.parentElement.querySelector(".keys"), chart, (index, show) =>
      plot.setSeries(index + 1, { show }),
    );
    const isTime = chart.kind === "time";
    const said = (at) => (isTime ? short(at) + THIN + "s" : quantileName(at));
    const options = {
      width,
      height: HEIGHT,
      legend: { show: false },
      cursor: { y: false, points: { size: 6 } },
      series: [{}, ...chart.lines.map((line) => ({
        label: line.label,
        stroke: colour(line),
        dash: dash(line),
        width: 2,
        points: { show: line.x.length < 2 },
      }))],
      ...(isTime ? time(chart) : quantiles(chart, width < 480)),
      hooks: {
        draw: [(plot) => drawFaults(plot, chart.faults)],
        setCursor: [(plot) => {
          const index = plot.cursor.idx;
          const pointed = index !== null && index !== undefined;
          when.textContent = pointed ? "at " + said(plot.data[0][index]) : "";
          outputs.forEach((output, line) => {
            const value = pointed ? plot.data[line + 1][index] : null;
            output.textContent = value === null || value === undefined ? "" : withUnit(value, chart.unit);
          });
        }],
      },
    };
    place.replaceChildren();
    plot = new uPlot(options, data, place);
    return plot;
  }

  // Colours are read when a chart is drawn; another scheme or width draws it anew.
  const widths = new Map();
  const drawn = (place) => { widths.set(place, place.clientWidth); draw(place); };
  const places = [...document.querySelectorAll(".chart")];
  places.forEach(drawn);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => places.forEach(drawn));
  const observer = new ResizeObserver((entries) => entries.forEach(({ target }) => {
    if (target.clientWidth !== widths.get(target)) drawn(target);
  }));
  places.forEach((place) => observer.observe(place));
})();
